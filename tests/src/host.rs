//! A deploy server in miniature: a keeper of its own over a real engine, a real registry client and a real database.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use layerkeeper_core::plan::TransferMode;
use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{Bytes, Digest, Image, ImageName, JobId, JobState, Keep, Policy, Runtime, Timestamp};
use layerkeeper_engine::Engine as _;
use layerkeeper_engine::docker::Docker;
use layerkeeper_keeper::{Clock, DeployAnswer, DeployRequest, Keeper, Parts, Settings, SystemClock, SystemDisks};
use layerkeeper_registry::{Client, Settings as RegistrySettings};
use layerkeeper_relay::{Relays, Spool};
use layerkeeper_store::record::{Outcome, PruneRecord};
use layerkeeper_store::{JobRow, Options, Retention, Store};
use layerkeeper_testkit::{Engine, Registry, Scratch};

/// The system's clock, pushed ahead by the test. Boot time goes along, so nothing looks like a jump.
pub struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0.load(Ordering::SeqCst).unsigned_abs()))
    }

    fn boot(&self) -> Duration {
        SystemClock.boot() + Duration::from_secs(self.0.load(Ordering::SeqCst).unsigned_abs())
    }

    fn boot_id(&self) -> String {
        SystemClock.boot_id()
    }
}

/// One server. Dropping it stops the keeper.
pub struct Host {
    /// The handle.
    pub keeper: Keeper,
    /// The engine's adapter, for looking.
    pub engine: Arc<Docker>,
    registry: String,
    clock: Arc<Ahead>,
    store: Store,
    settings: Settings,
    spool: Place,
    at: Arc<Mutex<Option<Hook>>>,
    task: tokio::task::JoinHandle<()>,
}

/// Is told of each step of a job, before it.
type Hook = Box<dyn FnMut(&'static str) + Send>;

/// Where the relay's spool is; it goes with the last server that uses it, where it is our own.
#[derive(Clone)]
struct Place {
    at: PathBuf,
    _scratch: Option<Arc<Scratch>>,
}

/// Three kept images and one runtime repository, as in the configuration's example.
pub fn policy(registry: &str) -> Policy {
    let name = |text: &str| -> ImageName { format!("{registry}/acme/{text}").parse().expect("a name") };
    let keep = |text| Keep::new(name(text), None);
    Policy {
        keep: vec![keep("base:1"), keep("cache-python:1"), keep("cache-node:1")],
        runtime: vec![Runtime {
            repository: name("app:any").repository,
            deploy_tags: vec!["sha-*".parse().expect("a pattern")],
            prune_tags: vec!["sha-*".parse().expect("a pattern")],
            keep_last: 1,
            keep_min: 1,
            min_age: Duration::from_secs(3600),
            download_budget: Bytes(300_000_000),
            download_limit: None,
        }],
        remove_superseded: RemoveSuperseded::Never,
        min_free: Bytes(0),
    }
}

impl Host {
    /// A keeper on this engine, for images of this registry. `change` may change the policy and the client's settings.
    pub async fn new(engine: &Engine, registry: &str, change: impl FnOnce(&mut Policy, &mut RegistrySettings)) -> Self {
        let store = Store::open_in_memory(Options::default()).expect("a store");
        Self::over(engine, registry, store, |settings, client| change(&mut settings.policy, client)).await
    }

    /// A keeper over this store; `change` may change everything that it is told.
    pub async fn over(
        engine: &Engine,
        registry: &str,
        store: Store,
        change: impl FnOnce(&mut Settings, &mut RegistrySettings),
    ) -> Self {
        let spool = Scratch::new("spool").expect("a folder");
        let spool = Place { at: spool.path().join("spool"), _scratch: Some(Arc::new(spool)) };
        Self::by((Arc::new(Ahead(AtomicI64::new(0))), spool), engine, registry, store, change).await
    }

    /// The same with the relay's spool in this folder.
    pub async fn spooling_at(
        spool: PathBuf,
        engine: &Engine,
        registry: &str,
        change: impl FnOnce(&mut Settings, &mut RegistrySettings),
    ) -> Self {
        let store = Store::open_in_memory(Options::default()).expect("a store");
        let spool = Place { at: spool, _scratch: None };
        Self::by((Arc::new(Ahead(AtomicI64::new(0))), spool), engine, registry, store, change).await
    }

    async fn by(
        (clock, spool): (Arc<Ahead>, Place),
        engine: &Engine,
        registry: &str,
        store: Store,
        change: impl FnOnce(&mut Settings, &mut RegistrySettings),
    ) -> Self {
        crate::each::uses(registry);
        let mut client = RegistrySettings::default();
        let mut settings = Settings {
            policy: policy(registry),
            schedules: Vec::new(),
            series: Vec::new(),
            jitter: Duration::ZERO,
            disk_paths: Vec::new(),
            stop_timeout: Duration::from_secs(1),
            not_yet_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(300),
            look_every: Duration::from_secs(60),
            max_attempts: 4,
            data_root: Some(engine.data_root().to_owned()),
            transfer: layerkeeper_keeper::TransferSettings::default(),
        };
        change(&mut settings, &mut client);
        let told = settings.clone();
        let docker = Arc::new(Docker::connect(&engine.host()).expect("an engine's address"));
        let client = Client::new(client).expect("a registry client");
        let at: Arc<Mutex<Option<Hook>>> = Arc::default();
        let hook = at.clone();
        let parts = Parts {
            engine: docker.clone(),
            registry: Arc::new(client.clone()),
            relays: Some(Relays::new(client, Spool::new(spool.at.clone()))),
            store: store.clone(),
            clock: clock.clone(),
            disks: Arc::new(SystemDisks),
            at: Arc::new(move |point| {
                if let Some(hook) = hook.lock().expect("no test panics in it").as_mut() {
                    hook(point);
                }
            }),
            settings,
            retention: Retention::default(),
            version: "test",
        };
        let keeper = Keeper::new(parts).await.expect("a keeper");
        let running = keeper.clone();
        let task = tokio::spawn(async move { running.run(|| {}).await.expect("the keeper runs") });
        Self { keeper, engine: docker, registry: registry.to_owned(), clock, store, settings: told, spool, at, task }
    }

    /// As above, for a registry that needs nothing special.
    pub async fn plain(engine: &Engine, registry: &Registry) -> Self {
        Self::new(engine, &registry.host(), |_, _| {}).await
    }

    /// As above, by the registry's address or that of what stands before it.
    pub async fn plain_at(engine: &Engine, registry: &str) -> Self {
        Self::new(engine, registry, |_, _| {}).await
    }

    /// From now on this is called at each of the worker's points, before what comes after it.
    pub fn at_each_point(&self, hook: impl FnMut(&'static str) + Send + 'static) {
        *self.at.lock().expect("no test panics in it") = Some(Box::new(hook));
    }

    /// `acme/TEXT` at the registry.
    pub fn name(&self, text: &str) -> ImageName {
        format!("{}/acme/{text}", self.registry).parse().expect("a name")
    }

    /// Its database, for looking.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What its clock shows.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Pushes the clock ahead.
    pub fn wind(&self, by: Duration) {
        self.clock.0.fetch_add(i64::try_from(by.as_secs()).expect("not that far"), Ordering::SeqCst);
    }

    /// Tells it anew what it is to do: as in the beginning, but for this change.
    pub fn reload(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.clone();
        change(&mut settings);
        self.keeper.reload(settings);
    }

    /// Tells it anew how much must stay free.
    pub fn set_min_free(&self, min_free: Bytes) {
        self.reload(|settings| settings.policy.min_free = min_free);
    }

    /// Tells it anew which way content is to come.
    pub fn set_transfer(&self, mode: TransferMode) {
        self.reload(|settings| settings.transfer.mode = mode);
    }

    /// What lies in the relay's spool.
    pub fn spooled(&self) -> Bytes {
        Spool::new(self.spool.at.clone()).bytes()
    }

    /// Asks for `acme/app:TAG`.
    pub async fn ask(&self, tag: &str, digest: Option<Digest>) -> DeployAnswer {
        let request = DeployRequest { image: self.name(&format!("app:{tag}")), digest, over_limit: false };
        self.keeper.deploy(request, 0).await.expect("accepted")
    }

    /// Deploys `acme/app:TAG` and waits for the end.
    pub async fn deploy(&self, tag: &str, digest: Option<Digest>) -> JobRow {
        let answer = self.ask(tag, digest).await;
        self.end(&answer.job.id).await
    }

    /// The same, and it must succeed.
    pub async fn ship(&self, tag: &str, digest: Option<Digest>) -> Outcome {
        let row = self.deploy(tag, digest).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{tag}: {:?}", row.outcome);
        row.outcome
    }

    /// Prunes and waits for the end.
    pub async fn prune(&self, superseded: bool) -> PruneRecord {
        let answer = self.keeper.prune(superseded, 0).await.expect("accepted");
        let row = self.end(&answer.job.id).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        row.outcome.prune.expect("a prune's record")
    }

    /// Is `acme/TEXT` here?
    pub async fn has(&self, text: &str) -> bool {
        self.here(text).await.is_some()
    }

    /// The image that `acme/TEXT` stands for here.
    pub async fn here(&self, text: &str) -> Option<Image> {
        self.engine.image(&self.name(text).to_reference()).await.expect("the engine answers")
    }

    /// Stops it as SIGTERM does, and lets go of the store.
    pub async fn stop(mut self) {
        self.keeper.stop();
        (&mut self.task).await.expect("the keeper ends");
        self.store.clone().close().await;
    }

    /// Ends it in the middle of whatever it does, as kill -9 would, and lets go of the store.
    pub async fn kill(mut self) {
        self.task.abort();
        let ended = (&mut self.task).await;
        assert!(ended.is_err_and(|error| error.is_cancelled()));
        self.store.clone().close().await;
    }

    /// The same, and another keeper with these settings starts on what is left: the database in this directory, and all
    /// around it.
    pub async fn killed(self, engine: &Engine, dir: &Path, settings: &Settings) -> Self {
        let (shared, registry) = ((self.clock.clone(), self.spool.clone()), self.registry.clone());
        self.kill().await;
        let store = Store::open(dir, Options::default()).expect("a store");
        Self::by(shared, engine, &registry, store, |told, _| *told = settings.clone()).await
    }

    /// What it was told at the start.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Refreshes the kept images and waits for the end.
    pub async fn prewarm(&self) -> Vec<JobRow> {
        let answers = self.keeper.prewarm(&[], 0).await.expect("accepted");
        let mut rows = Vec::new();
        for answer in answers {
            rows.push(self.end(&answer.job.id).await);
        }
        rows
    }

    /// Waits for a job's final state.
    pub async fn end(&self, id: &JobId) -> JobRow {
        let begun = Instant::now();
        loop {
            let row = self.keeper.job(id).await.expect("the store answers").expect("the job is there");
            if row.job.state.is_final() {
                return row;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "job {id} does not end: {:?}", row.outcome);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.keeper.stop();
        self.task.abort();
    }
}
