//! The layers of one image: how each came or would come, what made it, and why it moved.

use layerkeeper_core::instruction::instruction;
use layerkeeper_store::record::{CauseRecord, EstimateRecord, LayerRecordJson, PullRecord};
use maud::{Markup, html};

use super::text;

/// More layers than any engine stacks; who makes more is not shown them all.
const MOST: usize = 150;

/// One layer, before or after a pull.
struct Layer<'r> {
    digest: &'r str,
    size: Option<u64>,
    class: &'static str,
    how: String,
    made: Option<&'r str>,
    causes: &'r [CauseRecord],
}

/// What became of each layer.
pub fn came(pull: &PullRecord) -> Markup {
    let expected = pull.estimate.as_ref().map_or(&[][..], |estimate| &estimate.layers);
    let layers = pull.layers.iter().enumerate().map(|(at, layer)| Layer {
        digest: &layer.digest,
        size: layer.size,
        class: if layer.source == "downloaded" { "downloaded" } else { "calm" },
        how: how(layer),
        made: layer.created_by.as_deref(),
        causes: expected.get(at).filter(|then| then.digest == layer.digest).map_or(&[][..], |then| &then.causes),
    });
    table("Bottom layer first", layers.collect())
}

/// What would become of each layer.
pub fn expected(estimate: &EstimateRecord) -> Markup {
    let layers = estimate.layers.iter().map(|layer| Layer {
        digest: &layer.digest,
        size: Some(layer.size),
        class: if layer.presence == "to fetch" { "downloaded" } else { "calm" },
        how: layer.presence.clone(),
        made: layer.created_by.as_deref(),
        causes: &layer.causes,
    });
    table("As it was expected; bottom layer first", layers.collect())
}

/// The layer that moves most, in one line: what made it, and why it moves.
pub fn largest(estimate: &EstimateRecord) -> Markup {
    let moving = estimate.layers.iter().filter(|layer| layer.presence == "to fetch" && !layer.causes.is_empty());
    let Some(layer) = moving.max_by_key(|layer| layer.size) else { return html! {} };
    html! {
        p.cause {
            "Mostly " (text::size(layer.size)) " by " (made(layer.created_by.as_deref())) ": "
            @for (n, cause) in layer.causes.iter().enumerate() { @if n > 0 { "; " } (cause.why) }
        }
    }
}

/// As the report says it: `reused`, `downloaded`, or how much of it moved where the engine went on from an earlier attempt.
fn how(layer: &LayerRecordJson) -> String {
    match layer.size {
        Some(whole) if layer.source == "downloaded" && layer.downloaded_bytes < whole => {
            format!("downloaded, {} of it", text::size(layer.downloaded_bytes))
        }
        _ => layer.source.clone(),
    }
}

fn table(caption: &str, layers: Vec<Layer<'_>>) -> Markup {
    html! {
        @if layers.is_empty() { p.quiet { "The registry gave no manifest, so the layers are not known." } }
        @else {
            table {
                caption { (caption) }
                thead { tr { th scope="col" { "Layer" } th scope="col" { "Size" } th scope="col" { "Came by" } th scope="col" { "Made by, and why it moves" } } }
                tbody { @for (at, layer) in layers.iter().enumerate().take(MOST) { (row(at + 1, layer)) } }
            }
            (text::more(layers.len(), MOST, "layers"))
        }
    }
}

fn row(number: usize, layer: &Layer<'_>) -> Markup {
    html! {
        tr {
            th.size scope="row" { (number) " " (text::digest(layer.digest)) }
            td.size data-label="Size" { @match layer.size { Some(size) => (text::size(size)), None => { "unknown" } } }
            td data-label="Came by" { span class={"state " (layer.class)} { (layer.how) } }
            td data-label="Made by" {
                (made(layer.made))
                @for cause in layer.causes {
                    div.cause {
                        "Why: " (cause.why)
                        @if let Some(advice) = &cause.advice { div.quiet { "Do: " (advice) } }
                    }
                }
            }
        }
    }
}

fn made(created_by: Option<&str>) -> Markup {
    html! {
        @match created_by {
            Some(text) => code.made { (instruction(text)) },
            None => span.quiet { "an unknown instruction" },
        }
    }
}
