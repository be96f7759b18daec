//! The last deploys: what moved, and what did not have to.

use maud::{Markup, html};

use super::{job, layers, pull, text};
use crate::wire::JobView;

/// How many warnings stand here; the job's own page has all.
const WARNINGS: usize = 3;

/// One entry each, newest first.
pub fn deploys(jobs: &[JobView], now: i64) -> Markup {
    html! {
        section {
            h2 { "Last deploys" }
            @if jobs.is_empty() {
                p.quiet { "None yet. CI posts a signed webhook, or somebody runs: layerkeeper deploy IMAGE:TAG" }
            } @else {
                p.legend { (text::swatch("reused")) " reused, was here " (text::swatch("downloaded")) " downloaded " (text::swatch("wasted")) " wasted by failed attempts" }
                ol.cards { @for job in jobs { li { (deploy(job, now)) } } }
                p { a href="/jobs" { "all jobs" } }
            }
        }
    }
}

fn deploy(view: &JobView, now: i64) -> Markup {
    let outcome = &view.outcome;
    let kept: u64 =
        outcome.kept.iter().map(|pull| pull.downloaded_bytes + pull.overhead_bytes + pull.wasted_bytes).sum();
    let over = outcome.budget_bytes.is_some_and(|budget| outcome.moved_bytes > budget);
    // a refusal has the estimate alone; after a pull it is in the pull's record
    let estimate = outcome.pull.as_ref().and_then(|pull| pull.estimate.as_ref()).or(outcome.estimate.as_ref());
    html! {
        h3 { @match &view.image { Some(image) => (text::name(image)), None => (view.intent) } " " (job::state(view)) }
        p.quiet { (job::when(view, now)) " · " a href={"/jobs/" (view.id)} { "all of it" } }
        @if let Some(pull) = &outcome.pull { (pull::moved(pull)) }
        @else if view.state == "succeeded" { p { "Nothing had to move: the image was here." } }
        @if kept > 0 { p.quiet { "Kept images refreshed first moved " (text::size(kept)) "." } }
        (job::budget(outcome))
        @if let Some(estimate) = estimate.filter(|_| over || view.state == "refused") { (layers::largest(estimate)) }
        (job::trouble(outcome, WARNINGS))
    }
}
