//! The daemon's state at a glance.

use std::fmt::Write as _;

use layerkeeper_keeper::Status;
use layerkeeper_keeper::status::{KeptStatus, RuntimeStatus};

use super::Width;
use super::amount::{count, relative, relative_or_never, share, short, size, size_or_unknown};
use super::table::{Align, Table, plain};

/// Engine, queue, disk, kept images, runtime tags, what could be freed.
pub fn status(status: &Status, width: Width) -> String {
    let mut sections = vec![head(status, width)];
    if !status.kept.is_empty() {
        sections.push(kept(&status.kept, status.now, width));
    }
    sections.extend(status.runtime.iter().map(|runtime| tags(runtime, status.now, width)));
    if !status.superseded.is_empty() {
        sections.push(superseded(status, width));
    }
    if !status.from_mirrors.is_empty() {
        sections.push(from_mirrors(status, width));
    }
    if !status.losses.is_empty() {
        sections.push(losses(status, width));
    }
    if !status.forgotten.is_empty() {
        sections.push(forgotten(status, width));
    }
    if let Some(reason) = &status.prune_blocked {
        sections.push(format!("Nothing may be removed now: {}\n", plain(reason)));
    }
    sections.join("\n")
}

fn head(status: &Status, width: Width) -> String {
    let readiness = if status.ready { "ready" } else { "NOT READY" };
    let started = relative(status.started_at, status.now);
    let mut text = format!("layerkeeper {}, started {started}, {readiness}\n", plain(&status.version));
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let engine = &status.engine;
    let seen = relative_or_never(engine.seen_at, status.now);
    table.row([
        "engine".to_owned(),
        match (&engine.error, engine.up) {
            (_, true) => format!(
                "{} on {} ({}, {}), {}, seen {seen}",
                engine.version,
                engine.platform,
                engine.driver,
                engine.store,
                count(usize::try_from(engine.images).unwrap_or(usize::MAX), "image")
            ),
            (Some(error), false) => format!("DOWN, last seen {seen}: {error}"),
            (None, false) => format!("DOWN, last seen {seen}"),
        },
    ]);
    let mut queue = match status.queued {
        0 => "nothing waits".to_owned(),
        number => format!("{} waiting", count(usize::try_from(number).unwrap_or(usize::MAX), "job")),
    };
    let _ = match &status.running {
        Some(job) => {
            write!(queue, "; running, started {}: {}", relative_or_never(job.started_at, status.now), job.intent)
        }
        None => write!(queue, ", nothing runs"),
    };
    table.row(["queue".to_owned(), queue]);
    for disk in &status.disk {
        let low = if disk.free_bytes < disk.min_free_bytes { ", LOW" } else { "" };
        table.row([
            "disk".to_owned(),
            match &disk.error {
                Some(error) => format!("{}: {error}", disk.path),
                None => format!(
                    "{}: {} free of {} ({}), {} must stay free{low}",
                    disk.path,
                    size(disk.free_bytes),
                    size(disk.total_bytes),
                    share(disk.free_bytes, disk.total_bytes),
                    size(disk.min_free_bytes)
                ),
            },
        ]);
    }
    if status.spool_bytes > 0 {
        let spool = format!("{} of a pull under way or to be taken up again", size(status.spool_bytes));
        table.row(["spool".to_owned(), spool]);
    }
    text.push_str(&table.render(width));
    text
}

fn kept(images: &[KeptStatus], now: i64, width: Width) -> String {
    let wanted = images.iter().filter(|image| image.finding != "forgotten");
    let here = wanted.clone().filter(|image| image.present).count();
    let mut text = format!("Kept images: {here} of {} here\n", wanted.count());
    let mut table = Table::new([
        ("IMAGE", Align::Left),
        ("STATE", Align::Left),
        ("DIGEST", Align::Left),
        ("REFRESHED", Align::Left),
        ("NEXT", Align::Left),
        ("NOTE", Align::Left),
    ]);
    for image in images {
        let state = if image.present { image.finding.clone() } else { image.finding.to_uppercase() };
        let mut notes = Vec::new();
        if image.pin.is_some() {
            notes.push(match &image.tag_shows {
                Some(digest) => format!("pinned; its tag shows {} by now, not followed", short(digest)),
                None if image.pin_unresolvable => "pinned; its tag is gone at the registry".to_owned(),
                None => "pinned".to_owned(),
            });
        }
        if let Some(unmet) = &image.unmet_digest {
            notes.push(format!("{} is not as expected: {}", short(unmet), image.unmet.join("; ")));
        }
        // what is told already is not told again
        let failed = image.last_error.iter().filter(|_| image.unmet.is_empty());
        notes.extend(failed.map(|error| format!("last refresh failed: {error}")));
        notes.extend(image.series.iter().map(|series| format!("of {series}")));
        table.row([
            image.image.clone(),
            state,
            image.digest.as_deref().map_or("-", short).to_owned(),
            relative_or_never(image.last_refresh, now),
            image.next_run.map_or_else(|| "-".to_owned(), |at| relative(at, now)),
            notes.join("; "),
        ]);
    }
    text.push_str(&table.render(width));
    for name in images.iter().flat_map(|image| &image.left_here) {
        let _ = writeln!(text, "{0} is here and kept no more; `docker rmi {0}` frees its room", plain(name));
    }
    text
}

fn from_mirrors(status: &Status, width: Width) -> String {
    let mut table =
        Table::new([("IMAGE", Align::Left), ("DIGEST", Align::Left), ("FROM", Align::Left), ("SINCE", Align::Left)]);
    for image in &status.from_mirrors {
        let (digest, since) = (short(&image.digest).to_owned(), relative(image.at, status.now));
        table.row([image.image.clone(), digest, image.source.clone(), since]);
    }
    format!("From a mirror, as the registry was away; confirmed when it answers again:\n{}", table.render(width))
}

fn losses(status: &Status, width: Width) -> String {
    let mut table =
        Table::new([("IMAGE", Align::Left), ("GONE", Align::Left), ("HOW", Align::Left), ("BACK", Align::Left)]);
    for loss in &status.losses {
        let slowed = if loss.slowed { ", once an hour: it is taken away again and again" } else { "" };
        table.row([
            loss.image.clone(),
            relative(loss.at, status.now),
            format!("{}: {}", loss.cause, loss.said),
            match loss.next_try {
                None => format!("a job is on it{slowed}"),
                Some(at) => format!("tried again {}{slowed}", relative(at, status.now)),
            },
        ]);
    }
    format!("Missing:\n{}", table.render(width))
}

fn forgotten(status: &Status, width: Width) -> String {
    let mut table =
        Table::new([("IMAGE", Align::Left), ("WHEN", Align::Left), ("BY", Align::Left), ("WHY", Align::Left)]);
    for stone in &status.forgotten {
        table.row([stone.image.clone(), relative(stone.at, status.now), stone.who.clone(), stone.reason.clone()]);
    }
    format!("Forgotten, and not brought back:\n{}", table.render(width))
}

fn tags(runtime: &RuntimeStatus, now: i64, width: Width) -> String {
    let mut text = format!("{}: {} here\n", plain(&runtime.repository), count(runtime.tags.len(), "tag"));
    let mut table = Table::new([
        ("TAG", Align::Left),
        ("DEPLOY", Align::Right),
        ("WHEN", Align::Left),
        ("DIGEST", Align::Left),
        ("HELD BY", Align::Left),
    ]);
    for tag in &runtime.tags {
        let name = tag.image.strip_prefix(&format!("{}:", runtime.repository)).unwrap_or(&tag.image);
        table.row([
            name.to_owned(),
            tag.deploy.map_or_else(|| "-".to_owned(), |number| format!("#{number}")),
            match (tag.deployed_at, tag.first_seen) {
                (Some(at), _) => relative(at, now),
                (None, Some(at)) => format!("first seen {}", relative(at, now)),
                (None, None) => "-".to_owned(),
            },
            tag.digest.as_deref().map_or("-", short).to_owned(),
            tag.held_by.join(", "),
        ]);
    }
    if !table.is_empty() {
        text.push_str(&table.render(width));
    }
    text
}

fn superseded(status: &Status, width: Width) -> String {
    let mut text = format!(
        "Superseded digests: {} in all; `layerkeeper prune --superseded` removes them, disk.remove_superseded lets the daemon do it\n",
        size(status.superseded_bytes)
    );
    let mut table =
        Table::new([("DIGEST", Align::Left), ("FREES", Align::Right), ("SINCE", Align::Left), ("WAS", Align::Left)]);
    for digest in &status.superseded {
        let (repository, hex) = digest.reference.split_once('@').unwrap_or(("", &digest.reference));
        table.row([
            format!("{repository}@{}", short(hex)),
            size_or_unknown(digest.size),
            relative(digest.at, status.now),
            digest.was.clone(),
        ]);
    }
    text.push_str(&table.render(width));
    text
}
