//! A whole keeper in memory, with a clock that the test winds.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{
    Bytes, DiffId, Digest, ImageName, JobId, JobState, Keep, Platform, Policy, Reference, Runtime, StoreKind, Timestamp,
};
use layerkeeper_engine::fake::{Fake, FakeImage};
use layerkeeper_engine::{Engine, Login};
use layerkeeper_keeper::{Clock, DeployRequest, Disks, FileSystem, Keeper, Parts, Registry, Settings};
use layerkeeper_registry::{Error, Fetched, Resolved};
use layerkeeper_store::{JobRow, Options, Retention, Store};

use crate::deeds::Deeds;
pub use crate::settings::settings;

pub const HOUR: Duration = Duration::from_secs(3600);

/// The registry as the daemon sees it, beside the one that the fake engine sees.
#[derive(Clone)]
pub struct Shelf {
    fake: Fake,
    images: Arc<Mutex<HashMap<Digest, FakeImage>>>,
    pub down: Arc<AtomicBool>,
    /// What it answers instead.
    pub trouble: Arc<Mutex<Option<Error>>>,
    /// It never answers when asked for this image.
    pub stuck: Arc<Mutex<Option<Digest>>>,
    /// How often it was asked for a name.
    pub asked: Arc<AtomicU64>,
}

#[async_trait]
impl Registry for Shelf {
    async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.reach(reference)?;
        let digest = self.fake.resolve(reference, None).await.map_err(|_| missing(reference))?;
        Ok(Resolved { digest, media_type: String::new(), size: None, moved: Bytes::ZERO })
    }

    async fn image(&self, reference: &Reference, _: &Platform) -> Result<Fetched, Error> {
        let digest = self.resolve(reference).await?.digest;
        if *self.stuck.lock().unwrap() == Some(digest) {
            std::future::pending::<()>().await;
        }
        let image = self.images.lock().unwrap().get(&digest).cloned().ok_or_else(|| missing(reference))?;
        let mut manifest = image.to_manifest();
        manifest.resolved = digest;
        Ok(Fetched { image: manifest, moved: Bytes(1000) })
    }

    async fn login(&self, _: &str) -> Result<Option<Login>, Error> {
        Ok(None)
    }
}

impl Shelf {
    fn reach(&self, reference: &Reference) -> Result<(), Error> {
        let acme = reference.repository.registry() == "ghcr.io";
        if let Some(trouble) = self.trouble.lock().unwrap().clone().filter(|_| acme) {
            return Err(trouble);
        }
        match self.down.load(Ordering::SeqCst) {
            true => Err(Error::Unreachable {
                registry: reference.repository.registry().to_owned(),
                cause: "down".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

fn missing(reference: &Reference) -> Error {
    Error::NotFound { reference: Box::new(reference.clone()), detail: Default::default() }
}

/// A clock that goes only when it is wound.
pub struct Wound {
    at: AtomicI64,
    /// It goes on by so much as soon as somebody has read how long the machine runs.
    pub after_boot: AtomicI64,
}

impl Clock for Wound {
    fn now(&self) -> Timestamp {
        Timestamp(self.at.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        let boot = self.at.fetch_add(self.after_boot.swap(0, Ordering::SeqCst), Ordering::SeqCst);
        Duration::from_millis(boot.unsigned_abs())
    }

    fn boot_id(&self) -> String {
        "boot".to_owned()
    }
}

/// A disk that holds what the fake engine holds, and what others put there.
pub struct Platter {
    engine: Fake,
    pub total: AtomicU64,
    pub others: AtomicU64,
}

impl Platter {
    fn used(&self) -> u64 {
        let Some(Ok(inventory)) = self.engine.inventory().now_or_never() else { return 0 };
        let mut layers: HashMap<Vec<DiffId>, u64> = HashMap::new();
        for image in &inventory.images {
            for (at, bytes) in image.layer_bytes.iter().enumerate() {
                layers.insert(image.layers[..=at].to_vec(), bytes.0);
            }
        }
        layers.values().sum()
    }
}

impl Disks for Platter {
    fn look(&self, _: &Path) -> std::io::Result<FileSystem> {
        let total = self.total.load(Ordering::SeqCst);
        let used = self.used() + self.others.load(Ordering::SeqCst);
        Ok(FileSystem { free: Bytes(total.saturating_sub(used)), total: Bytes(total), ..FileSystem::default() })
    }
}

pub struct Ground {
    pub engine: Fake,
    pub shelf: Shelf,
    pub keeper: Keeper,
    pub clock: Arc<Wound>,
    pub disk: Arc<Platter>,
    deeds: Deeds,
    task: tokio::task::JoinHandle<()>,
}

pub fn name(text: &str) -> ImageName {
    format!("ghcr.io/acme/{text}").parse().unwrap()
}

pub fn policy() -> Policy {
    let keep = |image| Keep::new(name(image), None);
    Policy {
        keep: vec![keep("base:1"), keep("cache-python:1")],
        runtime: vec![Runtime {
            repository: name("app:x").repository,
            deploy_tags: vec!["sha-*".parse().unwrap()],
            prune_tags: vec!["sha-*".parse().unwrap()],
            keep_last: 2,
            keep_min: 1,
            min_age: HOUR,
            download_budget: Bytes(300_000_000),
            download_limit: None,
        }],
        remove_superseded: RemoveSuperseded::Never,
        min_free: Bytes(0),
    }
}

/// The chain: base, cache-python on it, and a runtime whose last layer is its own.
pub fn base() -> FakeImage {
    FakeImage::new("base", &[("os", 50_000_000)])
}

pub fn python() -> FakeImage {
    FakeImage::new("python", &[("os", 50_000_000), ("torch", 900_000_000)])
}

pub fn app(version: &str) -> FakeImage {
    FakeImage::new(version, &[("os", 50_000_000), ("torch", 900_000_000), (version, 20_000_000)])
}

impl Ground {
    /// A keeper with base and cache-python published.
    pub async fn new(store: StoreKind, policy: Policy) -> Self {
        Self::over(store, policy, Store::open_in_memory(Options::default()).unwrap()).await
    }

    /// The same, with what this database remembers.
    pub async fn over(kind: StoreKind, policy: Policy, store: Store) -> Self {
        Self::told(kind, settings(policy), store).await
    }

    /// The same, with all that the configuration says.
    pub async fn told(kind: StoreKind, settings: Settings, store: Store) -> Self {
        Self::made(kind, settings, store, |engine| Arc::new(engine)).await
    }

    /// The same, with something of the test's own between keeper and engine.
    pub async fn behind(kind: StoreKind, policy: Policy, door: impl FnOnce(Fake) -> Arc<dyn Engine>) -> Self {
        Self::made(kind, settings(policy), Store::open_in_memory(Options::default()).unwrap(), door).await
    }

    async fn made(
        kind: StoreKind,
        settings: Settings,
        store: Store,
        door: impl FnOnce(Fake) -> Arc<dyn Engine>,
    ) -> Self {
        let engine = Fake::new(kind);
        let shelf = Shelf {
            fake: engine.clone(),
            images: Arc::default(),
            down: Arc::default(),
            trouble: Arc::default(),
            stuck: Arc::default(),
            asked: Arc::default(),
        };
        let clock = Arc::new(Wound { at: AtomicI64::new(1_800_000_000_000), after_boot: AtomicI64::new(0) });
        let (total, others) = (AtomicU64::new(1_000_000_000_000), AtomicU64::new(0));
        let disk = Arc::new(Platter { engine: engine.clone(), total, others });
        let deeds = Deeds::default();
        let keeper = keeper(door(engine.clone()), &shelf, store, &clock, &disk, (settings, &deeds)).await;
        let task = tokio::spawn(run(keeper.clone()));
        let ground = Self { engine, shelf, clock, disk, deeds, task, keeper };
        ground.publish("base:1", &base());
        ground.publish("cache-python:1", &python());
        ground
    }

    /// The daemon dies, as by kill -9, and another one starts on what it left: all but the database is as it was.
    pub async fn restarted(&self, store: Store) -> Self {
        self.restarted_with(store, settings(policy())).await
    }

    /// The same, with another configuration.
    pub async fn restarted_with(&self, store: Store, settings: Settings) -> Self {
        self.task.abort();
        let (engine, told) = (Arc::new(self.engine.clone()), (settings, &self.deeds));
        let keeper = keeper(engine, &self.shelf, store, &self.clock, &self.disk, told).await;
        Self {
            engine: self.engine.clone(),
            shelf: self.shelf.clone(),
            clock: self.clock.clone(),
            disk: self.disk.clone(),
            deeds: self.deeds.clone(),
            task: tokio::spawn(run(keeper.clone())),
            keeper,
        }
    }

    /// When a job next comes to this point, this is done.
    pub fn once_at(&self, point: &'static str, deed: impl FnOnce() + Send + 'static) {
        self.deeds.add(point, deed);
    }

    /// As by SIGTERM: the daemon ends by itself.
    pub async fn stop(&mut self) {
        self.keeper.stop();
        tokio::time::timeout(Duration::from_secs(10), &mut self.task).await.unwrap().unwrap();
    }

    pub fn publish(&self, tag: &str, image: &FakeImage) -> Digest {
        for digest in [image.resolved(), image.manifest_digest()] {
            self.shelf.images.lock().unwrap().insert(digest, image.clone());
        }
        self.engine.registry().publish(&name(tag), image)
    }

    /// The same under a name of any registry.
    pub fn publish_as(&self, name: &ImageName, image: &FakeImage) -> Digest {
        self.shelf.images.lock().unwrap().insert(image.manifest_digest(), image.clone());
        self.engine.registry().publish(name, image)
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn wind(&self, by: Duration) {
        self.clock.at.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Somebody sets the clock back.
    pub fn set_back(&self, by: Duration) {
        self.clock.at.fetch_sub(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Asks for a tag; the job.
    pub async fn ask(&self, image: &ImageName) -> JobId {
        let request = DeployRequest { image: image.clone(), digest: None, over_limit: false };
        self.keeper.deploy(request, 0).await.unwrap().job.id
    }

    /// Deploys and waits for the end.
    pub async fn deploy(&self, tag: &str, digest: Option<Digest>) -> JobRow {
        let answer =
            self.keeper.deploy(DeployRequest { image: name(tag), digest, over_limit: false }, 0).await.unwrap();
        self.end(&answer.job.id).await
    }

    /// Publishes a version and deploys it.
    pub async fn ship(&self, tag: &str) -> JobRow {
        self.publish(tag, &app(tag));
        let row = self.deploy(tag, None).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        row
    }

    /// Waits for a job's final state, winding the clock so that nothing waits for long.
    pub async fn end(&self, id: &JobId) -> JobRow {
        for _ in 0..2000 {
            let row = self.keeper.job(id).await.unwrap().unwrap();
            if row.job.state.is_final() {
                return row;
            }
            self.wind(Duration::from_millis(200));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("job {id} does not end: {:?}", self.keeper.job(id).await);
    }

    /// Waits until a name is here and no job is left: the one that brought it still verifies and records a moment later.
    pub async fn here(&self, tag: &str) {
        for _ in 0..1000 {
            let status = self.keeper.status().await;
            let idle = status.running.is_none() && status.queued == 0;
            if idle && self.engine.inventory().await.unwrap().named(&name(tag)).is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{tag} does not come");
    }

    /// Waits for a condition, winding the clock a little.
    pub async fn until(&self, what: &str, wanted: impl AsyncFn(&Self) -> bool) {
        for _ in 0..2000 {
            if wanted(self).await {
                return;
            }
            self.wind(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what}: {:#?} {}", self.keeper.status().await, self.keeper.metrics_text().await);
    }

    /// Makes the disk so large that so much is free.
    pub fn free(&self, bytes: u64) {
        let used = self.disk.used() + self.disk.others.load(Ordering::SeqCst);
        self.disk.total.store(used + bytes, Ordering::SeqCst);
    }

    /// What is free.
    pub fn free_bytes(&self) -> u64 {
        self.disk.look(Path::new("/")).unwrap().free.0
    }

    /// The tags of the runtime repository that are here.
    pub async fn tags(&self) -> Vec<String> {
        let inventory = self.engine.inventory().await.unwrap();
        let names = inventory.images.iter().flat_map(|image| &image.names);
        let mut tags: Vec<String> =
            names.filter(|n| n.repository.path() == "acme/app").map(|n| n.tag.to_string()).collect();
        tags.sort();
        tags
    }
}
async fn keeper(
    engine: Arc<dyn Engine>,
    shelf: &Shelf,
    store: Store,
    clock: &Arc<Wound>,
    disk: &Arc<Platter>,
    (settings, deeds): (Settings, &Deeds),
) -> Keeper {
    let deeds = deeds.clone();
    let parts = Parts {
        engine,
        registry: Arc::new(shelf.clone()),
        relays: None,
        store,
        clock: clock.clone(),
        disks: disk.clone(),
        at: Arc::new(move |point: &str| deeds.at(point)),
        settings,
        retention: Retention::default(),
        version: "test",
    };
    Keeper::new(parts).await.unwrap()
}

async fn run(keeper: Keeper) {
    keeper.run(|| {}).await.unwrap();
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.task.abort();
    }
}
