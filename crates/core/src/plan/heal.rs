//! What should be here and is not: the kept set, and the tags that the last plan kept.
//!
//! Pure comparison; events only make it run sooner. Who took something away is the watcher's to say, from what the engine
//! told it, and never guessed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::digest::{Digest, ImageId};
use crate::inventory::{EngineInfo, Inventory};
use crate::plan::keep::{Finding, Remote, judge_kept};
use crate::policy::Policy;
use crate::reference::ImageName;

/// Everything that losses are found by.
#[derive(Debug, Clone)]
pub struct HealQuestion<'a> {
    /// What is here.
    pub inventory: &'a Inventory,
    /// What is wanted.
    pub policy: &'a Policy,
    /// The digests under which our own record last verified the kept images here.
    pub known: &'a BTreeMap<ImageName, Digest>,
    /// The runtime tags that the last plan kept on this engine, with what they had.
    pub restorable: &'a [(ImageName, Option<Digest>)],
    /// What was removed on purpose: by us, or by an operator's `forget`.
    pub buried: &'a BTreeSet<ImageName>,
}

/// An image that should be here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Which.
    pub image: ImageName,
    /// What it had, where our record says.
    pub digest: Option<Digest>,
    /// It is a kept image, not a runtime tag.
    pub kept: bool,
    /// It was here once: our own record says so. A kept image that never came is missing, but nobody took it.
    pub was_here: bool,
}

/// What is missing: kept images in the order of the file, then runtime tags by name.
pub fn losses(question: &HealQuestion<'_>) -> Vec<Loss> {
    let wanted = |image: &ImageName| !question.buried.contains(image);
    let kept = question.policy.keep.iter().filter(|keep| wanted(&keep.image)).filter_map(|keep| {
        let known = question.known.get(&keep.image).copied();
        let verdict = judge_kept(keep, question.inventory, &Remote::Unknown, known);
        let missing = matches!(verdict.finding, Finding::Absent | Finding::MovedLocally);
        missing.then(|| Loss {
            image: keep.image.clone(),
            digest: keep.pin.or(known),
            kept: true,
            was_here: known.is_some(),
        })
    });
    let runtime = question.restorable.iter().filter(|(image, _)| {
        let allowed = question.policy.runtime(&image.repository).is_some_and(|runtime| runtime.may_prune(image));
        allowed && wanted(image) && question.policy.kept(image).is_none() && question.inventory.named(image).is_none()
    });
    let runtime =
        runtime.map(|(image, digest)| Loss { image: image.clone(), digest: *digest, kept: false, was_here: true });
    kept.chain(runtime).collect()
}

/// How something went, as far as the engine told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Somebody pruned images.
    Prune,
    /// Somebody took the name off, or moved it to another image.
    Untag,
    /// Somebody deleted the image.
    Delete,
    /// The engine shows another image store.
    StoreFlip,
    /// The engine has another data root, or is another engine.
    NewEngine,
    /// Nothing was heard.
    Unknown,
}

/// What the engine told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Somebody pruned.
    pub prune: bool,
    /// Images that lost a name.
    pub untagged: BTreeSet<ImageId>,
    /// Images that were deleted.
    pub deleted: BTreeSet<ImageId>,
}

impl Heard {
    /// How a name went that last stood for this image. The prune's own word comes after those of its single removals, so
    /// it counts before them.
    pub fn cause(&self, had: Option<ImageId>) -> Cause {
        let Some(had) = had else { return Cause::Unknown };
        match (self.prune, self.untagged.contains(&had), self.deleted.contains(&had)) {
            (true, ..) => Cause::Prune,
            (_, _, true) => Cause::Delete,
            (_, true, _) => Cause::Untag,
            _ => Cause::Unknown,
        }
    }

    fn add(&mut self, other: Self) {
        self.prune |= other.prune;
        self.untagged.extend(other.untagged);
        self.deleted.extend(other.deleted);
    }
}

/// What the engine told, by the look that it can explain: an inventory shows what was told of before it began, and may or may not
/// show what was told of since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    before: Heard,
    /// Since the last look began.
    pub since: Heard,
}

impl Told {
    /// A look begins: whatever was told so far, it shows.
    pub fn look_begins(&mut self) {
        self.before.add(std::mem::take(&mut self.since));
    }

    /// All that may explain what this look shows.
    pub fn heard(&self) -> Heard {
        let mut all = self.before.clone();
        all.add(self.since.clone());
        all
    }

    /// The look was compared with what should be. What was told since it began may be of what only the next one shows; a prune
    /// that has explained a loss explains no later one.
    pub fn look_ends(&mut self, explained: &BTreeSet<Cause>) {
        self.before = Heard::default();
        self.since.prune &= !explained.contains(&Cause::Prune);
    }
}

impl Cause {
    /// What it means that the engine was this [instance](EngineInfo::instance) before and is another one now.
    pub fn of_change(before: &str, now: &EngineInfo) -> Option<Self> {
        let same_engine = before.strip_prefix(&now.id).is_some_and(|rest| rest.starts_with('/'));
        match (before == now.instance(), same_engine) {
            (true, _) => None,
            (false, true) => Some(Self::StoreFlip),
            (false, false) => Some(Self::NewEngine),
        }
    }

    /// As metrics and the record name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prune => "prune",
            Self::Untag => "untag",
            Self::Delete => "delete",
            Self::StoreFlip => "store flip",
            Self::NewEngine => "new engine",
            Self::Unknown => "unknown",
        }
    }

    /// For people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Prune => "somebody pruned images on this engine",
            Self::Untag => "somebody took the name away",
            Self::Delete => "somebody deleted the image",
            Self::StoreFlip => {
                "the engine shows another image store: nothing of the old one is here, and its disk stays used"
            }
            Self::NewEngine => {
                "the engine has another data root or is another engine: nothing of the old one is here, and its disk stays used"
            }
            Self::Unknown => "the engine told nothing about it",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
