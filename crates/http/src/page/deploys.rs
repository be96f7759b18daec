//! The last deploys: what moved, and what did not have to.

use layerkeeper_store::record::{Outcome, PullRecord};
use maud::{Markup, html};

use super::text;
use crate::wire::JobView;

/// One entry each, newest first.
pub fn deploys(jobs: &[JobView], now: i64) -> Markup {
    html! {
        section {
            h2 { "Last deploys" }
            @if jobs.is_empty() {
                p.quiet { "None yet. CI posts a signed webhook, or somebody runs: layerkeeper deploy IMAGE:TAG" }
            } @else {
                p.legend { (swatch("reused")) " reused, was here " (swatch("downloaded")) " downloaded " (swatch("wasted")) " wasted by failed attempts" }
                ol.cards { @for job in jobs { li { (deploy(job, now)) } } }
            }
        }
    }
}

fn deploy(job: &JobView, now: i64) -> Markup {
    let outcome = &job.outcome;
    html! {
        h3 { @match &job.image { Some(image) => (text::name(image)), None => (job.intent) } " " (state(job)) }
        p.quiet {
            @match (job.finished, job.started) {
                (Some(at), Some(started)) => { "ended " (text::away(at, now)) " after " (text::span(started, at)) }
                (Some(at), None) => { "ended " (text::away(at, now)) }
                (None, Some(at)) => { "started " (text::away(at, now)) }
                (None, None) => { "accepted " (text::away(job.created, now)) }
            }
            " · by " (job.trigger)
            @if let Some(at) = job.not_before && at > now { " · waits, next try " (text::away(at, now)) }
            " · " a href={"/v1/jobs/" (job.id)} { "all of it" }
        }
        @if let Some(pull) = &outcome.pull { (moved(pull)) }
        @else if job.state == "succeeded" { p { "Nothing had to move: the image was here." } }
        (beside(outcome))
        @if let Some(error) = &outcome.error {
            p.cause { (error.message) }
            @if !error.detail.is_empty() && error.detail != error.message { p.cause.quiet { (error.detail) } }
        }
        @for warning in &outcome.warnings { p.cause { "Warning: " (warning) } }
    }
}

fn moved(pull: &PullRecord) -> Markup {
    let whole = pull.reused_bytes + pull.downloaded_bytes;
    let scale = whole + pull.wasted_bytes;
    let words = format!(
        "reused {} ({}), downloaded {}",
        text::size(pull.reused_bytes),
        text::percent(pull.reused_bytes, whole),
        text::size(pull.downloaded_bytes),
    );
    let parts = [("reused", pull.reused_bytes), ("downloaded", pull.downloaded_bytes), ("wasted", pull.wasted_bytes)];
    let layers = |source: &str| pull.layers.iter().filter(|layer| layer.source == source).count();
    html! {
        (text::bar(&words, &parts, scale))
        p {
            "Reused " b { (text::size(pull.reused_bytes)) } " (" (text::percent(pull.reused_bytes, whole)) "), downloaded " b { (text::size(pull.downloaded_bytes)) }
            @if pull.wasted_bytes > 0 { ", wasted " (text::size(pull.wasted_bytes)) }
            " · " (layers("reused")) " of " (text::count(pull.layers.len(), "layer")) " were here"
            @if let Some(estimate) = &pull.estimate { " · expected " (range(estimate.fetch_bytes_least, estimate.fetch_bytes_most)) }
            @if pull.certainty != "exact" { " · " span.state.warn { (pull.certainty) } }
        }
        @for doubt in &pull.doubts { p.cause.quiet { (doubt) } }
    }
}

/// Kept images that moved first, and the budget of it all.
fn beside(outcome: &Outcome) -> Markup {
    let kept: u64 =
        outcome.kept.iter().map(|pull| pull.downloaded_bytes + pull.overhead_bytes + pull.wasted_bytes).sum();
    let over = outcome.budget_bytes.filter(|budget| outcome.moved_bytes > *budget);
    html! {
        @if kept > 0 { p.quiet { "Kept images refreshed first moved " (text::size(kept)) "." } }
        @if let Some(budget) = over {
            p { span.state.warn { "over budget" } " The job moved " (text::size(outcome.moved_bytes)) ", the budget is " (text::size(budget)) "." }
        }
    }
}

fn range(least: u64, most: u64) -> String {
    if least == most { text::size(least) } else { format!("{} to {}", text::size(least), text::size(most)) }
}

fn state(job: &JobView) -> Markup {
    let (class, mark) = match job.state.as_str() {
        "succeeded" => ("good", "✓"),
        "failed" | "refused" => ("bad", "✗"),
        "running" => ("busy", "▸"),
        _ => ("calm", "·"),
    };
    html! { span class={"state " (class)} { (mark) " " (job.state) } }
}

fn swatch(class: &'static str) -> Markup {
    html! { svg.swatch aria-hidden="true" viewBox="0 0 10 10" { rect class=(class) width="10" height="10" {} } }
}
