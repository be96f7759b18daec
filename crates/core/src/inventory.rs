//! What the engine holds at one moment. Observed, hence possibly stale the moment after.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::bytes::Bytes;
use crate::digest::{DiffId, Digest, ImageId};
use crate::manifest::Platform;
use crate::reference::{ImageName, Reference, Repository, Selector};
use crate::time::Timestamp;

/// Which of Docker's two image stores the engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// The classic store over a graph driver (overlay2 and its like): layers are known by chain id and blob digest.
    Graphdriver,
    /// The containerd image store: blobs and snapshots are kept apart.
    Containerd,
}

/// The engine itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `docker info`'s ID: another one means another data root.
    pub id: String,
    /// Such as `20.10.24+dfsg1`.
    pub version: String,
    /// The image store.
    pub store: StoreKind,
    /// Storage driver or snapshotter, such as `overlay2`, `overlayfs`.
    pub driver: String,
    /// Where images lie, as the engine names it (inside its own mount namespace).
    pub data_root: String,
    /// What this engine runs; images are resolved to it.
    pub platform: Platform,
    /// It runs without root, in a network namespace of its own: this host's loopback is not its own.
    pub rootless: bool,
}

impl EngineInfo {
    /// The version's first number, where there is one.
    pub fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }

    /// The identity of what is stored: the same only while both data root and image store stay.
    pub fn instance(&self) -> String {
        format!("{}/{}", self.id, self.store)
    }
}

/// An image on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The engine's id.
    pub id: ImageId,
    /// Its tags, sorted.
    pub names: BTreeSet<ImageName>,
    /// Its `repository@digest` rows (RepoDigests), sorted.
    pub digests: BTreeSet<(Repository, Digest)>,
    /// Uncompressed layers, bottom first.
    pub layers: Vec<DiffId>,
    /// What each layer takes unpacked on this engine's disk, in the order of `layers`; empty where unknown.
    pub layer_bytes: Vec<Bytes>,
    /// Build time, as the image says.
    pub created: Timestamp,
}

impl Image {
    /// Does this repository know the image by that digest?
    pub fn has_digest(&self, repository: &Repository, digest: Digest) -> bool {
        // a set of pairs cannot be asked with a borrowed half
        self.digests.iter().any(|(r, d)| r == repository && *d == digest)
    }

    /// The digests under which this repository knows the image.
    pub fn digests_in<'a>(&'a self, repository: &'a Repository) -> impl Iterator<Item = Digest> + 'a {
        self.digests.iter().filter(move |(r, _)| r == repository).map(|(_, d)| *d)
    }
}

/// A container's state, in Docker's words. All of them hold the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerState {
    /// Never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Between two starts.
    Restarting,
    /// Being removed.
    Removing,
    /// Stopped.
    Exited,
    /// Could not be removed.
    Dead,
    /// A word that we do not know; it holds its image like the others.
    Other,
}

/// A container, as far as it holds an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// Its state.
    pub state: ContainerState,
    /// The image it was made from, as the engine's id; none when the engine could not say.
    pub image: Option<ImageId>,
    /// The name it was created from, where it was a name.
    pub created_from: Option<ImageName>,
}

/// Everything the engine holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Whose.
    pub engine: EngineInfo,
    /// Sorted by id.
    pub images: Vec<Image>,
    /// In the engine's order.
    pub containers: Vec<Container>,
}

impl Inventory {
    /// The image that this name stands for here.
    pub fn named(&self, name: &ImageName) -> Option<&Image> {
        self.images.iter().find(|image| image.names.contains(name))
    }

    /// The image that this repository knows by this digest.
    pub fn with_digest(&self, repository: &Repository, digest: Digest) -> Option<&Image> {
        self.images.iter().find(|image| image.has_digest(repository, digest))
    }

    /// The image behind a reference.
    pub fn find(&self, reference: &Reference) -> Option<&Image> {
        match &reference.selector {
            Selector::Tag(tag) => self.named(&reference.repository.tagged(tag.clone())),
            Selector::Digest(digest) => self.with_digest(&reference.repository, *digest),
        }
    }

    /// Which content is here, and the first image that has it, by its place in `images`.
    pub fn held_layers(&self) -> HashMap<DiffId, usize> {
        let mut held = HashMap::new();
        for (at, image) in self.images.iter().enumerate() {
            for layer in &image.layers {
                held.entry(*layer).or_insert(at);
            }
        }
        held
    }

    /// Puts `image` in as it is now: in place of what was known of it, and with its names taken from all others.
    pub fn put(&mut self, image: Image) {
        for other in &mut self.images {
            other.names.retain(|name| !image.names.contains(name));
        }
        match self.images.binary_search_by(|other| other.id.cmp(&image.id)) {
            Ok(at) => self.images[at] = image,
            Err(at) => self.images.insert(at, image),
        }
    }

    /// The containers, in whatever state, that hold this image.
    pub fn holders<'a>(&'a self, image: &'a Image) -> impl Iterator<Item = &'a Container> + 'a {
        self.containers.iter().filter(move |container| container.holds(image))
    }
}

impl Container {
    /// Does this container, in whatever state, hold that image? By id; by the name it was created from; and, as the
    /// containerd store names a container's image by one of several digests, by any digest of the image. A container
    /// whose image is unknown holds by name only.
    pub fn holds(&self, image: &Image) -> bool {
        self.image.is_some_and(|id| id == image.id || image.digests.iter().any(|(_, d)| d.as_bytes() == id.as_bytes()))
            || self.created_from.as_ref().is_some_and(|name| image.names.contains(name))
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graphdriver => "graphdriver",
            Self::Containerd => "containerd",
        })
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Other => "in an unknown state",
        })
    }
}

impl From<&str> for ContainerState {
    fn from(word: &str) -> Self {
        match word {
            "created" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &[u8], names: &[&str]) -> Image {
        Image {
            id: ImageId::of(content),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            digests: BTreeSet::new(),
            layers: Vec::new(),
            layer_bytes: Vec::new(),
            created: Timestamp(0),
        }
    }

    #[test]
    fn an_image_that_is_put_in_takes_its_names_from_the_others() {
        let engine = EngineInfo {
            rootless: false,
            id: "e".to_owned(),
            version: "26.1.5".to_owned(),
            store: StoreKind::Containerd,
            driver: "overlayfs".to_owned(),
            data_root: "/var/lib/docker".to_owned(),
            platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None },
        };
        let mut inventory = Inventory { engine, images: Vec::new(), containers: Vec::new() };
        inventory.put(image(b"old", &["r.io/a:1", "r.io/a:2"]));
        inventory.put(image(b"new", &["r.io/a:2"]));
        let (one, two): (ImageName, ImageName) = ("r.io/a:1".parse().unwrap(), "r.io/a:2".parse().unwrap());
        assert_eq!(inventory.named(&one).map(|image| image.id), Some(ImageId::of(b"old")));
        assert_eq!(inventory.named(&two).map(|image| image.id), Some(ImageId::of(b"new")));
        inventory.put(image(b"new", &["r.io/a:1"]));
        assert_eq!(inventory.images.len(), 2, "in place of what was known of it");
        assert!(inventory.images.is_sorted_by_key(|image| image.id));
        assert_eq!((inventory.named(&two), inventory.named(&one).map(|i| i.id)), (None, Some(ImageId::of(b"new"))));
    }
}
