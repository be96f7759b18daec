//! What is in the state directory.

use layerkeeper_store::inspect::MOST;
use layerkeeper_store::{StateSummary, Verdict};

use super::Width;
use super::amount::{count, instant, relative, short, size};
use super::table::{Align, Table, plain};

/// Verdict, what is to be done, then the content; `now` in milliseconds since the epoch.
pub fn state(summary: &StateSummary, now: i64, width: Width) -> String {
    let mut sections = vec![head(summary, now, width)];
    if !summary.damage.is_empty() {
        sections.push(lines("Damage:", &summary.damage, width));
    }
    if !summary.unread.is_empty() {
        sections.push(lines("Could not be read:", &summary.unread, width));
    }
    if !summary.unfinished.is_empty() {
        sections.push(unfinished(summary, now, width));
    }
    if !summary.deploys.is_empty() {
        sections.push(deploys(summary, now, width));
    }
    if !summary.tombstones.is_empty() {
        sections.push(tombstones(summary, now, width));
    }
    if !summary.rows.is_empty() {
        sections.push(rows(summary, width));
    }
    sections.join("\n")
}

fn head(summary: &StateSummary, now: i64, width: Width) -> String {
    let mut text = format!("{}: {}\n", plain(&summary.file.display().to_string()), summary.verdict);
    if let Some(problem) = &summary.problem {
        text.push_str(&plain(problem));
        text.push('\n');
    }
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let wal = match summary.wal_bytes {
        0 => String::new(),
        bytes => format!(", and {} in the -wal file beside it", size(bytes)),
    };
    // of a file that cannot be opened this may be all there is to tell, or not even this
    if summary.bytes > 0 || summary.verdict != Verdict::Unreadable {
        table.row(["size".to_owned(), format!("{}{wal}", size(summary.bytes))]);
    }
    if let Some(version) = summary.version {
        let known = summary.known_version;
        table.row(["schema".to_owned(), format!("version {version}; this program knows up to {known}")]);
    }
    if let (Some(oldest), Some(newest)) = (summary.oldest, summary.newest) {
        table.row(["oldest entry".to_owned(), dated(oldest, now)]);
        table.row(["newest entry".to_owned(), dated(newest, now)]);
    }
    if !summary.jobs.is_empty() {
        let jobs: Vec<String> = summary.jobs.iter().map(|(state, number)| format!("{number} {state}")).collect();
        table.row(["jobs".to_owned(), jobs.join(", ")]);
    }
    if let Some(gate) = &summary.prune_gate {
        table.row(["prune gate".to_owned(), format!("shut {}: {}", relative(gate.since, now), gate.reason)]);
    } else if summary.rows.contains_key("prune_gate") {
        table.row(["prune gate".to_owned(), "open".to_owned()]);
    }
    text.push_str(&table.render(width));
    text
}

fn lines(head: &str, findings: &[String], width: Width) -> String {
    let mut table = Table::new([("", Align::Left)]);
    for finding in findings {
        table.row([finding.clone()]);
    }
    format!("{head}\n{}", table.render(width))
}

fn unfinished(summary: &StateSummary, now: i64, width: Width) -> String {
    let mut table = Table::new([
        ("ACCEPTED", Align::Left),
        ("STATE", Align::Left),
        ("KIND", Align::Left),
        ("TAKEN UP", Align::Right),
        ("NOT BEFORE", Align::Left),
        ("IMAGE", Align::Left),
    ]);
    for job in &summary.unfinished {
        table.row([
            relative(job.created, now),
            job.state.clone(),
            job.kind.clone(),
            job.attempts.to_string(),
            job.not_before.map_or_else(|| "-".to_owned(), |at| relative(at, now)),
            job.image.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    format!("{}\n{}", shown("Jobs that wait or run", summary.unfinished.len()), table.render(width))
}

fn deploys(summary: &StateSummary, now: i64, width: Width) -> String {
    let mut table = Table::new([
        ("LAST DEPLOY", Align::Left),
        ("NUMBER", Align::Right),
        ("WHEN", Align::Left),
        ("DIGEST", Align::Left),
    ]);
    for deploy in &summary.deploys {
        table.row([
            deploy.image.clone(),
            format!("#{}", deploy.seq),
            relative(deploy.at, now),
            short(&deploy.digest).to_owned(),
        ]);
    }
    let repositories = super::amount::count_irregular(summary.deploys.len(), "repository", "repositories");
    format!("Deploys to {repositories}:\n{}", table.render(width))
}

fn tombstones(summary: &StateSummary, now: i64, width: Width) -> String {
    let mut table =
        Table::new([("IMAGE", Align::Left), ("BY", Align::Left), ("WHEN", Align::Left), ("WHY", Align::Left)]);
    for stone in &summary.tombstones {
        table.row([stone.image.clone(), stone.who.clone(), relative(stone.at, now), stone.reason.clone()]);
    }
    format!("{}\n{}", shown("Not to be brought back (tombstones)", summary.tombstones.len()), table.render(width))
}

fn rows(summary: &StateSummary, width: Width) -> String {
    let mut table = Table::new([("TABLE", Align::Left), ("ROWS", Align::Right)]);
    for (name, number) in &summary.rows {
        table.row([name.clone(), number.to_string()]);
    }
    format!("{}:\n{}", count(summary.rows.len(), "table"), table.render(width))
}

fn shown(head: &str, number: usize) -> String {
    if number < MOST { format!("{head}:") } else { format!("{head}, {MOST} of them:") }
}

fn dated(at: i64, now: i64) -> String {
    format!("{}, {}", instant(at), relative(at, now))
}
