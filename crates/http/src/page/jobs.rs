//! Every job, newest first, a row each: what moved, what went, and how it ended.

use maud::{Markup, html};

use super::{job, text};
use crate::client::path;
use crate::wire::JobView;

/// How many a page shows.
pub const ROWS: usize = 50;

/// One row each; `image`: only its jobs are listed.
pub fn jobs(jobs: &[JobView], image: Option<&str>, now: i64) -> Markup {
    let older = jobs.last().filter(|_| jobs.len() == ROWS).map(|last| last.seq);
    html! {
        section {
            h2 { "Jobs" @if let Some(image) = image { " of " (text::name(image)) } }
            @if jobs.is_empty() { p.quiet { "None." } }
            @else {
                table {
                    caption { "Newest first; each leads to its pulls and removals" }
                    thead { tr { th scope="col" { "Job" } th scope="col" { "When" } th scope="col" { "State" } th scope="col" { "Reused" } th scope="col" { "Moved" } th scope="col" { "Outcome" } } }
                    tbody { @for job in jobs { (row(job, now)) } }
                }
                @if let Some(seq) = older {
                    @let before = seq.to_string();
                    @let query: Vec<_> = [("before", before.as_str())].into_iter().chain(image.map(|image| ("image", image))).collect();
                    p { a href=(path("/jobs", &query)) { "older" } }
                }
            }
        }
    }
}

fn row(view: &JobView, now: i64) -> Markup {
    let outcome = &view.outcome;
    html! {
        tr {
            th scope="row" { a href={"/jobs/" (view.id)} { (job::title(view)) } }
            td data-label="When" { (text::away(view.created, now)) }
            td data-label="State" { (job::state(view)) }
            td.size data-label="Reused" { @match &outcome.pull { Some(pull) => (text::size(pull.reused_bytes)), None => { "–" } } }
            td data-label="Moved" {
                span.size { (text::size(outcome.moved_bytes)) }
                @if outcome.budget_bytes.is_some_and(|budget| outcome.moved_bytes > budget) { " " span.state.warn { "over budget" } }
            }
            td data-label="Outcome" {
                @match (&outcome.error, &view.superseded_by) {
                    (Some(error), _) => (error.message),
                    (None, Some(newer)) => { "by " a href={"/jobs/" (newer)} { "job " (text::short(newer)) } }
                    (None, None) => (outcome.summary),
                }
            }
        }
    }
}
