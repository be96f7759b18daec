//! Room for a pull that would not fit: superseded digests where the policy allows it, then old tags as a prune would take
//! them, then the others from the oldest on, until enough is freed.
//!
//! All or nothing: a plan that does not make the room is not to be carried out. The last step looks at neither `keep_last`
//! nor `min_age`, but never goes below `keep_min`, and never takes an image that is kept or held, or that alone has
//! layers the incoming image builds on.

use std::collections::{BTreeSet, HashMap};

use crate::bytes::Bytes;
use crate::digest::DiffId;
use crate::inventory::{Image, StoreKind};
use crate::plan::prune::gather::{Group, groups};
use crate::plan::prune::index::Index;
use crate::plan::prune::{
    Gone, KeepReason, Kept, PrunePlan, PruneQuestion, RemovalReason, is_kept, keep_last, may_not_go_now, remove_group,
    space_of, stays, superseded,
};
use crate::policy::RemoveSuperseded;
use crate::reference::Reference;

/// Everything that the plan is made from.
#[derive(Debug, Clone)]
pub struct PressureQuestion<'a> {
    /// What is here, and what is wanted of it.
    pub prune: PruneQuestion<'a>,
    /// How much must be freed.
    pub wanted: Bytes,
    /// The incoming image's layers, bottom first; those that are here must stay.
    pub incoming: &'a [DiffId],
}

/// What would go to make room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PressurePlan {
    /// In the order in which they are to go, and what stays and why.
    pub plan: PrunePlan,
    /// What the removals free in all.
    pub freed: Bytes,
    /// It is as much as is wanted.
    pub enough: bool,
}

/// Makes the plan.
pub fn plan_pressure(question: &PressureQuestion<'_>) -> PressurePlan {
    let prune = &question.prune;
    let index = Index::of(prune.inventory, &prune.policy.runtime);
    let mut space = space_of(prune);
    let mut needed = Needed::of(question);
    let mut gone = Gone::default();
    let mut plan = PrunePlan::default();
    if prune.policy.remove_superseded != RemoveSuperseded::Never || prune.superseded_now {
        let on_pressure = prune.policy.remove_superseded == RemoveSuperseded::OnPressure;
        let allowed = PruneQuestion { superseded_now: prune.superseded_now || on_pressure, ..prune.clone() };
        let mut listed = PrunePlan::default();
        superseded::remove(&allowed, &index, &mut Gone::default(), &mut space_of(prune), &mut listed);
        plan.kept.append(&mut listed.kept);
        for mut removal in listed.removals {
            let image = prune.inventory.images.iter().find(|image| image.id == removal.image);
            let Some(image) = image else { continue };
            let reason = if freed(&plan) >= question.wanted { Some(KeepReason::Enough) } else { needed.by(image) };
            if let Some(reason) = reason {
                plan.kept.push(Kept { name: removal.name, image: removal.image, reason });
                continue;
            }
            gone.0.insert(removal.name.clone());
            removal.freed = if gone.holders(image).is_empty() { space.remove(image) } else { Bytes::ZERO };
            needed.goes(image);
            plan.removals.push(removal);
        }
    }
    let rows = if prune.keeps_blobs() { prune.made } else { &[] };
    let made: BTreeSet<&Reference> = rows.iter().map(|made| &made.reference).collect();
    for candidate in candidates(prune, &index, &mut plan) {
        let reason = if freed(&plan) >= question.wanted {
            Some(KeepReason::Enough)
        } else {
            needed.by(candidate.group.image).or_else(|| elsewhere(&candidate.group, &gone))
        };
        match reason {
            Some(reason) => keep(&candidate.group, &reason, &mut plan),
            None => {
                needed.goes(candidate.group.image);
                remove_group(&made, candidate.group, candidate.reason, &mut gone, &mut space, &mut plan.removals);
            }
        }
    }
    let freed = freed(&plan);
    PressurePlan { enough: freed >= question.wanted, plan, freed }
}

fn freed(plan: &PrunePlan) -> Bytes {
    plan.removals.iter().map(|removal| removal.freed).sum()
}

fn keep(group: &Group<'_>, reason: &KeepReason, plan: &mut PrunePlan) {
    plan.kept.extend(group.names.iter().map(|name| Kept {
        name: name.to_reference(),
        image: group.image.id,
        reason: reason.clone(),
    }));
}

/// Another name holds the image, so that taking these away would free nothing.
fn elsewhere(group: &Group<'_>, gone: &Gone) -> Option<KeepReason> {
    let repository = &group.names[0].repository;
    let tag =
        group.image.names.iter().find(|name| !group.names.contains(name) && !gone.0.contains(&name.to_reference()));
    let row = || group.image.digests.iter().find(|(other, _)| other != repository);
    let row = || row().map(|(other, digest)| other.by_digest(*digest)).filter(|row| !gone.0.contains(row));
    tag.map(|tag| tag.to_reference()).or_else(row).map(KeepReason::FreesNothing)
}

/// An image that may go for the pull.
struct Candidate<'a> {
    group: Group<'a>,
    reason: RemovalReason,
    /// A prune would take it anyway.
    old: bool,
}

/// What may go, in the order in which it does; what may not is put down at once.
fn candidates<'a>(prune: &PruneQuestion<'a>, index: &Index<'a>, plan: &mut PrunePlan) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for (runtime, images) in index.runtimes(&prune.policy.runtime) {
        let keep_min = runtime.keep_min.max(1);
        for (rank, group) in groups(prune, runtime, images).into_iter().enumerate() {
            let least = (rank < keep_min).then_some(KeepReason::Least { rank: rank + 1, keep_min });
            let reason = is_kept(prune, &group).or(least).or_else(|| may_not_go_now(prune, index, &group));
            if let Some(reason) = reason {
                keep(&group, &reason, plan);
                continue;
            }
            let old = stays(prune, index, runtime, rank, &group).is_none();
            let reason = match old {
                true => RemovalReason::Old {
                    rank: rank + 1,
                    keep_last: keep_last(runtime),
                    age: group.age,
                    age_unknown: group.age_unknown(),
                },
                false => RemovalReason::Pressure { rank: rank + 1, keep_min },
            };
            found.push(Candidate { group, reason, old });
        }
    }
    // first what is old anyway, each from the oldest on
    found.sort_by_key(|candidate| (!candidate.old, candidate.group.place, candidate.group.image.id));
    found
}

/// How many images still here have what the incoming one builds on.
struct Needed<'a> {
    incoming: &'a [DiffId],
    /// By how many of its bottom layers: entry `n` counts the images that have at least `n` of them.
    stacks: Vec<usize>,
    /// By content, on the store that reuses a layer anywhere.
    contents: HashMap<DiffId, usize>,
}

impl<'a> Needed<'a> {
    fn of(question: &PressureQuestion<'a>) -> Self {
        let anywhere = question.prune.inventory.engine.store == StoreKind::Containerd;
        let contents = if anywhere { question.incoming } else { &[] };
        let mut needed = Self {
            incoming: question.incoming,
            stacks: vec![0; question.incoming.len() + 1],
            contents: contents.iter().map(|layer| (*layer, 0)).collect(),
        };
        for image in &question.prune.inventory.images {
            let shared = needed.shared(image);
            needed.stacks[..=shared].iter_mut().for_each(|count| *count += 1);
            for layer in image.layers.iter().collect::<BTreeSet<_>>() {
                needed.contents.entry(*layer).and_modify(|count| *count += 1);
            }
        }
        needed
    }

    fn shared(&self, image: &Image) -> usize {
        self.incoming.iter().zip(&image.layers).take_while(|(a, b)| a == b).count()
    }

    /// Why the image must stay, if nobody else has what it has of the incoming one.
    fn by(&self, image: &Image) -> Option<KeepReason> {
        let shared = self.shared(image);
        let last = shared > 0 && self.stacks[shared] <= 1;
        let only = image.layers.iter().any(|layer| self.contents.get(layer).is_some_and(|count| *count <= 1));
        (last || only).then_some(KeepReason::Needed)
    }

    fn goes(&mut self, image: &Image) {
        let shared = self.shared(image);
        self.stacks[..=shared].iter_mut().for_each(|count| *count = count.saturating_sub(1));
        for layer in image.layers.iter().collect::<BTreeSet<_>>() {
            self.contents.entry(*layer).and_modify(|count| *count = count.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests;
