//! What went, what stayed, and why; and what a moved tag left behind.

use layerkeeper_keeper::Status;
use layerkeeper_store::record::{KeptRecord, PruneRecord, RemovalRecord};
use maud::{Markup, html};

use super::text;

/// How many of each are shown.
const MOST: usize = 100;

/// The last prune, or the last plan for one.
pub fn prune(status: &Status) -> Markup {
    html! {
        section {
            h2 { "What went and what stayed" }
            @if let Some(reason) = &status.prune_blocked { p { span.state.warn { "nothing may be removed now" } " " (reason) } }
            @match &status.last_prune {
                Some(record) => (considered(record)),
                None => p.quiet { "Nothing was considered yet. A prune runs at the end of each succeeded deploy." },
            }
        }
    }
}

/// Digests that a moved tag left behind; only shown where there are any.
pub fn superseded(status: &Status) -> Markup {
    if status.superseded.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Superseded digests" }
            p {
                (text::count(status.superseded.len(), "digest")) " with " b { (text::size(status.superseded_bytes)) }
                " left behind by tags that moved. They stay unless remove_superseded says otherwise, or: "
                code { "layerkeeper prune --superseded" }
            }
            table {
                caption { "Left behind by our own pulls" }
                thead { tr { th scope="col" { "Was" } th scope="col" { "Digest" } th scope="col" { "Would free" } th scope="col" { "Since" } } }
                tbody {
                    @for old in status.superseded.iter().take(MOST) {
                        tr {
                            th scope="row" { (text::name(&old.was)) }
                            td data-label="Digest" { (text::digest(&old.reference)) }
                            td data-label="Would free" { @match old.size { Some(size) => (text::size(size)), None => { "unknown" } } }
                            td data-label="Since" { (text::away(old.at, status.now)) }
                        }
                    }
                }
            }
            (text::more(status.superseded.len(), MOST, "digests"))
        }
    }
}

/// What was considered, each name with its outcome and its reason.
pub fn considered(record: &PruneRecord) -> Markup {
    html! {
        p {
            (text::count(record.removals.len(), "name")) " to go, " (record.kept.len()) " to stay, "
            b { (text::size(record.freed_bytes)) } " freed"
            @if let Some(reason) = &record.blocked { " · " (reason) }
        }
        @if !record.removals.is_empty() || !record.kept.is_empty() {
            table {
                caption { "Every image that was considered" }
                thead { tr { th scope="col" { "Name" } th scope="col" { "Outcome" } th scope="col" { "Why" } } }
                tbody {
                    @for removal in record.removals.iter().take(MOST) { (went(removal)) }
                    @for kept in record.kept.iter().take(MOST) { (stayed(kept)) }
                }
            }
            (text::more(record.removals.len(), MOST, "that go"))
            (text::more(record.kept.len(), MOST, "that stay"))
        }
    }
}

fn went(removal: &RemovalRecord) -> Markup {
    let class = match removal.outcome.as_str() {
        "removed" | "untagged" | "gone" => "busy",
        "failed" => "bad",
        _ => "calm",
    };
    html! {
        tr {
            th scope="row" { (text::name(&removal.name)) }
            td data-label="Outcome" {
                span class={"state " (class)} { (removal.outcome) }
                @if removal.freed_bytes > 0 { " " (text::size(removal.freed_bytes)) }
            }
            td data-label="Why" { (removal.reason) @if !removal.detail.is_empty() { div.cause { (removal.detail) } } }
        }
    }
}

fn stayed(kept: &KeptRecord) -> Markup {
    html! {
        tr {
            th scope="row" { (text::name(&kept.name)) }
            td data-label="Outcome" { span.state.good { "stays" } }
            td data-label="Why" { (kept.reason) }
        }
    }
}
