//! A whole keeper in memory, with a clock that the test winds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{
    Bytes, Digest, ImageName, JobId, JobState, Keep, Platform, Policy, Reference, Runtime, StoreKind, Timestamp,
};
use layerkeeper_engine::fake::{Fake, FakeImage};
use layerkeeper_engine::{Engine, Login};
use layerkeeper_keeper::{Clock, DeployRequest, Keeper, Parts, Registry, Settings};
use layerkeeper_registry::{Error, Fetched, Resolved};
use layerkeeper_store::{JobRow, Options, Retention, Store};

pub const HOUR: Duration = Duration::from_secs(3600);

/// The registry as the daemon sees it, beside the one that the fake engine sees.
#[derive(Clone)]
pub struct Shelf {
    fake: Fake,
    images: Arc<Mutex<HashMap<Digest, FakeImage>>>,
    pub down: Arc<AtomicBool>,
}

#[async_trait]
impl Registry for Shelf {
    async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        self.reach(reference)?;
        let digest = self.fake.resolve(reference, None).await.map_err(|_| missing(reference))?;
        Ok(Resolved { digest, media_type: String::new(), size: None, moved: Bytes::ZERO })
    }

    async fn image(&self, reference: &Reference, _: &Platform) -> Result<Fetched, Error> {
        let digest = self.resolve(reference).await?.digest;
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
pub struct Wound(AtomicI64);

impl Clock for Wound {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

pub struct Ground {
    pub engine: Fake,
    pub shelf: Shelf,
    pub keeper: Keeper,
    pub clock: Arc<Wound>,
    task: tokio::task::JoinHandle<()>,
}

pub fn name(text: &str) -> ImageName {
    format!("ghcr.io/acme/{text}").parse().unwrap()
}

pub fn policy() -> Policy {
    let keep = |image| Keep { image: name(image), pin: None };
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
        }],
        remove_superseded: RemoveSuperseded::Never,
        min_free: Bytes(0),
    }
}

/// What the keeper is told.
pub fn settings(policy: Policy) -> Settings {
    Settings {
        policy,
        schedules: Vec::new(),
        jitter: Duration::ZERO,
        disk_paths: Vec::new(),
        stop_timeout: Duration::from_millis(100),
        not_yet_timeout: Duration::from_secs(120),
        max_attempts: 3,
        data_root: None,
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
        Self::made(kind, policy, store, |engine| Arc::new(engine)).await
    }

    /// The same, with something of the test's own between keeper and engine.
    pub async fn behind(kind: StoreKind, policy: Policy, door: impl FnOnce(Fake) -> Arc<dyn Engine>) -> Self {
        Self::made(kind, policy, Store::open_in_memory(Options::default()).unwrap(), door).await
    }

    async fn made(kind: StoreKind, policy: Policy, store: Store, door: impl FnOnce(Fake) -> Arc<dyn Engine>) -> Self {
        let engine = Fake::new(kind);
        let shelf = Shelf { fake: engine.clone(), images: Arc::default(), down: Arc::default() };
        let clock = Arc::new(Wound(AtomicI64::new(1_800_000_000_000)));
        let settings = settings(policy);
        let parts = Parts {
            engine: door(engine.clone()),
            registry: Arc::new(shelf.clone()),
            store,
            clock: clock.clone(),
            settings,
            retention: Retention::default(),
            version: "test",
        };
        let keeper = Keeper::new(parts).await.unwrap();
        let ground = Self { engine, shelf, clock, task: tokio::spawn(run(keeper.clone())), keeper };
        ground.publish("base:1", &base());
        ground.publish("cache-python:1", &python());
        ground
    }

    pub fn publish(&self, tag: &str, image: &FakeImage) -> Digest {
        for digest in [image.resolved(), image.manifest_digest()] {
            self.shelf.images.lock().unwrap().insert(digest, image.clone());
        }
        self.engine.registry().publish(&name(tag), image)
    }

    pub fn wind(&self, by: Duration) {
        self.clock.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Deploys and waits for the end.
    pub async fn deploy(&self, tag: &str, digest: Option<Digest>) -> JobRow {
        let answer = self.keeper.deploy(DeployRequest { image: name(tag), digest }, 0).await.unwrap();
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

async fn run(keeper: Keeper) {
    keeper.run(|| {}).await.unwrap();
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.task.abort();
    }
}
