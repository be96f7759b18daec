//! A deploy server in miniature: a keeper of its own over a real engine, a real registry client and a real database.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{Bytes, Digest, ImageName, JobId, Keep, Policy, Runtime, Timestamp};
use layerkeeper_engine::docker::Docker;
use layerkeeper_keeper::{Clock, DeployRequest, Keeper, Parts, Settings, SystemClock};
use layerkeeper_registry::{Client, Settings as RegistrySettings};
use layerkeeper_store::{JobRow, Options, Retention, Store};
use layerkeeper_testkit::{Engine, Registry};

/// The system's clock, pushed ahead by the test. Boot time goes along, so nothing looks like a jump.
pub struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0.load(Ordering::SeqCst).unsigned_abs()))
    }

    fn boot(&self) -> Duration {
        SystemClock.boot() + Duration::from_secs(self.0.load(Ordering::SeqCst).unsigned_abs())
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
    task: tokio::task::JoinHandle<()>,
}

/// Three kept images and one runtime repository, as in the configuration's example.
pub fn policy(registry: &str) -> Policy {
    let name = |text: &str| -> ImageName { format!("{registry}/acme/{text}").parse().expect("a name") };
    let keep = |text| Keep { image: name(text), pin: None };
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
        }],
        remove_superseded: RemoveSuperseded::Never,
        min_free: Bytes(0),
    }
}

impl Host {
    /// A keeper on this engine, for images of this registry. `change` may change the policy and the client's settings.
    pub async fn new(engine: &Engine, registry: &str, change: impl FnOnce(&mut Policy, &mut RegistrySettings)) -> Self {
        let mut policy = policy(registry);
        let mut settings = RegistrySettings { docker_config: Some("/dev/null".into()), ..RegistrySettings::default() };
        settings.docker_config = None;
        change(&mut policy, &mut settings);
        let docker = Arc::new(Docker::connect(&engine.host()).expect("an engine's address"));
        let clock = Arc::new(Ahead(AtomicI64::new(0)));
        let parts = Parts {
            engine: docker.clone(),
            registry: Arc::new(Client::new(settings).expect("a registry client")),
            store: Store::open_in_memory(Options::default()).expect("a store"),
            clock: clock.clone(),
            settings: Settings {
                policy,
                schedules: Vec::new(),
                jitter: Duration::ZERO,
                disk_paths: Vec::new(),
                stop_timeout: Duration::from_secs(1),
                not_yet_timeout: Duration::from_secs(120),
                max_attempts: 4,
                data_root: Some(engine.data_root().to_owned()),
            },
            retention: Retention::default(),
            version: "test",
        };
        let keeper = Keeper::new(parts).await.expect("a keeper");
        let running = keeper.clone();
        let task = tokio::spawn(async move { running.run(|| {}).await.expect("the keeper runs") });
        Self { keeper, engine: docker, registry: registry.to_owned(), clock, task }
    }

    /// As above, for a registry that needs nothing special.
    pub async fn plain(engine: &Engine, registry: &Registry) -> Self {
        Self::new(engine, &registry.host(), |_, _| {}).await
    }

    /// `acme/TEXT` at the registry.
    pub fn name(&self, text: &str) -> ImageName {
        format!("{}/acme/{text}", self.registry).parse().expect("a name")
    }

    /// Pushes the clock ahead.
    pub fn wind(&self, by: Duration) {
        self.clock.0.fetch_add(i64::try_from(by.as_secs()).expect("not that far"), Ordering::SeqCst);
    }

    /// Deploys `acme/app:TAG` and waits for the end.
    pub async fn deploy(&self, tag: &str, digest: Option<Digest>) -> JobRow {
        let request = DeployRequest { image: self.name(&format!("app:{tag}")), digest };
        let answer = self.keeper.deploy(request, 0).await.expect("accepted");
        self.end(&answer.job.id).await
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
