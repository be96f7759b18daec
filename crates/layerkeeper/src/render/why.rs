//! Why layers move: one paragraph per layer, the largest first, and what each kept image shares.

use std::fmt::Write as _;

use layerkeeper_core::instruction::instruction;
use layerkeeper_store::record::{EstimateRecord, LayerEstimateRecord};

use super::Width;
use super::amount::{count, share, short, size};
use super::table::{Align, Table, plain};

/// The layers that move, each with its causes and what to do; empty where none of them is explained.
pub fn why(record: &EstimateRecord, width: Width) -> String {
    let mut moving: Vec<(usize, &LayerEstimateRecord)> =
        record.layers.iter().enumerate().filter(|(_, layer)| !layer.causes.is_empty()).collect();
    // what merely stands above another needs no paragraph of its own
    let above = moving.iter().filter(|(_, layer)| is_above(layer)).map(|(_, layer)| layer.size).sum::<u64>();
    let numbers = moving.iter().filter(|(_, layer)| is_above(layer)).count();
    moving.retain(|(_, layer)| !is_above(layer));
    if moving.is_empty() && numbers == 0 {
        return String::new();
    }
    moving.sort_by_key(|(at, layer)| (std::cmp::Reverse(layer.size), *at));
    let mut text = match &record.compared_with {
        Some(image) => format!("Why it moves, compared with {}:\n", plain(image)),
        None => "Why it moves:\n".to_owned(),
    };
    for (at, layer) in moving {
        let made = layer.created_by.as_deref().map(instruction).unwrap_or_default();
        let _ = writeln!(text, "  layer {} ({}, {}) {}", at + 1, short(&layer.digest), size(layer.size), plain(&made));
        let mut lines = Table::new([("", Align::Left), ("", Align::Left)]);
        for cause in &layer.causes {
            lines.row(["  why:".to_owned(), cause.why.clone()]);
            if let Some(advice) = &cause.advice {
                lines.row(["  do:".to_owned(), advice.clone()]);
            }
        }
        text.push_str(&lines.render(width));
    }
    if numbers > 0 {
        let _ = writeln!(text, "  {} above them: {}", count(numbers, "layer"), size(above));
    }
    text
}

fn is_above(layer: &LayerEstimateRecord) -> bool {
    layer.causes.iter().all(|cause| cause.cause == "above")
}

/// What each kept image shares with it; empty where nobody asked.
pub fn shares(record: &EstimateRecord, width: Width) -> String {
    if record.shares.is_empty() {
        return String::new();
    }
    let mut table = Table::new([("KEPT IMAGE", Align::Left), ("SHARES", Align::Right), ("", Align::Left)]);
    for kept in &record.shares {
        let words = match kept.here {
            true => format!("{}, {}", share(kept.bytes, record.total_bytes), count(kept.layers, "layer")),
            false => "is not here".to_owned(),
        };
        table.row([kept.image.clone(), size(kept.bytes), words]);
    }
    table.render(width)
}
