//! The job in hand, layer by layer.

use layerkeeper_keeper::{LayerLine, Phase, Progress, Status};
use maud::{Markup, html};

use super::text;

/// More layers than any engine stacks.
const MOST: usize = 150;

/// Nothing when no job runs.
pub fn running(status: &Status, now: Option<&Progress>) -> Markup {
    let Some(running) = &status.running else { return html! {} };
    html! {
        section {
            h2 { "Running now" }
            p {
                b { (running.intent) }
                @if let Some(since) = running.started_at { ", for " (text::span(since, status.now)) }
                " · " a href={"/jobs/" (running.id)} { "more" }
            }
            @if let Some(now) = now { (progress(now)) }
        }
    }
}

/// How far it has come.
pub fn progress(progress: &Progress) -> Markup {
    html! {
        p {
            (phase(progress.phase))
            @if let Some(image) = &progress.image { " " (text::name(image)) }
            @if progress.moved_bytes > 0 { " · " b { (text::size(progress.moved_bytes)) } " moved so far" }
            @if let Some(rate) = progress.bytes_per_second { ", " (text::size(rate)) "/s" }
            @if let Some(left) = progress.seconds_left { ", " (text::millis(left * 1000)) " left" }
        }
        @if !progress.layers.is_empty() { (layers(&progress.layers)) }
    }
}

fn layers(layers: &[LayerLine]) -> Markup {
    // an engine by itself asks the registry alone, and need not say so for each layer
    let named = layers.iter().any(|layer| !layer.from.is_empty());
    html! {
        table {
            caption { "Layers of this pull" }
            thead { tr { th scope="col" { "Layer" } th scope="col" { "State" } th scope="col" { "So far" } @if named { th scope="col" { "From" } } } }
            tbody {
                @for layer in layers.iter().take(MOST) {
                    tr {
                        th scope="row" { code { (layer.id) } }
                        td data-label="State" { (layer.status) }
                        td data-label="So far" {
                            @if let Some(total) = layer.total.filter(|_| layer.status.ends_with("ing")) {
                                @let words = format!("{} of {}", text::size(layer.current), text::size(total));
                                (text::bar(&words, &[("downloaded", layer.current)], total)) (words)
                            } @else if let Some(total) = layer.total { (text::size(total)) } @else { "–" }
                        }
                        @if named { td data-label="From" { (from(layer)) } }
                    }
                }
            }
        }
    }
}

/// Each source with what it gave.
fn from(layer: &LayerLine) -> String {
    let given = layer.from.iter().map(|from| format!("{} {}", from.source, text::size(from.bytes)));
    given.collect::<Vec<_>>().join(", ")
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Observing => "looking at engine and registry",
        Phase::Keeping => "refreshing",
        Phase::Pulling => "pulling",
        Phase::Verifying => "verifying",
        Phase::Pruning => "removing old tags",
        Phase::Done => "done",
    }
}
