//! What to say of a cleaner.

use layerkeeper_core::{ImageName, StoreKind};

use super::act::{Act, Prune};
use super::removes::{Removes, Stock, removes};
use super::{Cleaner, Kind};
use crate::doctor::finding::{Finding, Level};
use crate::render::amount::{count, size};

/// More names than this are counted, not listed.
const SHOWN: usize = 3;

const INSTEAD: &str = "`layerkeeper prune` removes old runtime tags and says why each goes or stays, `docker builder \
                       prune` frees the build cache. A filter is no way out: an image cannot be given a label afterwards, \
                       and `until` goes by its build time, not by when it came here";

/// Judges all of them; one line where there are none.
pub fn judge(cleaners: &[Cleaner], stock: Option<&Stock<'_>>) -> Vec<Finding> {
    if cleaners.is_empty() {
        return vec![Finding::ok(
            "cleaner.none",
            "no cron line, systemd unit or container that removes images was found",
        )];
    }
    cleaners.iter().map(|cleaner| one(cleaner, stock)).collect()
}

fn one(cleaner: &Cleaner, stock: Option<&Stock<'_>>) -> Finding {
    let id = match cleaner.kind {
        Kind::Crontab | Kind::Spool { .. } | Kind::Periodic => "cleaner.cron",
        Kind::Timer { .. } => "cleaner.timer",
        Kind::Service { .. } => "cleaner.service",
        Kind::Container => "cleaner.container",
    };
    let taken = stock.map(|stock| removes(&cleaner.act, stock));
    let containerd = stock.is_some_and(|stock| stock.inventory.engine.store == StoreKind::Containerd);
    let what = format!("{}: {}", runs(cleaner), effect(cleaner, taken.as_ref()));
    let level = level(cleaner, taken.as_ref(), containerd);
    Finding::new(level, id, what).why(why(cleaner, taken.as_ref(), containerd)).mend(mend(cleaner))
}

/// `/etc/cron.d/cleanup:3 runs … every day at 03:00 (0 3 * * *)`
fn runs(cleaner: &Cleaner) -> String {
    let through = cleaner.through.as_ref().map(|script| format!(" in {script}")).unwrap_or_default();
    match (&cleaner.kind, &cleaner.act) {
        (Kind::Container, Act::Prune(_)) => {
            format!("{cleaner} belongs to Coolify, whose server cleans this host {}", cleaner.schedule)
        }
        (Kind::Container, _) => format!("{cleaner} ({})", cleaner.command),
        (Kind::Timer { enabled: false, .. } | Kind::Service { enabled: false, .. }, _) => {
            format!("{cleaner} would run `{}`{through}, but is not enabled", cleaner.command)
        }
        (Kind::Service { .. }, _) => {
            format!("{cleaner} runs `{}`{through} each time it starts", cleaner.command)
        }
        _ => format!("{cleaner} runs `{}`{through} {}", cleaner.command, cleaner.schedule),
    }
}

fn effect(cleaner: &Cleaner, taken: Option<&Removes>) -> String {
    match (&cleaner.act, taken) {
        (Act::Podman, _) => "that is Podman's store, not the engine's".to_owned(),
        (Act::Updater(program), _) => format!(
            "{program} pulls newer tags by itself, restarts containers on them and, told to clean up, removes the image \
             from before"
        ),
        (act, Some(taken)) => format!("it removes {}; now {}", rule(act), goes(taken)),
        (act, None) => format!("it removes {}; what that is here cannot be told without the engine", rule(act)),
    }
}

fn goes(taken: &Removes) -> String {
    if taken.is_nothing() {
        return "that would be nothing".to_owned();
    }
    let mut parts = Vec::new();
    if !taken.kept.is_empty() {
        parts.push(format!("{} ({})", count(taken.kept.len(), "kept image"), list(&taken.kept)));
    }
    if !taken.newest.is_empty() {
        parts.push(format!("{} of the newest runtime tags ({})", taken.newest.len(), list(&taken.newest)));
    }
    if taken.others > 0 {
        parts.push(count(taken.others, if parts.is_empty() { "image" } else { "other image" }));
    }
    let most = if taken.at_most { "at most " } else { "" };
    format!("that would be {most}{}: {}", parts.join(", "), size(taken.bytes.0))
}

/// What it takes, in general.
fn rule(act: &Act) -> String {
    match act {
        Act::Prune(prune) => pruned(prune),
        Act::Remove { names, .. } if !names.is_empty() => "what it names".to_owned(),
        Act::Remove { dangling: true, .. } | Act::Kamal => "images without a tag".to_owned(),
        Act::Remove { .. } => "every image that another command lists".to_owned(),
        Act::Collector(program) => format!("what {program} takes for unused"),
        Act::Updater(_) | Act::Podman => "nothing of the engine's".to_owned(),
    }
}

fn pruned(prune: &Prune) -> String {
    let what = match (prune.all, prune.system) {
        (true, true) => "every image without a running container",
        (true, false) => "every image without a container",
        (false, _) => "images without a tag",
    };
    let until = prune.until.as_ref().map(|age| format!(" built more than {age} ago"));
    let filter = prune.filter.as_ref().map(|filter| format!(" with {filter}"));
    [Some(what.to_owned()), until, filter].into_iter().flatten().collect()
}

fn list(names: &[ImageName]) -> String {
    let mut text = names.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

fn level(cleaner: &Cleaner, taken: Option<&Removes>, containerd: bool) -> Level {
    if cleaner.act == Act::Podman || !cleaner.runs_by_itself() {
        Level::Note
    } else if taken.is_some_and(Removes::hurts) {
        Level::Problem
    } else if takes_unknown(&cleaner.act) || containerd && prunes(&cleaner.act) {
        Level::Warning
    } else {
        Level::Note
    }
}

/// Does it take images with a tag that it does not name?
fn takes_unknown(act: &Act) -> bool {
    act.takes_tagged() && !matches!(act, Act::Remove { names, .. } if !names.is_empty())
}

fn prunes(act: &Act) -> bool {
    matches!(act, Act::Prune(_) | Act::Kamal | Act::Collector(_))
}

fn why(cleaner: &Cleaner, taken: Option<&Removes>, containerd: bool) -> String {
    let mut reasons = Vec::new();
    if taken.is_some_and(Removes::hurts) {
        reasons.push(
            "what is kept comes back by itself, but over the line and all of it, and a deploy until then moves \
                      it too",
        );
    }
    if containerd && prunes(&cleaner.act) {
        reasons.push(
            "on the containerd store any prune, even one that removes nothing, ends every pull in flight \
                      (moby/moby#53321)",
        );
    }
    reasons.push(match &cleaner.act {
        Act::Podman => "it is harmless unless docker is Podman here",
        Act::Updater(_) => {
            "a container that moves to another image by itself is no deploy: the image from before is not \
                            kept for the way back"
        }
        Act::Remove { .. } | Act::Prune(_) | Act::Kamal | Act::Collector(_) => {
            "what it takes depends on which containers there are at that minute"
        }
    });
    let text = reasons.join("; ");
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

fn mend(cleaner: &Cleaner) -> String {
    let command = match (&cleaner.kind, &cleaner.act) {
        (_, Act::Podman) => {
            return "`docker version` says whether docker is Podman here; only then, take it out".to_owned();
        }
        (Kind::Container, Act::Kamal) => {
            return "kamal cannot be told not to prune; let no deploy of kamal's run beside one of layerkeeper's, which \
                    tries a broken pull again by itself"
                .to_owned();
        }
        (Kind::Container, Act::Updater(_)) => {
            return "run it without --cleanup (WATCHTOWER_CLEANUP=false), or label the containers that are deployed \
                    with com.centurylinklabs.watchtower.enable=false"
                .to_owned();
        }
        (Kind::Container, Act::Prune(_)) => "in Coolify: Servers, this one, Docker Cleanup: switch it off".to_owned(),
        (Kind::Container, _) => format!("docker rm --force {}", cleaner.place),
        _ if cleaner.alone => stop(cleaner),
        _ => take_out(cleaner),
    };
    if takes_unknown(&cleaner.act) { format!("{command}. Instead, {INSTEAD}") } else { command }
}

fn place(cleaner: &Cleaner) -> (&str, &str) {
    cleaner.place.rsplit_once(':').unwrap_or((&cleaner.place, "1"))
}

/// Of something that does nothing else.
fn stop(cleaner: &Cleaner) -> String {
    let (file, line) = place(cleaner);
    match &cleaner.kind {
        // `crontab -e` does not show the lines that it wrote itself, so a number would be another line's
        Kind::Spool { user } => {
            let script = cleaner.through.as_deref().and_then(|through| through.rsplit_once(':'));
            let said = script.map_or(cleaner.command.as_str(), |(script, _)| script);
            format!("sudo crontab -u {user} -e, and take the line with `{said}` out")
        }
        Kind::Periodic => format!("sudo chmod -x {file}"),
        Kind::Timer { unit, .. } | Kind::Service { unit, .. } => format!("sudo systemctl disable --now {unit}"),
        Kind::Crontab | Kind::Container => format!("sudo sed -i '{line}s/^/# /' {file}"),
    }
}

/// Of something whose rest has to go on: only the command itself.
fn take_out(cleaner: &Cleaner) -> String {
    let command = &cleaner.command;
    let rest = "the rest does other work";
    if let Some(script) = &cleaner.through {
        return format!("take `{command}` out of {script}; {rest}");
    }
    let (file, _) = place(cleaner);
    let name = file.rsplit('/').next().unwrap_or(file);
    match &cleaner.kind {
        Kind::Spool { user } => format!("sudo crontab -u {user} -e, and take `{command}` out; {rest}"),
        Kind::Timer { .. } | Kind::Service { .. } if name.ends_with(".service") => {
            format!("sudo systemctl edit --full {name}, and take `{command}` out; {rest}")
        }
        Kind::Timer { .. } | Kind::Service { .. } => {
            format!("take `{command}` out of {}, then sudo systemctl daemon-reload; {rest}", cleaner.place)
        }
        Kind::Crontab | Kind::Periodic | Kind::Container => {
            format!("take `{command}` out of {}; {rest}", cleaner.place)
        }
    }
}

#[cfg(test)]
mod tests;
