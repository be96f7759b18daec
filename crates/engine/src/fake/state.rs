//! What the fake engine holds, and the two stores' rules for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use layerkeeper_core::manifest::Platform;
use layerkeeper_core::{
    ChainId, Container, DiffId, Digest, EngineInfo, Image, ImageId, ImageName, Inventory, Reference, Repository,
    Selector, StoreKind,
};

use super::image::FakeImage;
use super::log::{Call, Fault};
use crate::{EngineError, EngineEvent, Removed};

/// An image here.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) image: FakeImage,
    /// What it was pulled as; the containerd store's id.
    pub(super) target: Digest,
    pub(super) names: BTreeSet<ImageName>,
    /// Classic: a row per repository it was pulled from. Containerd: only what was pulled by digest.
    pub(super) rows: BTreeSet<(Repository, Digest)>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) info: EngineInfo,
    pub(super) images: BTreeMap<ImageId, Held>,
    pub(super) containers: Vec<Container>,
    /// Containers that are there to read an image by, and in no list.
    pub(super) opened: HashSet<String>,
    /// Classic: which content a blob unpacks to; outlives the image.
    pub(super) known: HashMap<Digest, DiffId>,
    /// Containerd: blobs here.
    pub(super) blobs: HashSet<Digest>,
    pub(super) down: bool,
    /// Archives bring nothing.
    pub(super) stalled: bool,
    pub(super) close_faults: VecDeque<EngineError>,
    /// Containers that cannot be removed.
    pub(super) held_open: HashSet<String>,
    /// Counts removals of containers that images were read by.
    pub(super) closes: u64,
    /// See [`super::Fake::lose_opened`].
    pub(super) opens_to_lose: VecDeque<bool>,
    pub(super) faults: VecDeque<Fault>,
    pub(super) removal_faults: VecDeque<EngineError>,
    pub(super) tag_faults: VecDeque<EngineError>,
    pub(super) log: Vec<Call>,
    /// Counts foreign prunes: each kills the pulls in flight on the containerd store.
    pub(super) prunes: u64,
    /// Counts [`super::Fake::release`].
    pub(super) releases: u64,
    pub(super) created: u64,
    /// What the store that is not in use holds.
    pub(super) other_store: BTreeMap<ImageId, Held>,
    /// Events to send once the lock is free.
    pub(super) news: Vec<EngineEvent>,
}

impl State {
    pub(super) fn new(store: StoreKind) -> Self {
        let driver = match store {
            StoreKind::Graphdriver => "overlay2",
            StoreKind::Containerd => "overlayfs",
        };
        Self {
            info: EngineInfo {
                rootless: false,
                id: "FAKE".to_owned(),
                version: "26.1.5".to_owned(),
                store,
                driver: driver.to_owned(),
                data_root: "/var/lib/docker".to_owned(),
                platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None },
            },
            images: BTreeMap::new(),
            containers: Vec::new(),
            opened: HashSet::new(),
            known: HashMap::new(),
            blobs: HashSet::new(),
            down: false,
            stalled: false,
            close_faults: VecDeque::new(),
            held_open: HashSet::new(),
            closes: 0,
            opens_to_lose: VecDeque::new(),
            faults: VecDeque::new(),
            removal_faults: VecDeque::new(),
            tag_faults: VecDeque::new(),
            log: Vec::new(),
            prunes: 0,
            releases: 0,
            created: 0,
            other_store: BTreeMap::new(),
            news: Vec::new(),
        }
    }

    /// All that it lists.
    pub(super) fn inventory(&self) -> Inventory {
        self.inventory_of(|held| self.is_listed(held))
    }

    /// All that it holds.
    pub(super) fn everything(&self) -> Inventory {
        self.inventory_of(|_| true)
    }

    fn inventory_of(&self, counts: impl Fn(&Held) -> bool) -> Inventory {
        let images = self.images.iter().filter(|(_, held)| counts(held));
        let images = images.map(|(id, held)| self.view(*id, held)).collect();
        Inventory { engine: self.info.clone(), images, containers: self.shown_containers() }
    }

    /// The containerd store leaves out an image whose blobs are not all here: a pull skips what is unpacked already, also
    /// where that came in another blob. It can be inspected, run and removed all the same.
    fn is_listed(&self, held: &Held) -> bool {
        self.info.store == StoreKind::Graphdriver
            || held.image.layers.iter().all(|layer| self.blobs.contains(&layer.blob))
    }

    /// A blob is here, where the store keeps blobs.
    pub(super) fn keep_blob(&mut self, blob: Digest) {
        if self.info.store == StoreKind::Containerd {
            self.blobs.insert(blob);
        }
    }

    /// As the engine shows it.
    pub(super) fn view(&self, id: ImageId, held: &Held) -> Image {
        Image {
            id,
            names: held.names.clone(),
            digests: self.digests(held),
            layers: held.image.diff_ids(),
            layer_bytes: held.image.layers.iter().map(|layer| layer.unpacked).collect(),
            created: held.image.created,
        }
    }

    /// A container's name for its image is shown only while the name stands for that image.
    pub(super) fn shown_containers(&self) -> Vec<Container> {
        let shown = |container: &Container| {
            let stands = |name: &ImageName| {
                self.images.iter().any(|(id, held)| Some(*id) == container.image && held.names.contains(name))
            };
            Container { created_from: container.created_from.clone().filter(stands), ..container.clone() }
        };
        self.containers.iter().filter(|container| !self.opened.contains(&container.id)).map(shown).collect()
    }

    pub(super) fn find(&self, reference: &Reference) -> Option<ImageId> {
        let is_meant = |held: &Held| match &reference.selector {
            Selector::Tag(tag) => held.names.contains(&reference.repository.tagged(tag.clone())),
            Selector::Digest(digest) => self.digests(held).contains(&(reference.repository.clone(), *digest)),
        };
        self.images.iter().find(|(_, held)| is_meant(held)).map(|(id, _)| *id)
    }

    /// RepoDigests.
    fn digests(&self, held: &Held) -> BTreeSet<(Repository, Digest)> {
        let mut digests = held.rows.clone();
        if self.info.store == StoreKind::Containerd {
            digests.extend(held.names.iter().map(|name| (name.repository.clone(), held.target)));
        }
        digests
    }

    /// The id that this store gives an image pulled as `target`.
    pub(super) fn id_of(&self, image: &FakeImage, target: Digest) -> ImageId {
        let digest = match self.info.store {
            StoreKind::Graphdriver => image.config_digest(),
            StoreKind::Containerd => target,
        };
        // an id is a digest in the engine's own words
        digest.to_string().parse().unwrap_or_else(|_| ImageId::of(digest.hex().as_bytes()))
    }

    /// Puts an image here as a pull of `reference` does.
    pub(super) fn commit(&mut self, reference: &Reference, image: &FakeImage) {
        let target = match &reference.selector {
            Selector::Digest(digest) => *digest,
            Selector::Tag(_) => image.resolved(),
        };
        let id = self.id_of(image, target);
        for layer in &image.layers {
            self.known.insert(layer.blob, layer.diff_id);
        }
        self.hold(id, image, target);
        let row = (reference.repository.clone(), target);
        let name = reference.name();
        if let Some(name) = &name {
            self.move_name(id, name, false);
        }
        if self.info.store == StoreKind::Graphdriver || name.is_none() {
            self.images.entry(id).and_modify(|held| {
                held.rows.insert(row);
            });
        }
        self.news.push(EngineEvent::Appeared { name: reference.to_string() });
    }

    pub(super) fn hold(&mut self, id: ImageId, image: &FakeImage, target: Digest) {
        let fresh = || Held { image: image.clone(), target, names: BTreeSet::new(), rows: BTreeSet::new() };
        self.images.entry(id).or_insert_with(fresh);
    }

    /// Gives the image a name that another one may have. What then has no name left stays as `<none>` on the classic
    /// store; on the containerd store a pull lets it go, and a local tag keeps it.
    pub(super) fn move_name(&mut self, id: ImageId, name: &ImageName, local: bool) {
        let store = self.info.store;
        let mut dropped = Vec::new();
        for (other, held) in self.images.iter_mut().filter(|(other, _)| **other != id) {
            let bare = held.names.remove(name) && held.names.is_empty() && held.rows.is_empty();
            if bare && store == StoreKind::Containerd && !local {
                dropped.push(*other);
            }
        }
        for other in dropped {
            self.delete(other);
        }
        self.images.entry(id).and_modify(|held| {
            held.names.insert(name.clone());
        });
    }

    pub(super) fn tag(&mut self, source: &Reference, name: &ImageName) -> Result<(), EngineError> {
        let id = self.find(source).ok_or_else(|| no_such(source))?;
        self.move_name(id, name, true);
        self.news.push(EngineEvent::Appeared { name: name.to_string() });
        Ok(())
    }

    /// `DELETE /images/{name}` without force; see [`crate::Engine::remove`].
    pub(super) fn remove(&mut self, reference: &Reference) -> Result<Removed, EngineError> {
        let id = self.find(reference).ok_or_else(|| no_such(reference))?;
        let held_by = self.containers.iter().find(|container| container.image == Some(id)).map(|c| c.id.clone());
        let store = self.info.store;
        let Some(held) = self.images.get_mut(&id) else { return Err(no_such(reference)) };
        let in_repository = |name: &&ImageName| name.repository == reference.repository;
        if let (Selector::Digest(_), StoreKind::Containerd) = (&reference.selector, store)
            && let Some(tag) = held.names.iter().find(in_repository)
        {
            return Err(EngineError::tag_would_go_too(reference, tag));
        }
        let one_repository = held
            .names
            .iter()
            .map(|name| &name.repository)
            .chain(held.rows.iter().map(|row| &row.0))
            .all(|r| *r == reference.repository);
        if let Some(container) = held_by
            && held.names.len() <= 1
            && one_repository
        {
            return Err(EngineError::Conflict(format!(
                "conflict: unable to remove repository reference \"{reference}\" (must force) - container {} is using its referenced image {}",
                &container[..12],
                id.short()
            )));
        }
        let mut removed = Removed { untagged: vec![reference.to_string()], deleted: Vec::new() };
        match &reference.selector {
            Selector::Tag(tag) => {
                held.names.remove(&reference.repository.tagged(tag.clone()));
                if !held.names.iter().any(|name| name.repository == reference.repository) {
                    let (gone, kept) =
                        std::mem::take(&mut held.rows).into_iter().partition(|row| row.0 == reference.repository);
                    held.rows = kept;
                    let gone: BTreeSet<(Repository, Digest)> = gone;
                    removed.untagged.extend(gone.iter().map(|(repository, digest)| format!("{repository}@{digest}")));
                }
            }
            Selector::Digest(digest) => {
                held.rows.remove(&(reference.repository.clone(), *digest));
            }
        }
        self.news.push(EngineEvent::Untag { id: id.to_string() });
        if held.names.is_empty() && held.rows.is_empty() {
            removed.deleted = self.delete(id);
        }
        Ok(removed)
    }

    /// Lets an image go; returns what the engine prints.
    pub(super) fn delete(&mut self, id: ImageId) -> Vec<String> {
        let Some(gone) = self.images.remove(&id) else { return Vec::new() };
        self.news.push(EngineEvent::Delete { id: id.to_string() });
        let mut printed = vec![id.to_string()];
        match self.info.store {
            StoreKind::Graphdriver => {
                let chains = self.chains();
                let layers = ChainId::of_stack(&gone.image.diff_ids());
                printed.extend(layers.iter().rev().filter(|chain| !chains.contains(chain)).map(ToString::to_string));
            }
            StoreKind::Containerd => self.collect_garbage(),
        }
        printed
    }

    /// Containerd: blobs that no image lists go.
    pub(super) fn collect_garbage(&mut self) {
        let listed: HashSet<Digest> =
            self.images.values().flat_map(|held| held.image.layers.iter().map(|layer| layer.blob)).collect();
        self.blobs.retain(|blob| listed.contains(blob));
    }

    /// Chains of all images here.
    pub(super) fn chains(&self) -> HashSet<ChainId> {
        self.images.values().flat_map(|held| ChainId::of_stack(&held.image.diff_ids())).collect()
    }

    /// Somebody's `docker image prune`, with `all` also `-a`.
    pub(super) fn foreign_prune(&mut self, all: bool) {
        self.prunes += 1;
        let used: HashSet<ImageId> = self.containers.iter().filter_map(|container| container.image).collect();
        let dangling = |held: &Held| {
            // the classic store's dangling images may have a digest row, the containerd store's have not
            held.names.is_empty() && (self.info.store == StoreKind::Graphdriver || held.rows.is_empty())
        };
        let goes = |(id, held): &(&ImageId, &Held)| !used.contains(id) && (all || dangling(held));
        let gone: Vec<ImageId> = self.images.iter().filter(goes).map(|(id, _)| *id).collect();
        for id in gone {
            self.news.push(EngineEvent::Untag { id: id.to_string() });
            self.delete(id);
        }
        if self.info.store == StoreKind::Containerd {
            self.collect_garbage();
        }
        self.news.push(EngineEvent::Prune);
    }
}

fn no_such(reference: &Reference) -> EngineError {
    EngineError::NotFound(format!("No such image: {reference}"))
}
