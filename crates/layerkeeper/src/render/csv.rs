//! History as comma-separated values (RFC 4180), for spreadsheets: bytes are whole numbers, instants RFC 3339.

use layerkeeper_http::wire::{ChangeView, JobView};
use layerkeeper_store::record::{PullRecord, RemovalRecord};

use super::amount::instant;

const HEAD: [&str; 21] = [
    "time",
    "job",
    "kind",
    "state",
    "what",
    "name",
    "digest",
    "reused_bytes",
    "downloaded_bytes",
    "overhead_bytes",
    "wasted_bytes",
    "reuse_ratio",
    "estimate_error_bytes",
    "certainty",
    "duration_ms",
    "resolve_ms",
    "first_byte_ms",
    "download_ms",
    "extract_ms",
    "freed_bytes",
    "reason",
];

/// A line for each pull, each removal, and each job that has neither; then one for each change of what a name stood for.
///
/// # Errors
/// None in practice: the writer is a buffer.
pub fn history(jobs: &[JobView], changes: &[ChangeView]) -> std::io::Result<String> {
    let mut lines = Vec::new();
    for job in jobs {
        let outcome = &job.outcome;
        let before = lines.len();
        lines.extend(outcome.kept.iter().chain(&outcome.pull).map(|pull| pulled(job, pull)));
        let removals = outcome.pressure.iter().chain(&outcome.prune).flat_map(|prune| &prune.removals);
        lines.extend(removals.map(|removal| removed(job, removal)));
        if lines.len() == before {
            let reason = outcome.error.as_ref().map_or(&outcome.summary, |error| &error.message);
            lines.push(line(job, "job", job.image.as_deref().unwrap_or_default(), reason));
        }
    }
    lines.extend(changes.iter().map(changed));
    text(&HEAD, lines)
}

/// A line for each name that was here.
///
/// # Errors
/// As above.
pub fn names(names: &[ChangeView]) -> std::io::Result<String> {
    let row = |row: &ChangeView| {
        [
            row.name.clone(),
            row.digest.clone().unwrap_or_default(),
            row.image_id.clone().unwrap_or_default(),
            row.layers.join(" "),
            instant(row.at),
        ]
    };
    text(&["name", "digest", "image_id", "layers", "since"], names.iter().map(row))
}

fn line(job: &JobView, what: &str, name: &str, reason: &str) -> [String; 21] {
    let mut cells: [String; 21] = Default::default();
    let at = instant(job.finished.or(job.started).unwrap_or(job.created));
    let known = [&at, &job.id, &job.kind, &job.state, what, name];
    for (cell, value) in cells.iter_mut().zip(known) {
        cell.clone_from(&value.to_owned());
    }
    cells[20] = reason.to_owned();
    cells
}

fn pulled(job: &JobView, pull: &PullRecord) -> [String; 21] {
    let mut cells = line(job, "pull", &pull.image, "");
    let phases = pull.phases.map(|p| [p.resolve_ms, p.first_byte_ms, p.download_ms, p.extract_ms]);
    let [resolve, first_byte, download, extract] =
        phases.map_or_else(Default::default, |phases| phases.map(|millis| millis.to_string()));
    let told = [
        pull.digest.clone().unwrap_or_default(),
        pull.reused_bytes.to_string(),
        pull.downloaded_bytes.to_string(),
        pull.overhead_bytes.to_string(),
        pull.wasted_bytes.to_string(),
        pull.reuse_ratio.map(|ratio| format!("{ratio:.4}")).unwrap_or_default(),
        pull.estimate_error_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
        pull.certainty.clone(),
        pull.duration_ms.to_string(),
        resolve,
        first_byte,
        download,
        extract,
    ];
    for (cell, value) in cells.iter_mut().skip(6).zip(told) {
        *cell = value;
    }
    cells
}

fn changed(change: &ChangeView) -> [String; 21] {
    let mut cells: [String; 21] = Default::default();
    cells[0] = instant(change.at);
    cells[1] = change.job.clone().unwrap_or_default();
    cells[4] = if change.image_id.is_some() { "named" } else { "went" }.to_owned();
    cells[5].clone_from(&change.name);
    cells[6] = change.digest.clone().unwrap_or_default();
    cells[20] = change.reason.clone().unwrap_or_default();
    cells
}

fn removed(job: &JobView, removal: &RemovalRecord) -> [String; 21] {
    let mut cells = line(job, &removal.outcome, &removal.name, &removal.reason);
    cells[19] = removal.freed_bytes.to_string();
    cells
}

fn text<const N: usize>(head: &[&str; N], lines: impl IntoIterator<Item = [String; N]>) -> std::io::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(head)?;
    for line in lines {
        // a cell that a spreadsheet would take for a formula is only a text
        writer
            .write_record(line.map(|cell| if cell.starts_with(['=', '+', '@']) { format!("'{cell}") } else { cell }))?;
    }
    let bytes = writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
