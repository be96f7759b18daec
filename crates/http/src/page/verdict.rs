//! The first line: is everything kept here?

use layerkeeper_keeper::Status;
use maud::{Markup, html};

use super::text;

/// How good things are, and why, in one line each.
struct Verdict {
    class: &'static str,
    mark: &'static str,
    line: String,
    more: Vec<String>,
}

/// The page's title.
pub fn title(status: &Status) -> String {
    let verdict = judge(status);
    format!("{} {}", verdict.mark, verdict.line)
}

/// The big line, and what stands against it.
pub fn verdict(status: &Status) -> Markup {
    let verdict = judge(status);
    html! {
        section class={"verdict " (verdict.class)} aria-label="Verdict" {
            h2 { span.mark aria-hidden="true" { (verdict.mark) } " " (verdict.line) }
            @for line in &verdict.more { p { (line) } }
            p.quiet {
                @if status.engine.version.is_empty() { "Docker Engine not seen yet" }
                @else {
                    "Docker Engine " (status.engine.version) " · " (status.engine.driver)
                    @if status.engine.store == "containerd" { " (containerd store)" }
                    " · " (status.engine.platform) " · " (text::count(count(status.engine.images), "image"))
                }
                @if let Some(seen) = status.engine.seen_at { " · looked at " (text::away(seen, status.now)) }
                " · " (text::count(count(status.queued), "job")) " waiting"
            }
        }
    }
}

fn judge(status: &Status) -> Verdict {
    let wanted = status.kept.iter().filter(|kept| kept.finding != "forgotten");
    let missing = wanted.clone().filter(|kept| !kept.present).count();
    let kept = wanted.count();
    let mut more = concerns(status);
    let (class, mark, line) = if !status.engine.up && (status.engine.error.is_some() || status.engine.seen_at.is_some())
    {
        more.insert(0, status.engine.error.clone().unwrap_or_else(|| "No cause is known.".to_owned()));
        ("bad", "✗", "The Docker engine does not answer".to_owned())
    } else if !status.ready {
        ("warn", "…", "The first look at the engine is not done yet".to_owned())
    } else if missing > 0 {
        ("bad", "✗", format!("{missing} of {} missing", text::count(kept, "kept image")))
    } else if kept == 0 {
        ("warn", "–", "No kept images are configured".to_owned())
    } else {
        let line = match kept {
            1 => "The kept image is here".to_owned(),
            2 => "Both kept images are here".to_owned(),
            _ => format!("All {kept} kept images are here"),
        };
        if more.is_empty() { ("good", "✓", line) } else { ("warn", "!", format!("{line}, but look below")) }
    };
    Verdict { class, mark, line, more }
}

/// What is not right although the kept set may be here.
fn concerns(status: &Status) -> Vec<String> {
    let mut concerns = Vec::new();
    for disk in &status.disk {
        if let Some(cause) = &disk.error {
            concerns.push(format!("Disk {} cannot be read: {cause}.", disk.path));
        } else if disk.free_bytes < disk.min_free_bytes {
            let (free, least) = (text::size(disk.free_bytes), text::size(disk.min_free_bytes));
            concerns.push(format!("Disk {}: {free} free, {least} must stay free.", disk.path));
        }
    }
    let unmet = status.kept.iter().filter(|kept| !kept.unmet.is_empty()).count();
    if unmet > 0 {
        concerns.push(format!("What came for {} is not what is expected of it.", text::count(unmet, "kept image")));
    }
    let failing = status.kept.iter().filter(|kept| kept.last_error.is_some() && kept.unmet.is_empty()).count();
    if failing > 0 {
        concerns.push(format!("The last refresh of {} failed.", text::count(failing, "kept image")));
    }
    // a tag that has moved on from its pin is what a pin is for
    let gone = status.kept.iter().filter(|kept| kept.pin_unresolvable && kept.tag_shows.is_none()).count();
    if gone > 0 {
        concerns.push(format!("The registry no longer has the tag of {}.", text::count(gone, "pinned image")));
    }
    concerns
}

fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
