//! A deploy's report as GitHub shows it: a table for `$GITHUB_STEP_SUMMARY`, and lines for `$GITHUB_OUTPUT`.
//!
//! Formats: GitHub, "Workflow commands for GitHub Actions"; GitHub Flavored Markdown, tables.

use std::fmt::Write as _;

use layerkeeper_http::wire::{PublicJob, PublicPull, PublicReport};

use super::amount::{count, duration_ms, share, short, size};
use super::table::plain;

/// The table: what was here, what moved, layer by layer, against the budget; or why there is nothing of the kind.
pub fn summary(job: &PublicJob) -> String {
    let image = job.image.as_deref().unwrap_or("a deploy");
    let mut text = format!("### {} {}: {}\n\n", mark(job), code(image), cell(&job.state));
    if let Some(error) = &job.error {
        let _ = writeln!(text, "**{}**: {}\n", cell(&error.class), cell(&error.message));
    }
    let Some(report) = &job.report else { return text };
    let _ = writeln!(text, "| | downloaded | reused | reuse | expected | took |\n|---|---:|---:|---:|---:|---:|");
    for pull in report.kept.iter().chain(&report.pull) {
        let _ = writeln!(text, "{}", row(pull));
    }
    if report.pull.is_none() {
        let _ = writeln!(text, "| {} | 0 B | | | | |", code(image));
    }
    let _ = writeln!(text, "\n{}", against_budget(report));
    if let Some(pull) = &report.pull {
        text.push_str(&layers(pull));
    }
    text
}

/// `bytes_downloaded`, `bytes_reused` and `reuse_ratio` of the whole job, `NAME=VALUE` a line.
pub fn outputs(job: &PublicJob) -> String {
    outputs_of([job])
}

/// All that a job pulled.
pub(super) fn pulls(job: &PublicJob) -> impl Iterator<Item = &PublicPull> {
    job.report.iter().flat_map(|report| report.kept.iter().chain(&report.pull))
}

/// The same of many jobs together.
pub(super) fn outputs_of<'j>(jobs: impl IntoIterator<Item = &'j PublicJob>) -> String {
    let (downloaded, reused) = jobs
        .into_iter()
        .flat_map(pulls)
        .fold((0u64, 0u64), |(moved, here), pull| (moved + pull.downloaded_bytes, here + pull.reused_bytes));
    let whole = downloaded + reused;
    // nothing had to move, so all of it was here
    let ratio = if whole == 0 { 1.0 } else { reused as f64 / whole as f64 };
    format!("bytes_downloaded={downloaded}\nbytes_reused={reused}\nreuse_ratio={ratio:.4}\n")
}

pub(super) fn mark(job: &PublicJob) -> &'static str {
    match (job.state.as_str(), job.report.as_ref().is_some_and(|report| report.over_budget)) {
        ("succeeded", false) => "✅",
        ("succeeded", true) => "⚠️",
        ("superseded", _) => "⏭️",
        _ => "❌",
    }
}

fn row(pull: &PublicPull) -> String {
    let whole = pull.reused_bytes + pull.downloaded_bytes;
    let expected = match pull.estimated_fetch_bytes {
        Some((least, most)) if least == most => size(least),
        Some((least, most)) => format!("{} to {}", size(least), size(most)),
        None => String::new(),
    };
    format!(
        "| {} | {} | {} | {} | {expected} | {} |",
        code(&pull.image),
        size(pull.downloaded_bytes),
        size(pull.reused_bytes),
        share(pull.reused_bytes, whole),
        duration_ms(pull.duration_ms)
    )
}

fn against_budget(report: &PublicReport) -> String {
    let moved = size(report.moved_bytes);
    match report.budget_bytes {
        Some(budget) if report.over_budget => {
            let over = size(report.moved_bytes - budget);
            format!(
                "**Over budget**: {moved} moved, {over} more than the budget of {}. `layerkeeper plan` on the server says which \
                 layer and why.",
                size(budget)
            )
        }
        Some(budget) => format!("Within budget: {moved} of {} moved.", size(budget)),
        None => format!("{moved} moved."),
    }
}

/// The layers that moved, the largest first; those that were here are one line.
fn layers(pull: &PublicPull) -> String {
    let mut moved: Vec<_> = pull.layers.iter().filter(|layer| layer.downloaded_bytes > 0).collect();
    if moved.is_empty() {
        return String::new();
    }
    moved.sort_by_key(|layer| std::cmp::Reverse(layer.downloaded_bytes));
    let mut text = String::from("\n<details><summary>Layers that moved</summary>\n\n| layer | bytes |\n|---|---:|\n");
    for layer in &moved {
        let _ = writeln!(text, "| {} | {} |", code(short(&layer.digest)), size(layer.downloaded_bytes));
    }
    let here = pull.layers.len() - moved.len();
    let _ = writeln!(text, "\n{} here already.\n\n</details>", count(here, "layer"));
    text
}

/// In a table a bar ends the cell, and a line feed the row.
pub(super) fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|").replace('<', "&lt;")
}

pub(super) fn code(text: &str) -> String {
    format!("`{}`", plain(text).replace(['`', '|'], "'"))
}
