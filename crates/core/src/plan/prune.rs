//! Which old tags go, which stay, and why. The only maker of removals.
//!
//! Candidates are tags of runtime repositories that match `prune_tags`, taken together by image: several tags of one
//! image stay or go together. The newest succeeded deploy comes first, then everything by its place in our own record,
//! never by wall clock. A dry run prints this very plan.

mod gather;
#[cfg(test)]
mod golden;
mod index;
pub mod pressure;
#[cfg(test)]
mod properties;
pub mod reason;
mod superseded;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::bytes::Bytes;
use crate::digest::{DiffId, DigestMap, ImageId};
use crate::inventory::{Image, Inventory, StoreKind};
use crate::layers::LayerRecord;
use crate::plan::history::{MadeName, NameHistory, SupersededDigest};
use crate::plan::space::Space;
use crate::policy::{Policy, Runtime};
use crate::reference::{ImageName, Reference};
use crate::time::Timestamp;

use gather::{Group, groups};
use index::Index;
pub use pressure::{PressurePlan, PressureQuestion, plan_pressure};
pub use reason::{KeepReason, RemovalReason};

/// Everything that a prune is judged by.
#[derive(Debug, Clone)]
pub struct PruneQuestion<'a> {
    /// What is here.
    pub inventory: &'a Inventory,
    /// What is wanted.
    pub policy: &'a Policy,
    /// Our record of the names here.
    pub history: &'a BTreeMap<ImageName, NameHistory>,
    /// Rows that our pulls made.
    pub made: &'a [MadeName],
    /// Digests that our pulls left behind.
    pub superseded: &'a [SupersededDigest],
    /// The operator asks for the superseded digests this once.
    pub superseded_now: bool,
    /// What our pulls recorded of layers, for the blobs that the containerd store keeps.
    pub layers: &'a [LayerRecord],
    /// Why nothing may be removed now, if so.
    pub blocked: Option<&'a str>,
    /// Why ages cannot be trusted now, if so.
    pub clock_doubt: Option<&'a str>,
    /// Wall clock.
    pub now: Timestamp,
}

impl PruneQuestion<'_> {
    /// The containerd store keeps blobs and rows by digest on their own; the classic store has neither.
    fn keeps_blobs(&self) -> bool {
        self.inventory.engine.store == StoreKind::Containerd
    }
}

/// One name that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// `repository:tag`, or `repository@digest` for rows of our own making.
    pub name: Reference,
    /// The image behind it.
    pub image: ImageId,
    /// Why.
    pub reason: RemovalReason,
    /// What it frees: nothing unless this is the image's last name.
    pub freed: Bytes,
}

/// One name that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The name.
    pub name: Reference,
    /// The image behind it.
    pub image: ImageId,
    /// Why.
    pub reason: KeepReason,
}

/// The plan: removals in the order in which they are to be done, oldest first, and everything considered that stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrunePlan {
    /// What goes.
    pub removals: Vec<Removal>,
    /// What stays.
    pub kept: Vec<Kept>,
}

/// Makes the plan.
pub fn plan_prune(question: &PruneQuestion<'_>) -> PrunePlan {
    let mut plan = PrunePlan::default();
    let index = Index::of(question.inventory, &question.policy.runtime);
    let mut going: Vec<(Group<'_>, RemovalReason)> = Vec::new();
    for (runtime, images) in index.runtimes(&question.policy.runtime) {
        keep_unprunable(runtime, images, &mut plan.kept);
        let groups = groups(question, runtime, images);
        // newest first here; removed oldest first
        for (rank, group) in groups.into_iter().enumerate().rev() {
            match stays(question, &index, runtime, rank, &group) {
                Some(reason) => plan.kept.extend(group.names.iter().map(|name| Kept {
                    name: name.to_reference(),
                    image: group.image.id,
                    reason: reason.clone(),
                })),
                None => {
                    let reason = RemovalReason::Old {
                        rank: rank + 1,
                        keep_last: keep_last(runtime),
                        age: group.age,
                        age_unknown: group.age_unknown(),
                    };
                    going.push((group, reason));
                }
            }
        }
    }
    let mut space = space_of(question);
    // the classic store drops a repository's digest rows with its last tag; on the containerd store they stay and hold
    let rows = if question.keeps_blobs() { question.made } else { &[] };
    let made: BTreeSet<&Reference> = rows.iter().map(|made| &made.reference).collect();
    let mut gone = Gone::default();
    for (group, reason) in going {
        remove_group(&made, group, reason, &mut gone, &mut space, &mut plan.removals);
    }
    superseded::remove(question, &index, &mut gone, &mut space, &mut plan);
    plan
}

/// What all images here take. The containerd store keeps the blob of every layer beside what it unpacked; our own record
/// knows its size.
pub fn space_of(question: &PruneQuestion<'_>) -> Space {
    let mut blobs: DigestMap<DiffId, Bytes> = DigestMap::default();
    if question.keeps_blobs() {
        for layer in question.layers {
            let size = blobs.entry(layer.diff_id).or_default();
            *size = layer.size.max(*size);
        }
    }
    Space::new(&question.inventory.images, |layer| blobs.get(&layer).copied().unwrap_or_default())
}

/// Names that the plan so far takes away.
#[derive(Default)]
struct Gone(HashSet<Reference>);

impl Gone {
    /// The names and rows that still hold the image, other than those taken away. The classic store drops a
    /// repository's digest rows with its last tag, and the containerd store shows a row for every tag, so a row counts
    /// only where its repository keeps no tag that goes.
    fn holders(&self, image: &Image) -> Vec<Reference> {
        let tags: Vec<Reference> =
            image.names.iter().map(ImageName::to_reference).filter(|name| !self.0.contains(name)).collect();
        let rows = image.digests.iter().filter(|(repository, digest)| {
            let row = repository.by_digest(*digest);
            let went_with_its_tag = image.names.iter().any(|name| name.repository == *repository);
            !self.0.contains(&row) && !went_with_its_tag
        });
        tags.into_iter().chain(rows.map(|(repository, digest)| repository.by_digest(*digest))).collect()
    }
}

fn remove_group(
    made: &BTreeSet<&Reference>,
    group: Group<'_>,
    reason: RemovalReason,
    gone: &mut Gone,
    space: &mut Space,
    removals: &mut Vec<Removal>,
) {
    // another tag of the repository on the same image still shows the row
    let repository = &group.names[0].repository;
    let shared = group.image.names.iter().any(|name| name.repository == *repository && !group.names.contains(&name));
    let rows = group.image.digests_in(repository).map(|digest| repository.by_digest(digest));
    let rows = rows.filter(|row| !shared && made.contains(row));
    let names: Vec<(Reference, RemovalReason)> = group
        .names
        .iter()
        .map(|name| (name.to_reference(), reason.clone()))
        .chain(rows.map(|row| (row, RemovalReason::OwnRow { of: group.names[0].clone() })))
        .collect();
    gone.0.extend(names.iter().map(|(name, _)| name.clone()));
    let holders = gone.holders(group.image);
    let freed = if holders.is_empty() { space.remove(group.image) } else { Bytes::ZERO };
    let last_tag = group.names.len() - 1;
    removals.extend(names.into_iter().enumerate().map(|(i, (name, reason))| Removal {
        name,
        image: group.image.id,
        reason: match holders.first() {
            Some(holder) => reason.only_untags(holder.clone()),
            None => reason,
        },
        freed: if i == last_tag { freed } else { Bytes::ZERO },
    }));
}

/// Names in the repository that no pattern allows to go: listed, so that nobody wonders.
fn keep_unprunable(runtime: &Runtime, images: &[&Image], kept: &mut Vec<Kept>) {
    for image in images {
        for name in image.names.iter().filter(|name| name.repository == runtime.repository) {
            if !runtime.may_prune(name) {
                let reason = KeepReason::NotPrunable;
                kept.push(Kept { name: name.to_reference(), image: image.id, reason });
            }
        }
    }
}

/// Why this group stays; none when nothing keeps it.
fn stays(
    question: &PruneQuestion<'_>,
    index: &Index<'_>,
    runtime: &Runtime,
    rank: usize,
    group: &Group<'_>,
) -> Option<KeepReason> {
    if let Some(reason) = is_kept(question, group) {
        return Some(reason);
    }
    let keep_last = keep_last(runtime);
    if rank < keep_last {
        return Some(KeepReason::Newest { rank: rank + 1, keep_last, deployed: group.deployed });
    }
    if let Some(reason) = may_not_go_now(question, index, group) {
        return Some(reason);
    }
    if let Some(why) = question.clock_doubt {
        return Some(KeepReason::ClockDoubt(why.to_owned()));
    }
    if group.age < runtime.min_age {
        return Some(KeepReason::Young { age: group.age, min_age: runtime.min_age, age_unknown: group.age_unknown() });
    }
    None
}

/// The kept set stays, whatever the need.
fn is_kept(question: &PruneQuestion<'_>, group: &Group<'_>) -> Option<KeepReason> {
    if let Some(name) = group.names.iter().find(|name| question.policy.kept(name).is_some()) {
        return Some(KeepReason::KeptImage((*name).clone()));
    }
    pinned_without_its_name(question.policy, group.image).then_some(KeepReason::Pinned)
}

fn may_not_go_now(question: &PruneQuestion<'_>, index: &Index<'_>, group: &Group<'_>) -> Option<KeepReason> {
    if let Some(holder) = index.holder(group.image) {
        return Some(KeepReason::Held { container: holder.name.clone(), state: holder.state });
    }
    question.blocked.map(|why| KeepReason::Blocked(why.to_owned()))
}

/// The newest always stays, whatever the policy says.
fn keep_last(runtime: &Runtime) -> usize {
    runtime.keep_last.max(1)
}

/// The image has the digest of a pin whose own name was taken away: with its last tag the kept content would go.
fn pinned_without_its_name(policy: &Policy, image: &Image) -> bool {
    policy.keep.iter().any(|keep| {
        keep.pin.is_some_and(|pin| image.has_digest(&keep.image.repository, pin)) && !image.names.contains(&keep.image)
    })
}
