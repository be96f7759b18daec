//! May this name go? Judged in the moment of the call, by what the test itself knows.

use std::collections::BTreeSet;
use std::time::Duration;

use layerkeeper_core::policy::{RemoveSuperseded, Runtime};
use layerkeeper_core::{Image, ImageId, ImageName, Intent, Inventory, Policy, Reference, Repository, Selector};

use super::ledger::{Ledger, Place};

/// More than any pull here takes at its peak: with so much free above the floor nothing is removed to make room.
pub const PEAK: u64 = 4_500_000_000;

/// The clocks may differ so much before it is a jump.
const TOLERANCE: Duration = Duration::from_secs(300);

/// A removal as the engine was asked for it.
pub struct Removal<'r> {
    pub reference: &'r Reference,
    pub before: &'r Inventory,
    pub after: &'r Inventory,
    /// Free on the disk before it.
    pub free: u64,
    pub done: bool,
}

impl Removal<'_> {
    fn instance(&self) -> String {
        self.before.engine.instance()
    }
}

impl Ledger {
    /// The keeper removes a name, or tries to.
    pub fn removal(&mut self, removal: &Removal<'_>) {
        let mut wrong = Vec::new();
        if self.pulls.last().is_some_and(|pull| pull.end.is_none()) {
            wrong.push("a pull is under way".to_owned());
        }
        if let Some(image) = removal.before.find(removal.reference) {
            wrong.extend(held(removal.before, image));
            wrong.extend(self.blocked(&removal.instance()).map(str::to_owned));
        }
        match &removal.reference.selector {
            Selector::Tag(tag) => wrong.extend(self.tag(removal, &removal.reference.repository.tagged(tag.clone()))),
            Selector::Digest(_) => wrong.extend(self.row(removal)),
        }
        wrong.extend(self.kept_names_that_went(removal));
        for why in wrong {
            self.wrong(format!("{} is removed: {why}", removal.reference));
        }
        if removal.done {
            self.removed(removal);
        }
    }

    fn removed(&mut self, removal: &Removal<'_>) {
        let repository = &removal.reference.repository;
        match &removal.reference.selector {
            Selector::Tag(tag) => {
                self.count("removed tag");
                let name = repository.tagged(tag.clone());
                self.pruned.insert(name.clone());
                if self.deploys_of(&name).next().is_none() {
                    self.forgotten.insert(name, true);
                }
                if let Some(image) = removal.before.find(removal.reference) {
                    self.orphaned.extend(image.digests_in(repository).map(|digest| repository.by_digest(digest)));
                }
            }
            Selector::Digest(_) => self.count("removed row"),
        }
    }

    fn any_policy(&self, holds: impl Fn(&Policy) -> bool) -> bool {
        self.policies.iter().any(holds)
    }

    fn tag(&mut self, removal: &Removal<'_>, name: &ImageName) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.any_policy(|policy| policy.runtime(&name.repository).is_some_and(|r| r.may_prune(name))) {
            wrong.push("no policy lets it go".to_owned());
        }
        if !self.any_policy(|policy| policy.kept(name).is_none()) {
            wrong.push("it is kept".to_owned());
        }
        let Some(image) = removal.before.named(name) else { return wrong };
        let floor = self.policies.iter().map(|policy| policy.min_free.0).max().unwrap_or_default();
        let pressed = removal.free.min(self.least_free) < floor + PEAK;
        if pressed && removal.done {
            self.count("removed under pressure");
        }
        wrong.extend(self.newest_enough(removal, name, image, pressed));
        if !pressed {
            wrong.extend(self.too_young(removal, name, image));
        }
        wrong
    }

    fn runtimes(&self, repository: &Repository) -> Vec<&Runtime> {
        self.policies.iter().filter_map(|policy| policy.runtime(repository)).collect()
    }

    /// So many images must be here that are newer, and the newest deploy of those here is not to go at all.
    fn newest_enough(&self, removal: &Removal<'_>, name: &ImageName, image: &Image, pressed: bool) -> Vec<String> {
        let runtimes = self.runtimes(&name.repository);
        let keep = |r: &&Runtime| if pressed { r.keep_min.min(r.keep_last) } else { r.keep_last };
        let keep = runtimes.iter().map(keep).min().unwrap_or(1).max(1);
        let instance = removal.instance();
        let prunable = |image: &Image| -> Vec<ImageName> {
            image.names.iter().filter(|name| runtimes.iter().any(|r| r.may_prune(name))).cloned().collect()
        };
        let planned = |other: &&ImageName| *other == name || !self.tagged.contains(*other);
        let mine: Vec<ImageName> = prunable(image).into_iter().filter(|other| planned(&other)).collect();
        let led = self.deploy_among(&mine);
        let newest = self.newest.as_ref().is_some_and(|newest| mine.contains(newest));
        let mine = mine.iter().map(|name| self.place(&instance, name).least).max().unwrap_or_default();
        let others: Vec<&Image> = removal.before.images.iter().filter(|other| other.id != image.id).collect();
        let deploys: Vec<Place> = others.iter().filter_map(|other| self.deploy_among(&prunable(other))).collect();
        let lead = deploys.iter().chain(&led).map(|place| place.least).max().unwrap_or_default();
        let is_newer = |other: &&&Image| {
            let names = prunable(other);
            let leads = self.deploy_among(&names).is_some_and(|place| place.most >= lead);
            leads || names.iter().any(|name| self.place(&instance, name).most >= mine)
        };
        let newer: BTreeSet<ImageId> = others.iter().filter(is_newer).map(|other| other.id).collect();
        let mut wrong = Vec::new();
        if newer.len() + self.snatched < keep {
            wrong.push(format!("{} newer ones are here, {keep} must be", newer.len()));
        }
        let undecided = self.open().any(|job| job.placed);
        let leads = led.is_some_and(|led| deploys.iter().all(|place| place.most < led.least));
        if !undecided && (newest || leads && self.snatched == 0) {
            wrong.push("it is the newest deploy of those here".to_owned());
        }
        wrong
    }

    /// The place of the newest deploy among these names. One that is under way may be the newest already.
    fn deploy_among(&self, names: &[ImageName]) -> Option<Place> {
        let place = |name: &ImageName| {
            let known = self.deployed.get(name).map(|(place, _)| *place);
            match self.deploys_of(name).next() {
                Some(_) => Some(Place { least: known.map_or(0, |place| place.least), most: usize::MAX }),
                None => known,
            }
        };
        let places: Vec<Place> = names.iter().filter_map(place).collect();
        let least = places.iter().map(|place| place.least).max()?;
        let most = places.iter().map(|place| place.most).max()?;
        Some(Place { least, most })
    }

    fn too_young(&self, removal: &Removal<'_>, name: &ImageName, image: &Image) -> Option<String> {
        let least = self.runtimes(&name.repository).iter().map(|r| r.min_age).min().unwrap_or_default();
        let instance = removal.instance();
        let here = |name: &ImageName| self.stays.get(&(instance.clone(), name.clone())).map(|(_, since)| *since);
        let deployed = |name: &ImageName| self.deployed.get(name).map(|(_, at)| *at);
        let planned = |other: &&ImageName| *other == name || !self.tagged.contains(*other);
        let names = image.names.iter().filter(|other| other.repository == name.repository).filter(planned);
        let since = names.flat_map(|name| [here(name), deployed(name)]).flatten().max()?;
        let age = self.now.saturating_sub(since) + TOLERANCE;
        (age < least).then(|| format!("it is {} s old, {} s are the least", age.as_secs(), least.as_secs()))
    }

    /// A row by digest: only of our own making, without a tag beside it, and superseded or left alone by its tag.
    fn row(&self, removal: &Removal<'_>) -> Vec<String> {
        let row = removal.reference;
        let mut wrong = Vec::new();
        let left = self.left.get(row);
        let maybe = self.maybe_left.contains(row);
        if left.is_none() && !maybe && !self.rows.contains(row) {
            wrong.push("the keeper neither made nor superseded it".to_owned());
        }
        let Some(image) = removal.before.find(row) else { return wrong };
        if let Some(tag) = image.names.iter().find(|name| name.repository == row.repository) {
            wrong.push(format!("{tag} stands for it"));
        }
        let Selector::Digest(digest) = row.selector else { return wrong };
        let pinned =
            |policy: &Policy| policy.keep.iter().any(|k| k.image.repository == row.repository && k.pin == Some(digest));
        if !self.any_policy(|policy| !pinned(policy)) {
            wrong.push("it is pinned".to_owned());
        }
        if self.orphaned.contains(row) {
            return wrong;
        }
        let asked = self.open().any(|job| job.intent == Intent::Prune { superseded: true });
        if !asked && !self.any_policy(|policy| policy.remove_superseded != RemoveSuperseded::Never) {
            wrong.push("nobody allows superseded digests to go".to_owned());
        }
        // it may have gone just before, as old as it was
        let successor = |name: &ImageName| match removal.before.named(name) {
            Some(other) => other.id != image.id,
            None => self.pruned.contains(name),
        };
        // somebody else may have taken a name from what our own pull brought
        let taken = self.names_with(row, digest).any(|name| self.rows.contains(row) && successor(&name));
        if self.snatched == 0 && !maybe && !taken && left.is_some_and(|names| !names.iter().any(successor)) {
            wrong.push("what took its place is not here".to_owned());
        }
        wrong
    }

    /// Whatever goes, each kept name stays.
    fn kept_names_that_went(&self, removal: &Removal<'_>) -> Option<String> {
        let kept = self.policy().keep.iter().map(|keep| &keep.image);
        let mut went = kept.filter(|name| removal.before.named(name).is_some() && removal.after.named(name).is_none());
        went.next().map(|name| format!("the kept {name} goes with it"))
    }
}

/// A container in any state holds the image: by its id, or by the name that it was created from.
fn held(inventory: &Inventory, image: &Image) -> Option<String> {
    let holds = |container: &&layerkeeper_core::Container| {
        container.image == Some(image.id) || container.created_from.as_ref().is_some_and(|n| image.names.contains(n))
    };
    let container = inventory.containers.iter().find(holds)?;
    Some(format!("container {} ({}) holds it", container.name, container.state))
}
