//! The reuse report: what a pull found here, what it moved, and how sure that is.

use std::fmt::Write as _;

use layerkeeper_core::instruction::instruction;
use layerkeeper_store::record::{LayerRecordJson, Outcome, PhasesRecord, PullRecord};

use super::amount::{count, duration_ms, share, short, size, size_or_unknown};
use super::table::{Align, Table, plain};
use super::why::why;
use super::{Width, prune};

/// Everything that a job left behind: kept pulls, its own, what was pruned, the budget, warnings, the error.
pub fn outcome(outcome: &Outcome, width: Width) -> String {
    let mut sections = Vec::new();
    if let Some(record) = &outcome.pull {
        sections.push(pull(record, width));
    } else if let Some(estimate) = &outcome.estimate {
        sections.extend(Some(why(estimate, width)).filter(|text| !text.is_empty()));
    }
    if !outcome.kept.is_empty() {
        sections.push(kept(&outcome.kept, width));
    }
    if let Some(record) = &outcome.prune {
        sections.push(prune::prune(record, width));
    }
    let mut end = String::new();
    if let Some(line) = budget(outcome) {
        let _ = writeln!(end, "{line}");
    }
    for warning in &outcome.warnings {
        let _ = writeln!(end, "warning: {}", plain(warning));
    }
    if let Some(error) = &outcome.error {
        let _ = writeln!(end, "error ({}): {}", plain(&error.class), plain(&error.message));
        if !error.detail.is_empty() {
            let _ = writeln!(end, "  {}", plain(&error.detail));
        }
    }
    if !end.is_empty() {
        sections.push(end);
    }
    sections.join("\n")
}

/// One pull, layer by layer, with its sums.
pub fn pull(record: &PullRecord, width: Width) -> String {
    let mut text = format!("{}\n", plain(&record.image));
    if let Some(digest) = &record.digest {
        let _ = writeln!(text, "{}", plain(digest));
    }
    let mut layers = Table::new([
        ("LAYER", Align::Left),
        ("SIZE", Align::Right),
        ("CAME BY", Align::Left),
        ("INSTRUCTION", Align::Left),
    ])
    .cut();
    for layer in &record.layers {
        layers.row([
            short(&layer.digest).to_owned(),
            size_or_unknown(layer.size),
            source(layer),
            layer.created_by.as_deref().map(instruction).unwrap_or_default(),
        ]);
    }
    if !layers.is_empty() {
        text.push_str(&layers.render(width));
        text.push('\n');
    }
    text.push_str(&sums(record).render(width));
    push(&mut text, &record.estimate.as_ref().map(|estimate| why(estimate, width)).unwrap_or_default());
    text
}

/// A paragraph more, where there is one.
fn push(text: &mut String, paragraph: &str) {
    if !paragraph.is_empty() {
        text.push('\n');
        text.push_str(paragraph);
    }
}

/// `reused`, `downloaded`, or how much of it moved where the engine went on from an earlier attempt.
fn source(layer: &LayerRecordJson) -> String {
    match layer.size {
        Some(whole) if layer.source == "downloaded" && layer.downloaded_bytes < whole => {
            format!("downloaded, {} of it", size(layer.downloaded_bytes))
        }
        _ => layer.source.clone(),
    }
}

fn sums(record: &PullRecord) -> Table {
    let from = |source: &str| record.layers.iter().filter(|layer| layer.source == source).count();
    let whole = record.reused_bytes + record.downloaded_bytes;
    let mut table = Table::new([("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let mut line = |what: &str, amount: String, words: String| table.row([what.to_owned(), amount, words]);
    let reused =
        format!("{} of {}, {}", share(record.reused_bytes, whole), size(whole), count(from("reused"), "layer"));
    line("reused", size(record.reused_bytes), reused);
    line("downloaded", size(record.downloaded_bytes), count(from("downloaded"), "layer"));
    line("overhead", size(record.overhead_bytes), "manifests and config".to_owned());
    let failed: Vec<_> = record.attempts.iter().filter(|attempt| attempt.failure.is_some()).collect();
    line(
        "wasted",
        size(record.wasted_bytes),
        match failed.len() {
            0 if record.attempts.len() > 1 => {
                format!("moved by {}", count(record.attempts.len() - 1, "failed attempt"))
            }
            0 => "no attempt failed".to_owned(),
            number => format!("moved by {}", count(number, "failed attempt")),
        },
    );
    for attempt in failed {
        line(
            "",
            size(attempt.moved_bytes),
            format!("after {}: {}", duration_ms(attempt.duration_ms), attempt.failure.as_deref().unwrap_or_default()),
        );
    }
    if let Some(estimate) = &record.estimate {
        let (least, most) = (estimate.fetch_bytes_least, estimate.fetch_bytes_most);
        let words =
            if least == most { "to move".to_owned() } else { format!("to move at least, {} at most", size(most)) };
        line("expected", size(least), words);
    }
    if let Some(error) = record.estimate_error_bytes.filter(|error| *error != 0) {
        let words = if error > 0 { "more than expected" } else { "less than expected" };
        line("", size(error.unsigned_abs()), words.to_owned());
    }
    line("took", duration_ms(record.duration_ms), record.phases.map(phases).unwrap_or_default());
    if let Some(transfer) = &record.transfer {
        line("by", transfer.way.clone(), transfer.reason.clone());
        let resumed = transfer.resumed_bytes;
        let resumed =
            (resumed > 0).then(|| format!("{} of it lay in the spool from an attempt that was cut", size(resumed)));
        let fallback = transfer.fallback.as_ref().map(|why| format!("the relay was given up: {why}"));
        for words in resumed.into_iter().chain(fallback).chain(transfer.remarks.iter().cloned()) {
            line("", String::new(), words);
        }
    }
    line("certainty", record.certainty.clone(), record.doubts.first().cloned().unwrap_or_default());
    for doubt in record.doubts.iter().skip(1) {
        line("", String::new(), doubt.clone());
    }
    table
}

fn phases(phases: PhasesRecord) -> String {
    format!(
        "{} to the first byte, {} download, {} extraction after it; {} before to resolve the name",
        duration_ms(phases.first_byte_ms),
        duration_ms(phases.download_ms),
        duration_ms(phases.extract_ms),
        duration_ms(phases.resolve_ms)
    )
}

/// The kept images that the job pulled before its own.
fn kept(records: &[PullRecord], width: Width) -> String {
    let mut table = Table::new([
        ("KEPT IMAGE", Align::Left),
        ("REUSED", Align::Right),
        ("DOWNLOADED", Align::Right),
        ("OVERHEAD", Align::Right),
        ("WASTED", Align::Right),
        ("CERTAINTY", Align::Left),
    ]);
    for record in records {
        table.row([
            record.image.clone(),
            size(record.reused_bytes),
            size(record.downloaded_bytes),
            size(record.overhead_bytes),
            size(record.wasted_bytes),
            record.certainty.clone(),
        ]);
    }
    format!("Kept images that were pulled first:\n{}", table.render(width))
}

/// What the whole job moved, against what its repository may.
fn budget(outcome: &Outcome) -> Option<String> {
    let budget = outcome.budget_bytes?;
    let moved = outcome.moved_bytes;
    Some(if moved > budget {
        format!(
            "OVER BUDGET: this job moved {}, {} more than its budget of {}.",
            size(moved),
            size(moved - budget),
            size(budget)
        )
    } else {
        format!("Within budget: this job moved {} of {} ({}).", size(moved), size(budget), share(moved, budget))
    })
}
