//! What lies around the keeper: the registry as the daemon itself reaches it, two clocks, and a disk.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use layerkeeper_core::{
    Bytes, ChainId, DiffId, Digest, ImageName, Platform, Reference, Repository, Selector, StoreKind, Timestamp,
};
use layerkeeper_engine::fake::{Fake, FakeImage};
use layerkeeper_engine::{EngineError, Login};
use layerkeeper_keeper::{Clock, Disks, FileSystem, Registry};
use layerkeeper_registry::{Error, Fetched, Resolved};

/// What CI has pushed. The daemon asks it directly, the engine through [`Fake::registry`]; each can lose its way to it.
#[derive(Clone, Default)]
pub struct Shop {
    shelves: Arc<Mutex<Shelves>>,
    down: Arc<AtomicBool>,
}

#[derive(Default)]
struct Shelves {
    tags: BTreeMap<ImageName, Digest>,
    images: HashMap<(Repository, Digest), FakeImage>,
}

impl Shop {
    /// Pushes an image under a name, which moves when it is taken.
    pub fn push(&self, fake: &Fake, name: &ImageName, image: &FakeImage) {
        let mut shelves = self.shelves.lock().unwrap();
        for digest in [image.resolved(), image.manifest_digest()] {
            shelves.images.insert((name.repository.clone(), digest), image.clone());
        }
        shelves.tags.insert(name.clone(), image.resolved());
        fake.registry().publish(name, image);
    }

    /// Takes a tag away.
    pub fn unpublish(&self, fake: &Fake, name: &ImageName) {
        self.shelves.lock().unwrap().tags.remove(name);
        fake.registry().remove_tag(name);
    }

    /// Who can reach it.
    pub fn reach(&self, fake: &Fake, keeper: bool, engine: bool) {
        self.down.store(!keeper, Ordering::SeqCst);
        let silent = EngineError::RegistryUnreachable("dial tcp: connection refused".to_owned());
        fake.registry().set_trouble((!engine).then_some(silent));
    }

    /// The image that a tag shows.
    pub fn shows(&self, name: &ImageName) -> Option<FakeImage> {
        let shelves = self.shelves.lock().unwrap();
        let digest = shelves.tags.get(name)?;
        shelves.images.get(&(name.repository.clone(), *digest)).cloned()
    }

    /// The image that a repository knows by this digest.
    pub fn image_of(&self, repository: &Repository, digest: Digest) -> Option<FakeImage> {
        self.shelves.lock().unwrap().images.get(&(repository.clone(), digest)).cloned()
    }

    fn find(&self, reference: &Reference) -> Result<(Digest, FakeImage), Error> {
        if self.down.load(Ordering::SeqCst) {
            let registry = reference.repository.registry().to_owned();
            return Err(Error::Unreachable { registry, cause: "down".to_owned() });
        }
        let shelves = self.shelves.lock().unwrap();
        let digest = match &reference.selector {
            Selector::Digest(digest) => Some(*digest),
            Selector::Tag(tag) => shelves.tags.get(&reference.repository.tagged(tag.clone())).copied(),
        };
        let found = digest.and_then(|d| Some((d, shelves.images.get(&(reference.repository.clone(), d))?.clone())));
        found.ok_or_else(|| Error::NotFound { reference: Box::new(reference.clone()), detail: Default::default() })
    }
}

#[async_trait]
impl Registry for Shop {
    async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let (digest, _) = self.find(reference)?;
        Ok(Resolved { digest, media_type: String::new(), size: None, moved: Bytes::ZERO })
    }

    async fn image(&self, reference: &Reference, _: &Platform) -> Result<Fetched, Error> {
        let (digest, image) = self.find(reference)?;
        let mut manifest = image.to_manifest();
        manifest.resolved = digest;
        Ok(Fetched { image: manifest, moved: Bytes(1000) })
    }

    async fn login(&self, _: &str) -> Result<Option<Login>, Error> {
        Ok(None)
    }
}

/// Wall clock and boot time, which go only when they are wound.
pub struct Clocks {
    wall: AtomicI64,
    boot: AtomicU64,
}

impl Clocks {
    pub fn new() -> Self {
        Self { wall: AtomicI64::new(1_800_000_000_000), boot: AtomicU64::new(86_400_000) }
    }

    /// Time passes.
    pub fn wind(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.wall.fetch_add(by as i64, Ordering::SeqCst);
        self.boot.fetch_add(by, Ordering::SeqCst);
    }

    /// The wall clock jumps.
    pub fn jump(&self, ahead: bool) {
        let day = 86_400_000;
        self.wall.fetch_add(if ahead { day } else { -day }, Ordering::SeqCst);
    }
}

impl Clock for Clocks {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        Duration::from_millis(self.boot.load(Ordering::SeqCst))
    }

    fn boot_id(&self) -> String {
        "boot".to_owned()
    }
}

/// A disk that holds what the fake engine holds.
pub struct Platter {
    fake: Fake,
    total: AtomicU64,
}

impl Platter {
    pub fn new(fake: Fake) -> Self {
        Self { fake, total: AtomicU64::new(u64::MAX / 2) }
    }

    /// From now on so much is free.
    pub fn leave(&self, free: u64) {
        self.total.store(self.used().saturating_add(free), Ordering::SeqCst);
    }

    /// How much is free.
    pub fn free(&self) -> u64 {
        self.total.load(Ordering::SeqCst).saturating_sub(self.used())
    }

    /// Each layer on each stack below it, unpacked; the containerd store keeps the blob, a third of that, once for each
    /// content.
    fn used(&self) -> u64 {
        let Ok(inventory) = self.fake.everything() else { return 0 };
        let mut unpacked: HashMap<ChainId, u64> = HashMap::new();
        let mut blobs: HashMap<DiffId, u64> = HashMap::new();
        for image in &inventory.images {
            for ((chain, layer), bytes) in
                ChainId::of_stack(&image.layers).into_iter().zip(&image.layers).zip(&image.layer_bytes)
            {
                unpacked.insert(chain, bytes.0);
                blobs.insert(*layer, bytes.0 / 3);
            }
        }
        let blobs: u64 = if inventory.engine.store == StoreKind::Containerd { blobs.values().sum() } else { 0 };
        unpacked.values().sum::<u64>() + blobs
    }
}

impl Disks for Platter {
    fn look(&self, _: &Path) -> std::io::Result<FileSystem> {
        let total = self.total.load(Ordering::SeqCst);
        Ok(FileSystem { free: Bytes(self.free()), total: Bytes(total), ..FileSystem::default() })
    }
}
