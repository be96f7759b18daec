//! What a cleaner would take, were it to run now.

use std::time::Duration;

use layerkeeper_core::plan::space::Space;
use layerkeeper_core::{Bytes, Container, ContainerState, Image, ImageName, Inventory, Policy, StoreKind, Timestamp};

use super::act::{Act, Prune};

/// What is here, and what of it counts.
#[derive(Debug, Clone, Copy)]
pub struct Stock<'a> {
    /// What the engine holds.
    pub inventory: &'a Inventory,
    /// What is kept and deployed.
    pub policy: &'a Policy,
    /// Of each runtime repository the tags that the next deploy, or the way back, needs most.
    pub newest: &'a [ImageName],
    /// Now.
    pub now: Timestamp,
}

/// What would go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removes {
    /// Kept images.
    pub kept: Vec<ImageName>,
    /// The newest runtime tags.
    pub newest: Vec<ImageName>,
    /// Images that are neither.
    pub others: usize,
    /// What all that takes on the disk, without layers that others hold.
    pub bytes: Bytes,
    /// It may be less: there is a condition that cannot be judged from here.
    pub at_most: bool,
}

/// Of each runtime repository the newest tags, `keep_last` of them: in the order that the daemon tells, else by build time.
pub fn newest(policy: &Policy, inventory: &Inventory, told: &[ImageName]) -> Vec<ImageName> {
    let mut all = Vec::new();
    for runtime in &policy.runtime {
        let mut tags: Vec<(&ImageName, &Image)> = inventory
            .images
            .iter()
            .flat_map(|image| image.names.iter().map(move |name| (name, image)))
            .filter(|(name, _)| runtime.may_deploy(name) || runtime.may_prune(name))
            .collect();
        let place = |name: &ImageName| told.iter().position(|other| other == name).unwrap_or(usize::MAX);
        tags.sort_by_key(|(name, image)| (place(name), -image.created.0, (*name).clone()));
        all.extend(tags.iter().take(runtime.keep_last).map(|(name, _)| (*name).clone()));
    }
    all
}

/// Does this image go?
type Goes<'a> = Box<dyn Fn(&Image) -> bool + 'a>;

/// Judges an act.
pub fn removes(act: &Act, stock: &Stock<'_>) -> Removes {
    let nothing = Prune { filter: Some(String::new()), ..Prune::default() };
    let (goes, at_most): (Goes<'_>, bool) = match act {
        Act::Prune(prune) => {
            let until = prune.until.as_deref().and_then(age);
            // a stopped container that is younger than `until` stays, too, and its image with it: how old it is is not listed
            let unsure = prune.filter.is_some() || prune.until.is_some() && (until.is_none() || prune.system);
            (Box::new(move |image| pruned(prune, until, image, stock)), unsure)
        }
        Act::Remove { names, .. } if !names.is_empty() => (Box::new(move |image| named(names, image)), false),
        Act::Remove { dangling, .. } => {
            let prune = Prune { all: !dangling, ..Prune::default() };
            (Box::new(move |image| pruned(&prune, None, image, stock)), true)
        }
        Act::Collector(_) => {
            let prune = Prune { all: true, ..Prune::default() };
            (Box::new(move |image| pruned(&prune, None, image, stock)), true)
        }
        // by its own label, and without -a
        Act::Kamal => (Box::new(move |image| pruned(&nothing, None, image, stock)), true),
        Act::Updater(_) | Act::Podman => (Box::new(|_| false), false),
    };
    let mut removes = Removes { at_most, ..Removes::default() };
    let mut space = Space::new(&stock.inventory.images, |_| Bytes::ZERO);
    for image in stock.inventory.images.iter().filter(|image| goes(image)) {
        removes.bytes += space.remove(image);
        let kept = image.names.iter().filter(|name| stock.policy.kept(name).is_some());
        let newest = image.names.iter().filter(|name| stock.newest.contains(name) && stock.policy.kept(name).is_none());
        let before = removes.kept.len() + removes.newest.len();
        removes.kept.extend(kept.cloned());
        removes.newest.extend(newest.cloned());
        removes.others += usize::from(before == removes.kept.len() + removes.newest.len());
    }
    // the engine's order is that of its ids, which says nothing
    removes.kept.sort_by_key(|name| stock.policy.keep.iter().position(|keep| keep.image == *name));
    removes.newest.sort_by_key(|name| stock.newest.iter().position(|other| other == name));
    removes
}

impl Removes {
    /// Nothing at all?
    pub fn is_nothing(&self) -> bool {
        self.kept.is_empty() && self.newest.is_empty() && self.others == 0
    }

    /// Something that the next deploy would miss?
    pub fn hurts(&self) -> bool {
        !self.kept.is_empty() || !self.newest.is_empty()
    }
}

fn pruned(prune: &Prune, until: Option<Duration>, image: &Image, stock: &Stock<'_>) -> bool {
    let classic = stock.inventory.engine.store == StoreKind::Graphdriver;
    // the classic store takes what was pulled by digest for dangling; the containerd store does not
    let dangling = image.names.is_empty() && (classic || image.digests.is_empty());
    // by build time, not by when it came here
    let old_enough = until.is_none_or(|age| image.created <= stock.now.minus(age));
    let held = stock.inventory.holders(image).any(|container| !(prune.system && is_stopped(container)));
    (prune.all || dangling) && old_enough && !held
}

/// `docker system prune` removes these before it comes to the images.
fn is_stopped(container: &Container) -> bool {
    matches!(container.state, ContainerState::Created | ContainerState::Exited | ContainerState::Dead)
}

fn named(names: &[String], image: &Image) -> bool {
    let same = |text: &String, name: &ImageName| {
        text.parse().or_else(|_| format!("{text}:latest").parse()).is_ok_and(|other: ImageName| other == *name)
    };
    image.names.iter().any(|name| names.iter().any(|text| same(text, name)))
}

/// A duration as Go writes it (`240h`, `1h30m`); none for a point in time.
fn age(text: &str) -> Option<Duration> {
    let mut seconds = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let unit = match rest[end..].chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds += number.checked_mul(unit)?;
        rest = &rest[end + 1..];
    }
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
