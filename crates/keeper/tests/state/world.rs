//! A deploy server on the fake engine: what happens to it, and how it is left alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layerkeeper_core::{Bytes, ImageName, JobState, Keep, Policy, Runtime, StoreKind};
use layerkeeper_engine::fake::Fake;
use layerkeeper_keeper::{Clock, Keeper, Parts, Settings};
use layerkeeper_store::{Options, Retention, Store};
use tokio::task::JoinHandle;

use super::builds::{build, full};
use super::ledger::{Gate, Ledger, Shared};
use super::operation::{KEPT, Name, PINNED, Rules};
use super::outside::{Clocks, Platter, Shop};
use super::pace::Polls;
use super::trouble::{Event, Patience, Step};
use super::witness::{Witness, now};

/// What must stay free.
pub const FLOOR: u64 = 100_000_000;

/// All of it.
pub struct World {
    pub ledger: Shared,
    pub fake: Fake,
    pub shop: Shop,
    pub clocks: Arc<Clocks>,
    pub disk: Arc<Platter>,
    pub store: Store,
    pub keeper: Keeper,
    pub rules: Rules,
    /// How often each name was built.
    pub built: HashMap<Name, usize>,
    /// Containers here, by their ids.
    pub containers: Vec<String>,
    /// Where the keeper dies next.
    pub doom: Arc<Mutex<Option<&'static str>>>,
    pub up: bool,
    pub kind: StoreKind,
    pub polls: Polls,
    /// A line per step.
    pub log: Vec<String>,
    task: JoinHandle<()>,
}

/// The policy under these rules.
pub fn policy(rules: Rules) -> Policy {
    let keep = |n: usize| Keep::new(full(Name::Kept(n)), (n == PINNED).then(|| build(Name::Kept(n), 0).resolved()));
    let any: ImageName = full(Name::Version(0));
    Policy {
        keep: (0..KEPT.len()).map(keep).collect(),
        runtime: vec![Runtime {
            repository: any.repository,
            deploy_tags: vec!["sha-*".parse().unwrap()],
            prune_tags: vec!["sha-*".parse().unwrap()],
            keep_last: rules.keep_last,
            keep_min: rules.keep_min,
            min_age: Duration::from_secs(rules.min_age_h * 3600),
            download_budget: Bytes(300_000_000),
            download_limit: None,
        }],
        remove_superseded: rules.superseded,
        min_free: Bytes(FLOOR),
    }
}

/// What the keeper is told.
pub fn settings(rules: Rules) -> Settings {
    super::settings::settings(policy(rules))
}

impl World {
    /// A server on which the keeper has just been started for the first time.
    pub async fn new(kind: StoreKind) -> Self {
        let fake = Fake::new(kind);
        let clocks = Arc::new(Clocks::new());
        let disk = Arc::new(Platter::new(fake.clone()));
        let rules = Rules::default();
        let ledger = Arc::new(Mutex::new(Ledger::new(policy(rules), clocks.boot())));
        let store = Store::open_in_memory(Options::default()).unwrap();
        let polls = Polls::default();
        let doom = Arc::default();
        let shop = Shop::default();
        let witness = Witness { fake: fake.clone(), disk: disk.clone(), ledger: ledger.clone() };
        let parts = parts(witness, &shop, &store, &clocks, &doom, rules);
        let keeper = Keeper::new(parts).await.unwrap();
        let task = run(&keeper, &polls);
        let mut world = Self {
            ledger,
            fake,
            shop,
            clocks,
            disk,
            store,
            keeper,
            rules,
            built: HashMap::new(),
            containers: Vec::new(),
            doom,
            up: true,
            kind,
            polls,
            log: Vec::new(),
            task,
        };
        for n in 0..KEPT.len() {
            world.build(Name::Kept(n));
        }
        world
    }

    /// Another keeper takes over what the last one left, the database and all around it.
    pub async fn start(&mut self) {
        let witness = Witness { fake: self.fake.clone(), disk: self.disk.clone(), ledger: self.ledger.clone() };
        let parts = parts(witness, &self.shop, &self.store, &self.clocks, &self.doom, self.rules);
        self.keeper = Keeper::new(parts).await.unwrap();
        self.task = run(&self.keeper, &self.polls);
        let here = now(&self.fake);
        let mut ledger = self.ledger.lock().unwrap();
        ledger.died = ledger.step;
        ledger.was_moving(here.as_ref());
    }

    /// The keeper dies where it stands.
    pub async fn kill(&mut self) {
        self.task.abort();
        // it may have died already
        let _ = (&mut self.task).await;
    }

    /// SIGTERM, and it ends by itself.
    pub async fn stop(&mut self) {
        self.keeper.stop();
        self.polls.until_quiet(&self.store).await;
        tokio::time::advance(Duration::from_millis(200)).await;
        self.polls.until_quiet(&self.store).await;
        if !self.task.is_finished() {
            self.ledger.lock().unwrap().wrong("the keeper does not stop".to_owned());
            self.kill().await;
        }
    }

    /// CI builds a name once more, and pushes it.
    pub fn build(&mut self, name: Name) {
        let n = self.built.entry(name).or_default();
        let image = build(name, *n);
        *n += 1;
        let tag = full(name);
        self.shop.push(&self.fake, &tag, &image);
        let digests = [image.resolved(), image.manifest_digest()];
        self.ledger.lock().unwrap().shown.entry(tag).or_default().push(digests);
    }

    /// One step: what happens, and what becomes of it.
    pub async fn step(&mut self, step: &Step) {
        {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.step += 1;
            ledger.count("step");
            ledger.now = self.clocks.boot();
        }
        let said = match &step.event {
            Event::Does(operation) => self.does(*operation).await,
            Event::Trouble(trouble) => self.trouble(trouble).await,
        };
        self.look();
        match step.then {
            Patience::UntilIdle => self.until_idle().await,
            Patience::Moments(n) => self.polls.for_moments(&self.store, u64::from(n)).await,
        }
        self.rise().await;
        self.look();
        self.read_jobs().await;
        let line = self.line(step, &said);
        self.log.push(line);
    }

    /// Takes down what is on the engine.
    pub fn look(&self) {
        if let Some(inventory) = now(&self.fake) {
            self.ledger.lock().unwrap().look(&inventory);
        }
    }

    /// Time passes, for the clocks and for the timers.
    pub async fn pass(&mut self, by: Duration) {
        self.clocks.wind(by);
        self.ledger.lock().unwrap().now = self.clocks.boot();
        // more than one look of the watch tells nothing new
        tokio::time::advance(by.min(Duration::from_secs(95))).await;
        self.polls.until_quiet(&self.store).await;
        self.rise().await;
    }

    /// A keeper that has died of its doom is started again.
    async fn rise(&mut self) {
        if self.task.is_finished() {
            self.ledger.lock().unwrap().count("died at a point");
            self.start().await;
            self.polls.until_quiet(&self.store).await;
        }
    }

    /// Until no job runs or waits, the watch has looked, and nothing more comes of it; or until what is left waits for
    /// something else to happen.
    pub async fn until_idle(&mut self) {
        self.polls.until_quiet(&self.store).await;
        // what was away long enough is seen, and what is under way has noticed
        {
            let mut ledger = self.ledger.lock().unwrap();
            if ledger.gate == Gate::Closing {
                ledger.gate = Gate::Closed;
            }
        }
        let (mut calm, mut waits) = (0, 0);
        while waits < 4 {
            // longer than the watch lets a burst of events come
            self.pass(Duration::from_millis(2500)).await;
            let (queued, running) = self.under_way().await;
            if queued + running == 0 {
                calm += 1;
                // the healer may have queued something in the moment before
                if calm == 2 {
                    return self.idle();
                }
                continue;
            }
            calm = 0;
            let wake = self.store.next_wake().await.unwrap();
            let wait = wake.map_or(Duration::ZERO, |at| at - self.clocks.now());
            // these wait for something else to happen
            if running > 0 || !self.up || wait > Duration::from_secs(600) {
                return;
            }
            waits += 1;
            self.pass(wait).await;
        }
    }

    fn idle(&self) {
        if let Some(inventory) = now(&self.fake) {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.look(&inventory);
            ledger.idle(&inventory.engine.instance());
        }
    }

    /// Jobs queued and running.
    pub async fn under_way(&self) -> (u64, u64) {
        let counts = self.store.job_counts().await.unwrap();
        let count = |state| counts.iter().find(|(s, _)| *s == state).map_or(0, |(_, n)| *n);
        (count(JobState::Queued), count(JobState::Running))
    }
}

fn parts(
    witness: Witness,
    shop: &Shop,
    store: &Store,
    clocks: &Arc<Clocks>,
    doom: &Arc<Mutex<Option<&'static str>>>,
    rules: Rules,
) -> Parts {
    let (disks, doom) = (witness.disk.clone(), doom.clone());
    let at = move |point: &'static str| {
        let mut doom = doom.lock().unwrap();
        if *doom == Some(point) {
            *doom = None;
            drop(doom);
            // as kill -9: not a line of the keeper's runs after it
            std::panic::resume_unwind(Box::new("killed"));
        }
    };
    Parts {
        engine: Arc::new(witness),
        registry: Arc::new(shop.clone()),
        relays: None,
        store: store.clone(),
        clock: clocks.clone(),
        disks,
        at: Arc::new(at),
        settings: settings(rules),
        retention: Retention::default(),
        version: "test",
    }
}

fn run(keeper: &Keeper, polls: &Polls) -> JoinHandle<()> {
    let keeper = keeper.clone();
    tokio::spawn(polls.of(async move { keeper.run(|| {}).await.unwrap() }))
}
