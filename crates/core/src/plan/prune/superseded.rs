//! Digests that our own pulls left behind: which may go, and why the others stay.

use std::collections::BTreeMap;

use crate::bytes::Bytes;
use crate::inventory::Image;
use crate::plan::history::SupersededDigest;
use crate::plan::prune::index::Index;
use crate::plan::prune::{Gone, KeepReason, Kept, PrunePlan, PruneQuestion, Removal, RemovalReason};
use crate::plan::space::Space;
use crate::policy::RemoveSuperseded;
use crate::reference::Reference;

/// Judges every superseded digest that is still here. Several names may have left the same digest behind: it goes once,
/// and only when none of them keeps it.
pub(super) fn remove(
    question: &PruneQuestion<'_>,
    index: &Index<'_>,
    gone: &mut Gone,
    space: &mut Space,
    plan: &mut PrunePlan,
) {
    let mut records: BTreeMap<Reference, Vec<&SupersededDigest>> = BTreeMap::new();
    for old in question.superseded {
        records.entry(old.repository.by_digest(old.digest)).or_default().push(old);
    }
    for (row, olds) in records {
        let first = olds[0];
        let Some(image) = index.with_digest(&first.repository, first.digest) else { continue };
        if gone.0.contains(&row) {
            continue;
        }
        match olds.iter().find_map(|old| stays(question, index, old, image)) {
            Some(reason) => plan.kept.push(Kept { name: row, image: image.id, reason }),
            None => {
                gone.0.insert(row.clone());
                let holders = gone.holders(image);
                let reason = RemovalReason::Superseded { was: first.was.clone() };
                let (reason, freed) = match holders.first() {
                    Some(holder) => (reason.only_untags(holder.clone()), Bytes::ZERO),
                    None => (reason, space.remove(image)),
                };
                plan.removals.push(Removal { name: row, image: image.id, reason, freed });
            }
        }
    }
}

/// The name stands for a digest that a pull of ours gave it, and not for just anything that somebody put there.
fn has_successor(question: &PruneQuestion<'_>, index: &Index<'_>, old: &SupersededDigest) -> bool {
    let Some(image) = index.named(&old.was) else { return false };
    let ours = question.superseded.iter().filter(|record| record.was == old.was).map(|record| record.successor);
    ours.into_iter().any(|successor| successor != old.digest && image.has_digest(&old.repository, successor))
}

fn stays(question: &PruneQuestion<'_>, index: &Index<'_>, old: &SupersededDigest, image: &Image) -> Option<KeepReason> {
    if let Some(name) = image.names.iter().next() {
        return Some(KeepReason::HasTag(name.clone()));
    }
    if let Some(holder) = index.holder(image) {
        return Some(KeepReason::Held { container: holder.name.clone(), state: holder.state });
    }
    if question.policy.keep.iter().any(|k| k.image.repository == old.repository && k.pin == Some(old.digest)) {
        return Some(KeepReason::Pinned);
    }
    if !has_successor(question, index, old) {
        return Some(KeepReason::NoSuccessor(old.was.clone()));
    }
    if let Some(why) = question.blocked {
        return Some(KeepReason::Blocked(why.to_owned()));
    }
    let age = question.now - old.at;
    match question.policy.remove_superseded {
        _ if question.superseded_now => None,
        RemoveSuperseded::After(limit) => match question.clock_doubt {
            Some(why) => Some(KeepReason::ClockDoubt(why.to_owned())),
            None if age >= limit => None,
            None => Some(KeepReason::Young { age, min_age: limit, age_unknown: None }),
        },
        RemoveSuperseded::Never | RemoveSuperseded::OnPressure => Some(KeepReason::Superseded),
    }
}
