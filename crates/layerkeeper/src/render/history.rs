//! Jobs: many in a table, or one with all that it did.

use std::fmt::Write as _;

use layerkeeper_http::wire::{ChangeView, JobView};

use super::amount::{duration_ms, instant, relative, share, size};
use super::report;
use super::table::{Align, Table, plain};
use super::{Width, changes};

/// The newest first, a line each, without who asked for it (JSON has it), to leave room for how it ended; `now` in milliseconds since the epoch.
pub fn history(jobs: &[JobView], now: i64, width: Width) -> String {
    if jobs.is_empty() {
        return "No job yet.\n".to_owned();
    }
    let mut table = Table::new([
        ("WHEN", Align::Left),
        ("STATE", Align::Left),
        ("JOB", Align::Left),
        ("TOOK", Align::Right),
        ("REUSED", Align::Right),
        ("SHARE", Align::Right),
        ("MOVED", Align::Right),
        ("OUTCOME", Align::Left),
    ]);
    for job in jobs {
        let pull = job.outcome.pull.as_ref();
        table.row([
            relative(job.created, now),
            job.state.clone(),
            job.intent.clone(),
            took(job).unwrap_or_else(|| "-".to_owned()),
            pull.map_or_else(|| "-".to_owned(), |pull| size(pull.reused_bytes)),
            pull.map_or_else(
                || "-".to_owned(),
                |pull| share(pull.reused_bytes, pull.reused_bytes + pull.downloaded_bytes),
            ),
            size(job.outcome.moved_bytes),
            words(job, now),
        ]);
    }
    table.render(width)
}

/// One image: its jobs, the newest to its last layer, and what the name stood for.
pub fn of_image(jobs: &[JobView], stood: &[ChangeView], now: i64, width: Width) -> String {
    let newest = jobs.first().map(|newest| job(newest, width));
    let stood = (!stood.is_empty()).then(|| changes::of_a_name(stood, now, width));
    [Some(history(jobs, now, width)), newest, stood].into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// One job to its last layer.
pub fn job(job: &JobView, width: Width) -> String {
    let mut text = format!("{}: {}", plain(&job.intent), job.state);
    if let Some(took) = took(job) {
        let _ = write!(text, " in {took}");
    }
    if !job.outcome.summary.is_empty() {
        let _ = write!(text, ". {}", plain(&job.outcome.summary));
    }
    let _ = writeln!(text, "\njob {}, accepted {} from {}", job.id, instant(job.created), plain(&job.trigger));
    if let Some(newer) = &job.superseded_by {
        let _ = writeln!(text, "superseded by job {}", plain(newer));
    }
    let outcome = report::outcome(&job.outcome, width);
    if !outcome.is_empty() {
        text.push('\n');
        text.push_str(&outcome);
    }
    text
}

fn took(job: &JobView) -> Option<String> {
    let (started, finished) = (job.started?, job.finished?);
    Some(duration_ms(u64::try_from(finished - started).unwrap_or(0)))
}

fn words(job: &JobView, now: i64) -> String {
    if let Some(newer) = &job.superseded_by {
        return format!("by job {newer}");
    }
    if let Some(error) = &job.outcome.error {
        return error.message.clone();
    }
    match job.not_before.filter(|at| *at > now && job.state == "queued") {
        Some(at) => format!("tried again {}", relative(at, now)),
        None => job.outcome.summary.clone(),
    }
}
