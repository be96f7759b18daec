//! Each kept image: can it be brought here again, is it here, and does its pin hold?

use layerkeeper_core::plan::{Finding as State, Remote, judge_kept};
use layerkeeper_core::{Digest, ImageName, Inventory, Keep};

use layerkeeper_keeper::Status;
use layerkeeper_keeper::status::KeptStatus;

use super::finding::{Finding, Level};

/// What was seen of one kept image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSeen {
    /// What is wanted.
    pub keep: Keep,
    /// What its tag stands for at the registry.
    pub tag: Shown,
    /// Whether the registry still has the pinned digest; none without a pin, or where the tag shows it.
    pub pinned: Option<Shown>,
    /// Where its tag has the quarter in it: its names of other quarters that are here.
    pub others: Vec<ImageName>,
    /// What of its expectations the image does not hold that is here.
    pub held: Held,
}

/// How what is here stands up to what is expected of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It was looked into, and this is missing; nothing where all is there.
    To(Vec<String>),
    /// It could not be looked into.
    Unknown(String),
    /// Nothing is expected of it, or it is not here.
    Unasked,
}

/// What a registry says of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It is an image for this engine, of this digest.
    Image(Digest),
    /// There is no such thing.
    Gone,
    /// There is something, but no image that this engine can pull.
    Unfit(String),
    /// It gave no answer.
    Unknown(String),
    /// It was not asked, for a reason that is told elsewhere.
    Unasked,
}

/// Judges one kept image. Without an inventory only the registry's side is judged, without a daemon only what can be seen.
pub fn judge(seen: &KeptSeen, inventory: Option<&Inventory>, daemon: Option<&Status>) -> Vec<Finding> {
    let name = &seen.keep.image;
    let told = daemon.and_then(|status| status.kept.iter().find(|kept| kept.image == name.to_string()));
    let mut found = Vec::new();
    let state = inventory.map(|inventory| judge_kept(&seen.keep, inventory, &seen.remote(), None));
    let here = state.as_ref().is_some_and(|verdict| verdict.finding != State::Absent);
    found.extend(pin(seen, here, inventory));
    if seen.keep.pin.is_none() {
        found.extend(unresolvable(seen, here));
    }
    found.extend(expected(seen, told));
    match state.as_ref().map(|verdict| (verdict.finding, &verdict.reason)) {
        Some((State::Absent, _)) if !seen.others.is_empty() => {
            let what = format!("{name} is not here yet; here instead: {}", listed(&seen.others, ", "));
            let newer = Finding::new(Level::Note, "kept.newer", what);
            let why = "It comes with the next refresh by its schedule, or with the next deploy; the one before stays kept until then";
            found.push(newer.why(why).mend(format!("layerkeeper prewarm {name} --follow")));
        }
        Some((State::Absent, _)) => {
            let absent = Finding::new(Level::Warning, "kept.absent", format!("{name} is not here"));
            let why = "The next deploy moves its layers too, instead of only what changed";
            found.push(absent.why(why).mend(format!("layerkeeper prewarm {name} --follow")));
        }
        Some((State::MovedLocally, reason)) => {
            let moved = Finding::new(Level::Warning, "kept.moved", format!("{name}: {reason}"));
            let why = "Builds and deploys on this host use another image under its name";
            found.push(moved.why(why).mend(format!("layerkeeper prewarm {name} --follow")));
        }
        Some((State::MovedAtRegistry, reason)) => {
            let stale = Finding::new(Level::Note, "kept.stale", format!("{name}: {reason}"));
            let why = "It comes with the next refresh by its schedule, or with the next deploy";
            found.push(stale.why(why).mend(format!("layerkeeper prewarm {name} --follow")));
        }
        Some((State::Present | State::Unverified, reason)) if found.is_empty() => {
            found.push(Finding::ok("kept.ok", format!("{name} {reason}")));
        }
        None if seen.tag == Shown::Unasked => {
            let what = format!("{name} was looked for neither here nor at its registry");
            let unasked = Finding::new(Level::Note, "kept.unasked", what);
            let why = "Whether it is here, and whether it could be brought here again, is not known";
            let mend = "mend what is said of the engine above, then layerkeeper doctor once more; sudo -H -u layerkeeper \
                        layerkeeper doctor asks the registry, too";
            found.push(unasked.why(why).mend(mend));
        }
        None if found.is_empty() => {
            found.push(Finding::ok("kept.ok", format!("{name} is at its registry; what is here was not looked at")));
        }
        _ => {}
    }
    let present = state.as_ref().filter(|verdict| verdict.finding == State::Present).and_then(|verdict| verdict.here);
    found.extend(present.and_then(|digest| left(seen, digest, daemon)));
    found
}

/// Quarters that are kept no more, the earlier ones and what the daemon says of later ones: only where the wanted one is here and as expected, for until then one of them is the
/// last good one. What the daemon still keeps is not among them, whatever is here by somebody's hand.
fn left(seen: &KeptSeen, here: Digest, daemon: Option<&Status>) -> Option<Finding> {
    let name = &seen.keep.image;
    let is_good = match &seen.held {
        Held::To(unmet) => unmet.is_empty(),
        Held::Unknown(_) => false,
        Held::Unasked => seen.keep.expect.is_empty(),
    };
    let kept = daemon.map(|status| status.kept.as_slice()).unwrap_or_default();
    let is_kept = |other: &ImageName| kept.iter().any(|kept| kept.image == other.to_string());
    let failed = kept.iter().any(|kept| kept.image == name.to_string() && kept.unmet_digest == Some(here.to_string()));
    let is_left = |other: &ImageName| kept.iter().any(|kept| kept.left_here.contains(&other.to_string()));
    // names of one series are in the order of their quarters
    let left = seen.others.iter().filter(|other| (**other < *name || is_left(other)) && !is_kept(other));
    let left: Vec<ImageName> = left.filter(|_| is_good && !failed).cloned().collect();
    if left.is_empty() {
        return None;
    }
    let what = format!("here beside {name}, and kept no more: {}", listed(&left, ", "));
    let why = "Room on the disk, for what only a version needs that was built on an earlier quarter";
    let mend = format!("docker rmi {}", listed(&left, " "));
    Some(Finding::new(Level::Note, "kept.left", what).why(why).mend(mend))
}

/// What is not as `expect` says: of what is here, and of what the daemon would not let in.
fn expected(seen: &KeptSeen, told: Option<&KeptStatus>) -> Option<Finding> {
    let name = &seen.keep.image;
    let mend = "build and push it with what is missing, or change `expect` in its [[keep]] block";
    match &seen.held {
        Held::To(unmet) if !unmet.is_empty() => {
            let wrong = format!("{name} is here and not as expected: {}", unmet.join("; "));
            let why = "It is not called kept, and what is built on it may not run";
            return Some(Finding::new(Level::Problem, "kept.assertion", wrong).why(why).mend(mend));
        }
        Held::Unknown(cause) => {
            let wrong = format!("{name} could not be held to what is expected of it: {cause}");
            let unknown = Finding::new(Level::Note, "kept.assertion_unknown", wrong);
            let why = "Whether it has what is built on it needs is not known";
            let look =
                format!("layerkeeper prewarm {name} --follow looks once more where the daemon has not looked yet");
            return Some(unknown.why(why).mend(format!("{look}; layerkeeper status tells what it found")));
        }
        Held::To(_) | Held::Unasked => {}
    }
    let told = told.filter(|told| !told.unmet.is_empty())?;
    let digest = told.unmet_digest.as_ref()?.parse::<Digest>().ok()?;
    let wrong = format!("{} of {name} did not come in: {}", digest.short(), told.unmet.join("; "));
    let why = if told.present { "The last good one stays under its name" } else { "Nothing is here in its place" };
    let level = if told.present { Level::Warning } else { Level::Problem };
    Some(Finding::new(level, "kept.assertion", wrong).why(why).mend(mend))
}

fn listed(names: &[ImageName], between: &str) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

impl KeptSeen {
    fn remote(&self) -> Remote {
        match &self.tag {
            Shown::Image(digest) => Remote::Digest(*digest),
            Shown::Gone => Remote::Gone,
            // what cannot be pulled is nothing to compare with
            Shown::Unfit(_) | Shown::Unknown(_) | Shown::Unasked => Remote::Unknown,
        }
    }
}

/// What is wrong with the pin.
fn pin(seen: &KeptSeen, here: bool, inventory: Option<&Inventory>) -> Option<Finding> {
    let (name, pin) = (&seen.keep.image, seen.keep.pin?);
    let shown = pin.short();
    let by_digest = name.repository.by_digest(pin);
    let level = if here { Level::Warning } else { Level::Problem };
    match (&seen.pinned, &seen.tag) {
        (Some(Shown::Gone), _) => Some(
            Finding::new(
                level,
                "kept.pin_gone",
                format!("{name} is pinned to {shown}, which its registry no longer has"),
            )
            .why(if here {
                "Once this host loses it, by a prune or a new disk, nothing brings it back"
            } else {
                "It cannot be brought here"
            })
            .mend(pin_anew(seen, pin, inventory)),
        ),
        (Some(Shown::Unfit(cause)), _) => Some(
            Finding::new(Level::Problem, "kept.unfit", format!("{name} is pinned to what cannot be pulled: {cause}"))
                .why("It cannot be brought here")
                .mend(format!("sudo layerkeeper pin {name} --digest sha256:…, of an image for this engine")),
        ),
        (Some(Shown::Unknown(cause)), _) => Some(not_told(seen, cause, here)),
        (Some(Shown::Image(_)), Shown::Image(tag)) => Some(
            Finding::new(
                Level::Note,
                "kept.pin_moved",
                format!("{name} is pinned to {shown}; its tag shows {} by now, which is not followed", tag.short()),
            )
            .why("A registry may remove digests that no tag shows; then the pin could not be brought here again")
            .mend(format!("digest = \"{tag}\" follows it; a tag on {shown} keeps it there")),
        ),
        (Some(Shown::Image(_)), _) => Some(
            Finding::new(
                Level::Note,
                "kept.pin_moved",
                format!("{name} is pinned to {shown}; its registry has no such tag"),
            )
            .why("A registry may remove digests that no tag shows; then the pin could not be brought here again")
            .mend(format!("a tag on {by_digest} keeps it there")),
        ),
        (Some(Shown::Unasked) | None, _) => None,
    }
}

/// What to do when the pinned digest is gone. Where this host has the only copy, that comes first; never by a pull, which
/// moves the name away from it.
fn pin_anew(seen: &KeptSeen, pin: Digest, inventory: Option<&Inventory>) -> String {
    let name = &seen.keep.image;
    let follow = match seen.tag {
        Shown::Image(tag) => {
            format!(
                "sudo layerkeeper pin {name} --digest {tag} && sudo systemctl reload layerkeeper goes over to its tag"
            )
        }
        _ => format!("push {name} anew, and pin what that says: sudo layerkeeper pin {name} --digest sha256:…"),
    };
    let images = inventory.into_iter().flat_map(|inventory| &inventory.images);
    if !images.into_iter().any(|image| image.has_digest(&name.repository, pin)) {
        return follow;
    }
    let (copy, by_digest) = (format!("{name}-kept"), name.repository.by_digest(pin));
    format!(
        "this host has the only copy, so save it first: docker tag {by_digest} {copy} && docker push {copy}, with a login \
         that may push. Pin the digest that this prints to stay with it; or {follow}"
    )
}

/// What is wrong with the tag of an image that has no pin.
fn unresolvable(seen: &KeptSeen, here: bool) -> Option<Finding> {
    let name = &seen.keep.image;
    let level = if here { Level::Warning } else { Level::Problem };
    match &seen.tag {
        Shown::Image(_) | Shown::Unasked => None,
        Shown::Gone => Some(
            Finding::new(level, "kept.gone", format!("the registry has no {name}"))
                .why("Once this host loses it, nothing brings it back")
                .mend(format!("push {name}, or take its [[keep]] block out")),
        ),
        Shown::Unfit(cause) => Some(
            Finding::new(level, "kept.unfit", format!("{name} cannot be pulled: {cause}"))
                .why("It cannot be refreshed or brought here")
                .mend(format!("push an image for this engine as {name}, or name another one in its [[keep]] block")),
        ),
        Shown::Unknown(cause) => Some(not_told(seen, cause, here)),
    }
}

fn not_told(seen: &KeptSeen, cause: &str, here: bool) -> Finding {
    let level = if here { Level::Warning } else { Level::Problem };
    let name = &seen.keep.image;
    let what = format!("{name} was not found out about at its registry: {cause}");
    Finding::new(level, "kept.unresolvable", what)
        .why("It cannot be refreshed, nor brought back where somebody removes it")
        .mend(format!(
            "mend what is said of {} above; where nothing is, its login has to be one that may read {}. Then layerkeeper \
             prewarm {name} --follow brings it, or says what is still wrong",
            name.repository.registry(),
            name.repository.path()
        ))
}

#[cfg(test)]
mod tests;
