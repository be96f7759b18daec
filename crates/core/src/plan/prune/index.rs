//! The inventory, ready to be asked once for every image: thousands of images meet hundreds of containers.

use std::collections::HashMap;

use crate::digest::{Digest, DigestMap};
use crate::inventory::{Container, Image, Inventory};
use crate::reference::{ImageName, Repository};

/// Answers as [`Inventory`]'s own questions do, the first in its order winning.
pub(super) struct Index<'a> {
    containers: &'a [Container],
    held_ids: HashMap<[u8; 32], usize>,
    held_names: HashMap<&'a ImageName, usize>,
    named: HashMap<&'a ImageName, &'a Image>,
    digests: DigestMap<Digest, Vec<&'a Image>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(inventory: &'a Inventory) -> Self {
        let mut index = Self {
            containers: &inventory.containers,
            held_ids: HashMap::new(),
            held_names: HashMap::new(),
            named: HashMap::new(),
            digests: DigestMap::default(),
        };
        for (at, container) in inventory.containers.iter().enumerate() {
            if let Some(id) = container.image {
                index.held_ids.entry(*id.as_bytes()).or_insert(at);
            }
            if let Some(name) = &container.created_from {
                index.held_names.entry(name).or_insert(at);
            }
        }
        for image in &inventory.images {
            for name in &image.names {
                index.named.entry(name).or_insert(image);
            }
            for (_, digest) in &image.digests {
                index.digests.entry(*digest).or_default().push(image);
            }
        }
        index
    }

    /// The first container that holds this image; the rule is [`Container::holds`].
    pub(super) fn holder(&self, image: &Image) -> Option<&'a Container> {
        let by_id = self.held_ids.get(image.id.as_bytes());
        let by_digest = image.digests.iter().filter_map(|(_, digest)| self.held_ids.get(digest.as_bytes()));
        let by_name = image.names.iter().filter_map(|name| self.held_names.get(name));
        let first = by_id.into_iter().chain(by_digest).chain(by_name).min()?;
        self.containers.get(*first)
    }

    /// The image that this name stands for.
    pub(super) fn named(&self, name: &ImageName) -> Option<&'a Image> {
        self.named.get(name).copied()
    }

    /// The image that this repository knows by this digest.
    pub(super) fn with_digest(&self, repository: &Repository, digest: Digest) -> Option<&'a Image> {
        self.digests.get(&digest)?.iter().find(|image| image.has_digest(repository, digest)).copied()
    }
}
