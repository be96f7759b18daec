//! One job with all that it did: its pulls layer by layer, the budget, every removal with its reason.

use layerkeeper_keeper::Progress;
use layerkeeper_store::record::{Outcome, PullRecord};
use maud::{Markup, html};

use super::{layers, prune, pull, running, text};
use crate::wire::JobView;

/// What its page is made of. `progress`: what it is doing, where it runs.
pub fn job(job: &JobView, progress: Option<&Progress>, now: i64) -> Markup {
    let outcome = &job.outcome;
    html! {
        (head(job, now))
        @if let Some(progress) = progress { section { h2 { "Running now" } (running::progress(progress)) } }
        @match (&outcome.pull, &outcome.estimate) {
            (Some(record), _) => section { h2 { "The pull of " (text::name(&record.image)) } @if let Some(digest) = &record.digest { p { code.whole { (digest) } } } (pull::pull(record)) },
            (None, Some(estimate)) => section {
                h2 { "What was expected" }
                p { "To download: " b { (pull::to_move(estimate)) } " of " (text::size(estimate.total_bytes)) "." }
                (layers::expected(estimate))
                (pull::shares(estimate))
            },
            (None, None) => {}
        }
        // of a running job its record says for now how it would read if the daemon ended
        @if job.state != "running" && !outcome.attempts.is_empty() {
            section { h2 { "What brought no image" } (pull::failed(&outcome.attempts)) }
        }
        (kept(&outcome.kept))
        @if let Some(record) = &outcome.pressure { section { h2 { "Removed to make room" } (prune::considered(record)) } }
        @if let Some(record) = &outcome.prune { section { h2 { "What went and what stayed" } (prune::considered(record)) } }
    }
}

/// The job's name on its page.
pub fn title(job: &JobView) -> Markup {
    html! { @match &job.image { Some(image) => { (job.kind) " " (text::name(image)) }, None => (job.intent) } }
}

/// How it stands, as a badge.
pub fn state(job: &JobView) -> Markup {
    let (class, mark) = match job.state.as_str() {
        "succeeded" => ("good", "✓"),
        "failed" | "refused" => ("bad", "✗"),
        "running" => ("busy", "▸"),
        _ => ("calm", "·"),
    };
    html! { span class={"state " (class)} { (mark) " " (job.state) } }
}

/// When it ended or began, and who asked.
pub fn when(job: &JobView, now: i64) -> Markup {
    html! {
        @match (job.finished, job.started) {
            (Some(at), Some(started)) => { "ended " (text::away(at, now)) " after " (text::span(started, at)) }
            (Some(at), None) => { "ended " (text::away(at, now)) }
            (None, Some(at)) => { "started " (text::away(at, now)) }
            (None, None) => { "accepted " (text::away(job.created, now)) }
        }
        " · by " (job.trigger)
        @if let Some(at) = job.not_before && at > now { " · waits, next try " (text::away(at, now)) }
    }
}

/// What the whole job moved, against what its repository may.
pub fn budget(outcome: &Outcome) -> Markup {
    let Some(budget) = outcome.budget_bytes else { return html! {} };
    let (moved, allowed) = (text::size(outcome.moved_bytes), text::size(budget));
    html! {
        @if outcome.moved_bytes > budget {
            p { span.state.warn { "over budget" } " The job moved " b { (moved) } ", " (text::size(outcome.moved_bytes - budget)) " more than its budget of " (allowed) "." }
        } @else if outcome.moved_bytes > 0 {
            p.quiet { "The job moved " (moved) " of its budget of " (allowed) " (" (text::percent(outcome.moved_bytes, budget)) ")." }
        }
    }
}

/// Why it failed, and what went wrong beside it.
pub fn trouble(outcome: &Outcome, most: usize) -> Markup {
    html! {
        @if let Some(error) = &outcome.error {
            p.cause { (error.message) }
            @if !error.detail.is_empty() && error.detail != error.message { p.cause.quiet { (error.detail) } }
        }
        @for warning in outcome.warnings.iter().take(most) { p.cause { "Warning: " (warning) } }
        (text::more(outcome.warnings.len(), most, "warnings"))
    }
}

fn head(job: &JobView, now: i64) -> Markup {
    let class = match job.state.as_str() {
        "succeeded" if job.outcome.warnings.is_empty() => "good",
        "succeeded" => "warn",
        "failed" | "refused" => "bad",
        _ => "idle",
    };
    html! {
        section class={"verdict " (class)} {
            h2 { (title(job)) " " (state(job)) }
            @if !job.outcome.summary.is_empty() { p { (job.outcome.summary) } }
            p.quiet {
                (when(job, now)) " · accepted " (text::instant(job.created))
                @if job.attempts > 1 { " · taken up " (job.attempts) " times" }
            }
            @if let Some(digest) = &job.digest { p.quiet { "The sender named " code.whole { (digest) } } }
            @if let Some(newer) = &job.superseded_by { p { "A newer deploy took its place: " a href={"/jobs/" (newer)} { "job " (text::short(newer)) } } }
            (budget(&job.outcome))
            (trouble(&job.outcome, 50))
        }
    }
}

/// The kept images that it pulled first, folded away.
fn kept(pulls: &[PullRecord]) -> Markup {
    html! {
        @if !pulls.is_empty() {
            section {
                h2 { "Kept images that it pulled first" }
                @for record in pulls {
                    details {
                        summary {
                            (text::name(&record.image)) ": downloaded " b { (text::size(record.downloaded_bytes)) } ", reused " (text::size(record.reused_bytes))
                            @if record.wasted_bytes > 0 { ", wasted " (text::size(record.wasted_bytes)) }
                        }
                        (pull::pull(record))
                    }
                }
            }
        }
    }
}
