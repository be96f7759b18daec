//! The inventory, ready to be asked once for every image: thousands of images meet hundreds of containers.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::digest::{Digest, DigestMap};
use crate::inventory::{Container, Image, Inventory};
use crate::policy::Runtime;
use crate::reference::{ImageName, Repository};

/// Answers as [`Inventory`]'s own questions do, the first in its order winning.
pub(super) struct Index<'a> {
    inventory: &'a Inventory,
    /// By the number of the runtime block.
    of_runtimes: Vec<Vec<&'a Image>>,
    held_ids: DigestMap<[u8; 32], usize>,
    held_names: HashMap<&'a ImageName, usize>,
    // asked for superseded digests alone, which most hosts do not have
    named: OnceCell<HashMap<&'a ImageName, &'a Image>>,
    digests: OnceCell<DigestMap<Digest, Vec<&'a Image>>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(inventory: &'a Inventory, runtimes: &[Runtime]) -> Self {
        let mut index = Self {
            inventory,
            of_runtimes: of_runtimes(inventory, runtimes),
            held_ids: DigestMap::default(),
            held_names: HashMap::new(),
            named: OnceCell::new(),
            digests: OnceCell::new(),
        };
        for (at, container) in inventory.containers.iter().enumerate() {
            if let Some(id) = container.image {
                index.held_ids.entry(*id.as_bytes()).or_insert(at);
            }
            if let Some(name) = &container.created_from {
                index.held_names.entry(name).or_insert(at);
            }
        }
        index
    }

    /// Every runtime block with the images that have a name in its repository.
    pub(super) fn runtimes<'r>(&self, runtimes: &'r [Runtime]) -> impl Iterator<Item = (&'r Runtime, &[&'a Image])> {
        runtimes.iter().zip(self.of_runtimes.iter().map(Vec::as_slice))
    }

    /// The first container that holds this image; the rule is [`Container::holds`].
    pub(super) fn holder(&self, image: &Image) -> Option<&'a Container> {
        let by_id = self.held_ids.get(image.id.as_bytes());
        let by_digest = image.digests.iter().filter_map(|(_, digest)| self.held_ids.get(digest.as_bytes()));
        let by_name = image.names.iter().filter_map(|name| self.held_names.get(name));
        let first = by_id.into_iter().chain(by_digest).chain(by_name).min()?;
        self.inventory.containers.get(*first)
    }

    /// The image that this name stands for.
    pub(super) fn named(&self, name: &ImageName) -> Option<&'a Image> {
        let named = self.named.get_or_init(|| {
            let mut named = HashMap::new();
            for image in &self.inventory.images {
                for name in &image.names {
                    named.entry(name).or_insert(image);
                }
            }
            named
        });
        named.get(name).copied()
    }

    /// The image that this repository knows by this digest.
    pub(super) fn with_digest(&self, repository: &Repository, digest: Digest) -> Option<&'a Image> {
        let digests = self.digests.get_or_init(|| {
            let mut digests: DigestMap<Digest, Vec<&'a Image>> = DigestMap::default();
            for image in &self.inventory.images {
                for (_, digest) in &image.digests {
                    digests.entry(*digest).or_default().push(image);
                }
            }
            digests
        });
        digests.get(&digest)?.iter().find(|image| image.has_digest(repository, digest)).copied()
    }
}

fn of_runtimes<'a>(inventory: &'a Inventory, runtimes: &[Runtime]) -> Vec<Vec<&'a Image>> {
    let mut images: Vec<Vec<&Image>> = vec![Vec::new(); runtimes.len()];
    for image in &inventory.images {
        for (runtime, images) in runtimes.iter().zip(&mut images) {
            if image.names.iter().any(|name| name.repository == runtime.repository) {
                images.push(image);
            }
        }
    }
    images
}
