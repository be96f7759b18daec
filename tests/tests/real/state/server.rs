//! A real engine and a real registry to which the same happens as to the fake.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use layerkeeper_core::{Bytes, ImageName, JobState, Keep, Policy, Timestamp};
use layerkeeper_keeper::{DeployRequest, Settings};
use layerkeeper_store::{JobFilter, JobRow, Options, Store};
use layerkeeper_testkit::{Engine, EngineKind, Scratch};
use layerkeeper_tests::host::Host;

use super::operation::{KEPT, Name, Operation, PINNED, Rules, Wish};
use super::shelf::{self, SMALLER, Shelf};
use super::snapshot::Snapshot;
use super::world;

/// So long a step may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The watch looks so often.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// When so many looks have begun since, and nothing was under way, all that happened before has been seen: the first finds
/// that something is gone, the second that it still is, and the third begins when what the second asked for is queued.
const LOOKS: usize = 3;
/// A job that waits longer than this waits for something else to happen.
const LONG: Duration = Duration::from_secs(600);

/// A server.
pub struct Server {
    /// None only while another keeper takes over.
    host: Option<Host>,
    engine: Engine,
    shelf: Shelf,
    state: Scratch,
    settings: Settings,
    begun: Timestamp,
    containers: Vec<String>,
}

impl Server {
    /// An engine of its own, since somebody will prune all that is there.
    pub async fn start(kind: EngineKind) -> Self {
        let engine = tokio::task::spawn_blocking(move || Engine::start(kind)).await.unwrap().unwrap();
        let mut shelf = Shelf::new();
        (0..KEPT.len()).for_each(|n| shelf.build(Name::Kept(n)));
        let state = Scratch::new("state").unwrap();
        let store = Store::open(state.path(), Options::default()).unwrap();
        let told = policy(&shelf, Rules::default());
        let host = Host::over(&engine, &shelf.host(), store, |settings, _| {
            *settings = Settings {
                look_every: LOOK_EVERY,
                data_root: settings.data_root.take(),
                transfer: layerkeeper_keeper::TransferSettings::default(),
                ..world::settings(Rules::default())
            };
            settings.policy = told;
        })
        .await;
        let (settings, begun) = (host.settings(), host.now());
        Self { host: Some(host), engine, shelf, state, settings, begun, containers: Vec::new() }
    }

    fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    /// Makes it happen.
    pub async fn does(&mut self, operation: Operation) {
        match operation {
            Operation::Build(version) => self.shelf.build(Name::Version(version)),
            Operation::Ship(version, by_digest) => {
                self.shelf.build(Name::Version(version));
                self.deploy(version, if by_digest { Wish::Newest } else { Wish::Tag }).await;
            }
            Operation::Deploy(version, wish) => self.deploy(version, wish).await,
            Operation::Move(n) => self.shelf.build(Name::Kept(n)),
            Operation::Prewarm(which) => {
                let images: Vec<ImageName> = which.map(|n| self.shelf.full(Name::Kept(n))).into_iter().collect();
                self.host().keeper.prewarm(&images, 0).await.unwrap();
            }
            Operation::Prune { superseded } => drop(self.host().keeper.prune(superseded, 0).await.unwrap()),
            // somebody else's names cannot be forgotten
            Operation::Forget(name) => drop(self.host().keeper.forget(&self.shelf.full(name), 0).await),
            Operation::Reload(rules) => {
                self.settings.policy = policy(&self.shelf, rules);
                self.host().keeper.reload(self.settings.clone());
            }
            Operation::Untag(name) => {
                self.call("DELETE", &format!("/images/{}", self.shelf.full(name)), &[200, 404, 409])
            }
            Operation::CleanUp => {
                self.call("POST", "/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D", &[200]);
            }
            Operation::Tag { from, to } => {
                let (from, to) = (self.shelf.full(from), self.shelf.full(to));
                self.call("POST", &format!("/images/{from}/tag?repo={}&tag={}", to.repository, to.tag), &[201, 404]);
            }
            Operation::Create(name) => self.create(name),
            Operation::Drop(n) if !self.containers.is_empty() => {
                let id = self.containers.remove(usize::from(n) % self.containers.len());
                self.call("DELETE", &format!("/containers/{id}"), &[204]);
            }
            Operation::Drop(_) => {}
            Operation::Kill => {
                let host = self.host.take().unwrap();
                self.host = Some(host.killed(&self.engine, self.state.path(), &self.settings).await);
            }
            Operation::Pass(minutes) => self.host().wind(Duration::from_secs(u64::from(minutes) * 60)),
        }
    }

    async fn deploy(&self, version: u8, wish: Wish) {
        let name = Name::Version(version);
        let builds = self.shelf.builds(name);
        let digest = match wish {
            Wish::Tag => None,
            Wish::Newest => builds.last().copied(),
            Wish::First => builds.first().copied(),
        };
        self.host()
            .keeper
            .deploy(DeployRequest { image: self.shelf.full(name), digest, over_limit: false }, 0)
            .await
            .unwrap();
    }

    fn create(&mut self, name: Name) {
        let body = serde_json::json!({"Image": self.shelf.full(name).to_string()}).to_string();
        let api = self.engine.api();
        let request = api.request("POST", "/containers/create").header("Content-Type", "application/json");
        let answer = request.body(body.as_bytes()).send().unwrap().expect(&[201, 404]).unwrap();
        if answer.status == 201 {
            self.containers.push(answer.json().unwrap()["Id"].as_str().unwrap().to_owned());
        }
    }

    /// Somebody asks the engine.
    fn call(&self, method: &str, path: &str, statuses: &[u16]) {
        let api = self.engine.api();
        api.request(method, path).limit(PATIENCE).send().unwrap().expect(statuses).unwrap();
    }

    /// Until nothing is under way, and the watch has looked at all that happened, and nothing came of it.
    pub async fn until_idle(&self) {
        let deadline = Instant::now() + PATIENCE;
        let (host, keeper) = (self.host(), &self.host().keeper);
        let (mut since, mut looks) = (host.now().0, BTreeSet::new());
        while looks.len() < LOOKS {
            let status = keeper.status().await;
            let busy = status.queued > 0 || status.running.is_some();
            if busy || status.losses.iter().any(|loss| loss.next_try.is_none()) {
                self.wait_no_longer().await;
                looks.clear();
                since = host.now().0;
            } else {
                looks.extend(status.engine.seen_at.filter(|at| *at > since));
            }
            assert!(Instant::now() < deadline, "not idle within {PATIENCE:?}: {status:#?} {:#?}", self.jobs().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Where all jobs wait for a time to come, it comes.
    async fn wait_no_longer(&self) {
        let host = self.host();
        let rows = self.jobs().await;
        let open = || rows.iter().filter(|row| !row.job.state.is_final());
        let wait = |row: &JobRow| row.job.not_before.map_or(Duration::ZERO, |at| at - host.now());
        let least = open().map(wait).min().unwrap_or_default();
        if open().all(|row| row.job.state == JobState::Queued) && !least.is_zero() {
            assert!(least < LONG, "waits for {least:?}: {rows:#?}");
            host.wind(least + Duration::from_secs(1));
        }
    }

    /// So much time has passed on the fake: here, too.
    pub fn catch_up(&self, passed: Duration) {
        let here = self.host().now() - self.begun;
        self.host().wind(passed.saturating_sub(here));
    }

    async fn jobs(&self) -> Vec<JobRow> {
        self.host().keeper.jobs(JobFilter { limit: 500, ..JobFilter::default() }).await.unwrap()
    }

    /// How it looks; `all`: the engine is asked also for all that was ever pushed.
    pub async fn snapshot(&self, all: bool) -> Snapshot {
        let host = self.host();
        let asked = shelf::names().map(|name| self.shelf.full(name).to_reference());
        let asked: Vec<_> = asked.chain(self.shelf.by_digest().filter(|_| all)).collect();
        Snapshot::of(&*host.engine, &asked, &self.containers, &host.keeper, &self.shelf.labels).await
    }
}

/// The fake's policy, for this registry. The real disk is not watched: how full it is is the machine's business.
fn policy(shelf: &Shelf, rules: Rules) -> Policy {
    let mut policy = world::policy(rules);
    for (n, keep) in policy.keep.iter_mut().enumerate() {
        let name = Name::Kept(n);
        *keep = Keep::new(shelf.full(name), (n == PINNED).then(|| shelf.builds(name)[0]));
    }
    let runtime = &mut policy.runtime[0];
    runtime.repository = shelf.full(Name::Version(0)).repository;
    runtime.download_budget = Bytes(runtime.download_budget.0 / SMALLER);
    policy.min_free = Bytes::ZERO;
    policy
}
