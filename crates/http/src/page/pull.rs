//! One pull: what was reused and what moved, the expectation beside it, where the time went, each attempt, each layer.

use layerkeeper_store::record::{AttemptRecord, EstimateRecord, PhasesRecord, PullRecord, TransferRecord};
use maud::{Markup, html};

use super::{layers, text};

/// So many failed pulls are shown.
const MOST_FAILED: usize = 50;

/// All of it.
pub fn pull(pull: &PullRecord) -> Markup {
    html! {
        (moved(pull))
        @if let Some(estimate) = &pull.estimate { (beside(pull, estimate)) }
        @if let Some(compared) = pull.estimate.as_ref().and_then(|estimate| estimate.compared_with.as_ref()) {
            p.quiet { "Why it moved is told by comparing it with " (text::name(compared)) ", which was here." }
        }
        (layers::came(pull))
        (time(pull))
        @if let Some(transfer) = &pull.transfer { (way(transfer)) }
        (attempts(&pull.attempts))
        @if let Some(estimate) = &pull.estimate { (shares(estimate)) }
    }
}

/// The sums, drawn and in words.
pub fn moved(pull: &PullRecord) -> Markup {
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
            @if let Some(estimate) = &pull.estimate { " · expected " (to_move(estimate)) }
            @if let Some(difference) = difference(pull) { ", " b { (difference) } " came" }
            @if pull.certainty != "exact" { " · " span.state.warn { (pull.certainty) } }
        }
        @for doubt in &pull.doubts { p.cause.quiet { (doubt) } }
    }
}

/// What was expected to move: a range where something was unknown.
pub fn to_move(estimate: &EstimateRecord) -> String {
    let (least, most) = (estimate.fetch_bytes_least, estimate.fetch_bytes_most);
    if least == most { text::size(least) } else { format!("{} to {}", text::size(least), text::size(most)) }
}

/// What each kept image has in common with it.
pub fn shares(estimate: &EstimateRecord) -> Markup {
    html! {
        @if !estimate.shares.is_empty() {
            h3 { "What kept images share with it" }
            ul.trail {
                @for share in &estimate.shares {
                    li {
                        (text::name(&share.image)) ": "
                        @if share.here { b { (text::size(share.bytes)) } ", " (text::count(share.layers, "layer")) " from the bottom" }
                        @else { "is not here" }
                    }
                }
            }
        }
    }
}

/// By how much more or less moved than was expected.
fn difference(pull: &PullRecord) -> Option<String> {
    let error = pull.estimate_error_bytes.filter(|error| *error != 0)?;
    Some(format!("{} {}", text::size(error.unsigned_abs()), if error > 0 { "more" } else { "less" }))
}

fn beside(pull: &PullRecord, estimate: &EstimateRecord) -> Markup {
    html! {
        table {
            caption { "The estimate beside the fact" }
            thead { tr { th scope="col" { "Bytes of layers" } th scope="col" { "Expected" } th scope="col" { "Came" } th scope="col" { "Difference" } } }
            tbody {
                tr {
                    th scope="row" { "to download" }
                    td data-label="Expected" { (to_move(estimate)) }
                    td data-label="Came" { (text::size(pull.downloaded_bytes)) }
                    td data-label="Difference" {
                        @match difference(pull) { Some(difference) => span.state.warn { (difference) }, None => { "none" } }
                    }
                }
                tr {
                    th scope="row" { "here already" }
                    td data-label="Expected" { (text::size(estimate.here_bytes)) @if estimate.fetch_bytes_least < estimate.fetch_bytes_most { " or more" } }
                    td data-label="Came" { (text::size(pull.reused_bytes)) }
                    td data-label="Difference" {}
                }
            }
        }
        p.quiet {
            "Manifests and config: " (text::size(pull.overhead_bytes)) "."
            @if let Some(peak) = estimate.peak_bytes { " On the disk, at its peak, it was expected to take " (text::size(peak)) "." }
        }
    }
}

fn time(pull: &PullRecord) -> Markup {
    let whole = text::millis(pull.duration_ms);
    let Some(phases) = pull.phases else { return html! { p { "Took " b { (whole) } "." } } };
    let PhasesRecord { resolve_ms, first_byte_ms, download_ms, extract_ms } = phases;
    let parts =
        [("resolve", resolve_ms), ("firstbyte", first_byte_ms), ("downloaded", download_ms), ("extract", extract_ms)];
    let words = ["resolving the name", "to the first byte", "download", "extraction after it"];
    let told = parts.iter().zip(words).map(|((class, ms), words)| (*class, format!("{} {words}", text::millis(*ms))));
    let told: Vec<_> = told.collect();
    let label = told.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>().join(", ");
    html! {
        h3 { "Where the time went" }
        (text::bar(&label, &parts, resolve_ms + first_byte_ms + download_ms + extract_ms))
        p.legend { @for (class, words) in &told { (text::swatch(class)) " " (words) " " } }
        p.quiet { "Took " (whole) " in all attempts" @if pull.attempts.len() > 1 { "; the bar shows the last one" } "." }
    }
}

/// Which way it came, and why that one.
fn way(transfer: &TransferRecord) -> Markup {
    html! {
        p.quiet {
            "By " b { @if transfer.way == "relay" { "the relay" } @else { "the engine's own pull" } } ": " (transfer.reason) "."
            @if transfer.resumed_bytes > 0 { " " (text::size(transfer.resumed_bytes)) " of it lay in the spool from an attempt that was cut." }
        }
        @if let Some(why) = &transfer.fallback { p { span.state.warn { "the relay was given up" } " " (why) } }
        @for remark in &transfer.remarks { p.quiet { (remark) } }
    }
}

/// Attempts that no report lists: what each was of, and which way it was to come.
pub fn failed(attempts: &[AttemptRecord]) -> Markup {
    html! {
        ul.trail {
            @for attempt in attempts.iter().take(MOST_FAILED) {
                li {
                    (text::name(&attempt.image)) ", " (text::size(attempt.moved_bytes)) " in " (text::millis(attempt.duration_ms)) ": " (attempt.failure.as_deref().unwrap_or_default())
                    @if let Some(transfer) = &attempt.transfer { (way(transfer)) }
                }
            }
        }
        (text::more(attempts.len(), MOST_FAILED, "of these"))
    }
}

fn attempts(attempts: &[AttemptRecord]) -> Markup {
    html! {
        @if attempts.iter().any(|attempt| attempt.failure.is_some()) {
            h3 { "Attempts" }
            ul.trail {
                @for attempt in attempts {
                    li {
                        (text::size(attempt.moved_bytes)) " in " (text::millis(attempt.duration_ms)) ": "
                        @match &attempt.failure { Some(cause) => { span.state.bad { "failed" } " " (cause) }, None => span.state.good { "succeeded" } }
                    }
                }
            }
        }
    }
}
