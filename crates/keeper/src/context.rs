//! What worker, schedule, watch and handle share.

mod gate;
mod in_force;
mod journal;
mod observe;
mod tombstones;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use layerkeeper_core::job::JobKind;
use layerkeeper_core::plan::Told;
use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{Digest, ImageId, ImageName, Intent, Job, JobId, JobState, Timestamp, Trigger};
use layerkeeper_engine::Engine;
use layerkeeper_relay::Relays;
use layerkeeper_store::record::PruneRecord;
use layerkeeper_store::{Enqueued, Event, NewJob, Retention, Store, Tombstone};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::Budgeted;
use crate::clock::Clock;
use crate::disk::Disks;
use crate::drift::Drift;
use crate::follow::{Follow, Progress};
use crate::heal::Open;
use crate::kept::Kept;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::worker::{Study, Transfers, Vouched, hurry};
use in_force::InForce;
pub(crate) use observe::View;

/// The job that the worker has in hand.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub id: JobId,
    pub intent: Intent,
    pub since: Timestamp,
    /// The pull under way.
    pub in_flight: Option<InFlight>,
}

/// A pull under way, and what the job's record said before it: the stored one may or may not know of it by now.
#[derive(Debug, Clone)]
pub(crate) struct InFlight {
    /// What is pulled.
    pub image: ImageName,
    /// Layer bytes so far: what a stop now would throw away.
    pub moved: u64,
    /// What the job had moved before.
    pub moved_before: u64,
    /// How many attempts the record had before.
    pub attempts_before: usize,
    /// Since when.
    pub begun: Instant,
}

/// The shared state of one daemon.
pub(crate) struct Context {
    pub engine: Arc<dyn Engine>,
    /// The same engine: what of it stands by our word.
    pub vouched: Arc<Vouched>,
    pub registry: Arc<dyn Registry>,
    pub transfers: Transfers,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub disks: Arc<dyn Disks>,
    /// Called between the steps of a job, with the name of what is done.
    pub at: Arc<dyn Fn(&'static str) + Send + Sync>,
    pub metrics: Metrics,
    pub retention: Retention,
    pub follow: Follow,
    pub version: &'static str,
    pub started: Timestamp,
    /// By this word containers are known that this daemon made to read images by.
    pub owner: String,
    /// The engine instance that was here when the daemon last ran.
    pub engine_before: Option<String>,
    /// Rung when a job was queued.
    pub queued: Notify,
    /// Rung when somebody wants the engine looked at now.
    pub look: Notify,
    /// Changes on the engine that we were told of, or made.
    changes: AtomicU64,
    /// The engine's events are being listened to.
    listening: AtomicBool,
    /// Kept images that nobody has confirmed are to be queued at the next look: at the start, and after a reload.
    pub confirm: AtomicBool,
    /// Containers may be left that images were read by: at the start, when the engine was away, and every hour.
    pub left_open: AtomicBool,
    /// The first look is done, and what it found missing is queued.
    pub looked: AtomicBool,
    /// Rung when the settings changed.
    pub reloaded: Notify,
    /// No new jobs.
    pub stop: CancellationToken,
    in_force: RwLock<InForce>,
    view: RwLock<View>,
    running: Mutex<Option<Running>>,
    kept: Mutex<BTreeMap<ImageName, Kept>>,
    next_runs: Mutex<BTreeMap<ImageName, Timestamp>>,
    last_prune: Mutex<Option<PruneRecord>>,
    /// How often a queued job failed for a cause that may pass; a restart begins anew.
    failures: Mutex<HashMap<JobId, u32>>,
    drift: Mutex<Drift>,
    /// One look at a time: an older one must not be recorded over a newer.
    observing: tokio::sync::Mutex<()>,
    /// What was last taken down of what is here.
    journal: tokio::sync::Mutex<journal::Journal>,
    /// What the engine told since the healer last looked.
    pub told: Mutex<Told>,
    /// What each name that we care for last stood for.
    last_ids: Mutex<HashMap<ImageName, ImageId>>,
    losses: Mutex<BTreeMap<ImageName, Open>>,
    /// Layers to be measured when no job waits.
    studies: Mutex<VecDeque<Study>>,
    tombstones: Mutex<BTreeMap<ImageName, Tombstone>>,
}

/// The doors to the outside, as the composition root hands them in.
pub struct Parts {
    /// The Docker Engine.
    pub engine: Arc<dyn Engine>,
    /// The registries.
    pub registry: Arc<dyn Registry>,
    /// What opens relays; without it every pull is the engine's own.
    pub relays: Option<Relays>,
    /// The database.
    pub store: Store,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The file systems.
    pub disks: Arc<dyn Disks>,
    /// Called between the steps of a job, with the name of what is done: where a test lets the daemon die. See
    /// [`crate::worker::POINTS`].
    pub at: Arc<dyn Fn(&'static str) + Send + Sync>,
    /// The configuration.
    pub settings: Settings,
    /// How much history is kept.
    pub retention: Retention,
    /// This build, such as `0.1.0`.
    pub version: &'static str,
}

impl Context {
    pub async fn new(parts: Parts) -> Result<Self, StartError> {
        let kept = parts.store.kept_states().await?;
        let now = parts.clock.now();
        let tombstones = parts.store.tombstones().await?;
        let boot_id = parts.clock.boot_id();
        let drift = Drift::restored(parts.store.clock().await?, &boot_id, now, parts.clock.boot());
        let quarters = parts.store.quarters().await?.into_iter().collect();
        let last_prune = parts.store.last_prune().await?;
        let engine_before = parts.store.last_engine().await?.map(|engine| engine.instance);
        let vouched = Arc::new(Vouched::new(parts.engine, parts.store.clone()).await?);
        let metrics = Metrics::new(parts.version)?;
        metrics.budgets(&parts.settings.policy.runtime);
        Ok(Self {
            metrics,
            retention: parts.retention,
            follow: Follow::default(),
            version: parts.version,
            started: now,
            owner: parts.store.owner().await?,
            engine_before,
            queued: Notify::new(),
            look: Notify::new(),
            changes: AtomicU64::new(0),
            listening: AtomicBool::new(false),
            confirm: AtomicBool::new(true),
            left_open: AtomicBool::new(true),
            looked: AtomicBool::new(false),
            reloaded: Notify::new(),
            stop: CancellationToken::new(),
            in_force: RwLock::new(InForce::new(parts.settings, quarters, now)),
            view: RwLock::default(),
            running: Mutex::default(),
            kept: Mutex::new(kept.into_iter().map(|state| (state.image.clone(), Kept::from(state))).collect()),
            next_runs: Mutex::default(),
            last_prune: Mutex::new(last_prune),
            failures: Mutex::default(),
            drift: Mutex::new(drift),
            observing: tokio::sync::Mutex::default(),
            journal: tokio::sync::Mutex::default(),
            told: Mutex::default(),
            last_ids: Mutex::default(),
            losses: Mutex::default(),
            studies: Mutex::default(),
            tombstones: Mutex::new(tombstones.into_iter().map(|stone| (stone.image.clone(), stone)).collect()),
            engine: vouched.clone(),
            vouched,
            transfers: Transfers::new(parts.relays),
            registry: Arc::new(Budgeted::new(parts.registry, parts.clock.clone())),
            store: parts.store,
            clock: parts.clock,
            disks: parts.disks,
            at: parts.at,
        })
    }

    /// The engine answers and the first look at it is done.
    pub fn is_ready(&self) -> bool {
        self.looked.load(Ordering::SeqCst) && self.view().error.is_none()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The engine that was last seen; empty where none ever was.
    pub fn instance(&self) -> String {
        let seen = self.view().inventory.map(|inventory| inventory.engine.instance());
        seen.or_else(|| self.engine_before.clone()).unwrap_or_default()
    }

    pub fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn next_runs(&self) -> MutexGuard<'_, BTreeMap<ImageName, Timestamp>> {
        self.next_runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What should be here and is not.
    pub fn open_losses(&self) -> MutexGuard<'_, BTreeMap<ImageName, Open>> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be measured.
    pub fn studies(&self) -> MutexGuard<'_, VecDeque<Study>> {
        self.studies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn last_prune(&self) -> MutexGuard<'_, Option<PruneRecord>> {
        self.last_prune.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure of a job that may be tried again; returns how many there were.
    pub fn count_failure(&self, id: &JobId) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(id.clone()).or_default();
        *count += 1;
        *count
    }

    /// The job has come to its end.
    pub fn forget_failures(&self, id: &JobId) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Compares wall clock and boot time, durably; to be called again and again.
    pub async fn look_at_clocks(&self) {
        let record = {
            let mut drift = self.drift.lock().unwrap_or_else(PoisonError::into_inner);
            drift.look(self.clock.now(), self.clock.boot());
            drift.record(&self.clock.boot_id())
        };
        let Some(record) = record else { return };
        if let Err(error) = self.store.save_clock(record).await {
            tracing::warn!(%error, "could not store what the clocks show");
        }
    }

    /// Why ages cannot be trusted now, if so.
    pub fn clock_doubt(&self) -> Option<String> {
        let settings = self.settings();
        let superseded = match settings.policy.remove_superseded {
            RemoveSuperseded::After(limit) => limit,
            RemoveSuperseded::Never | RemoveSuperseded::OnPressure => Duration::ZERO,
        };
        let longest =
            settings.policy.runtime.iter().map(|runtime| runtime.min_age).max().unwrap_or_default().max(superseded);
        self.drift.lock().unwrap_or_else(PoisonError::into_inner).doubt(self.clock.boot(), longest)
    }

    /// What is remembered of a kept image.
    pub fn kept(&self, image: &ImageName) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(image).cloned()
    }

    /// The digest under which we last verified a kept image here.
    pub fn known_digest(&self, image: &ImageName) -> Option<Digest> {
        self.kept(image).and_then(|kept| kept.state.digest)
    }

    /// Remembers something of a kept image, durably.
    pub async fn remember_kept(&self, image: &ImageName, change: impl FnOnce(&mut Kept)) {
        let state = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = kept.entry(image.clone()).or_insert_with(|| Kept::new(image.clone()));
            change(kept);
            kept.state.clone()
        };
        if let Err(error) = self.store.save_kept(state).await {
            tracing::error!(%image, %error, "could not store the kept image's state");
        }
    }

    /// Queues a job; durable when this returns.
    pub async fn enqueue(
        &self,
        intent: Intent,
        trigger: Trigger,
    ) -> Result<layerkeeper_store::Accepted, layerkeeper_store::StoreError> {
        let accepted = self.store.enqueue(self.new_job(intent, trigger)).await?;
        self.announce(&accepted);
        Ok(accepted)
    }

    /// A job as it enters the queue.
    pub fn new_job(&self, intent: Intent, trigger: Trigger) -> NewJob {
        let mut bits = [0u8; 16];
        // the operating system's random source does not fail once it is up; a fixed id would be caught as a duplicate
        if let Err(error) = getrandom::fill(&mut bits) {
            tracing::error!(%error, "no random numbers");
        }
        NewJob { id: JobId::from_bits(bits), intent, trigger, not_before: None, now: self.now() }
    }

    /// Logs an accepted job, wakes the worker and tells those who follow a superseded one.
    pub fn announce(&self, accepted: &layerkeeper_store::Accepted) {
        let job: &Job = accepted.job();
        if matches!(accepted.enqueued, Enqueued::New(_)) {
            tracing::info!(job = %job.id, intent = %job.intent, trigger = %job.trigger, "queued");
            if job.intent.kind() == JobKind::Deploy {
                // it waits for what is being pulled in the background
                hurry(self);
            }
        } else {
            tracing::info!(job = %job.id, intent = %job.intent, "joined a job that is there already");
        }
        self.tell_superseded(&accepted.superseded, &job.id);
        self.queued.notify_one();
    }

    /// Tells those who follow a job that another took its place.
    pub fn tell_superseded(&self, superseded: &[JobId], by: &JobId) {
        for old in superseded {
            tracing::info!(job = %old, %by, "superseded by a newer deploy of the repository");
            self.forget_failures(old);
            let mut progress = Progress::of_state(JobState::Superseded);
            progress.superseded_by = Some(by.to_string());
            self.follow.publish(old, progress);
        }
    }

    /// Writes into the audit trail what an operator will want to read later.
    pub async fn note(&self, kind: &str, subject: Option<String>, job: Option<&JobId>, message: String) {
        let event = Event {
            at: self.now(),
            kind: kind.to_owned(),
            subject,
            job: job.cloned(),
            message,
            data: serde_json::Value::Null,
        };
        if let Err(error) = self.store.append(event).await {
            tracing::error!(%error, "could not store an event");
        }
    }

    /// The longest time for which a stop waits.
    pub fn stop_timeout(&self) -> Duration {
        self.settings().stop_timeout
    }
}

/// Why the keeper could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Store(#[from] layerkeeper_store::StoreError),
    /// A metric's name is bad or stands twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The scheduler.
    #[error("schedule: {0}")]
    Schedule(String),
}
