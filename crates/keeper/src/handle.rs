//! The handle that the listeners hold: it enqueues and it tells, and does nothing else.

mod keep;

use std::sync::Arc;

use layerkeeper_core::policy::Admission;
use layerkeeper_core::{Digest, ImageName, Intent, Job, JobId, JobState, Policy, Reference, Timestamp, Trigger};
use layerkeeper_store::record::{EstimateRecord, PruneRecord};
use layerkeeper_store::{
    Accepted, ChangeFilter, ChangeRow, Enqueued, Event, EventFilter, JobFilter, JobRow, StoreError, WebhookAccepted,
    WebhookIdRecord,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch as watch_channel;

use crate::context::{Context, Parts, StartError};
use crate::follow::Progress;
use crate::settings::Settings;
use crate::status::{ImageStatus, Status};
use crate::went::{Changed, changed};
use crate::{schedule, tell, watch, worker};

/// What CI or an operator wants deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployRequest {
    /// The tag.
    pub image: ImageName,
    /// The digest it must have, where the sender named one.
    pub digest: Option<Digest>,
    /// It may move more than its repository's `download_limit`.
    pub over_limit: bool,
}

/// An accepted request; durable when this is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployAnswer {
    /// The job: a new one, one that was joined, or the one that this very webhook made before.
    pub job: Job,
    /// It was there already.
    pub joined: bool,
}

/// Why a request was not accepted; nothing was queued.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// 403: not a runtime repository and not a kept image, or a tag that `deploy_tags` does not allow.
    #[error("{0}")]
    Policy(String),
    /// 409: the same webhook id came before with another body.
    #[error("this webhook-id came before with another body; every new request needs an id of its own")]
    IdReused,
    /// 429.
    #[error("the queue is full; try again later")]
    QueueFull,
    /// 503.
    #[error("the daemon is stopping")]
    Stopping,
    /// 404: no such image where one is needed.
    #[error("{0}")]
    NotFound(String),
    /// 502/503: engine or registry did not answer.
    #[error("{0}")]
    Unavailable(String),
    /// 503: the store takes nothing at the moment, such as on a full disk.
    #[error("the request cannot be stored now: {0}")]
    NotStored(String),
    /// 500.
    #[error("the store failed: {0}")]
    Store(String),
}

/// What a pull would move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimated {
    /// The image asked about.
    pub image: String,
    /// What it resolves to now.
    pub digest: String,
    /// The platform it was resolved for.
    pub platform: String,
    /// The digest that the name has here.
    pub digest_here: Option<String>,
    /// Nothing would move: the name has this digest here.
    pub up_to_date: bool,
    /// Per layer and in sum.
    pub estimate: EstimateRecord,
    /// The repository's budget, where it has one.
    pub budget_bytes: Option<u64>,
    /// The repository's `download_limit`, where it has one: a deploy that moves more must say that it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

/// The handle. Clones share one daemon.
#[derive(Clone)]
pub struct Keeper(Arc<Context>);

impl Keeper {
    /// Puts the parts together; nothing runs yet.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn new(parts: Parts) -> Result<Self, StartError> {
        Ok(Self(Arc::new(Context::new(parts).await?)))
    }

    /// Runs worker, schedule and watch until [`Keeper::stop`]; returns when the job in hand has ended or was cut. `beat`
    /// is called from the worker's own loop, about once a second.
    ///
    /// # Errors
    /// The scheduler could not be started.
    pub async fn run(&self, beat: impl Fn() + Send) -> Result<(), StartError> {
        let ctx = &self.0;
        // a schedule that fails ends all, for systemd to start it anew: without it nothing would be refreshed
        let schedule = async {
            let ended = schedule::run(ctx.clone()).await;
            if let Err(error) = &ended {
                tracing::error!(%error, "the schedule failed; stops");
                ctx.stop.cancel();
            }
            ended
        };
        let (_, _, scheduled) = tokio::join!(worker::work(ctx.clone(), beat), watch::watch(ctx.clone()), schedule);
        scheduled
    }

    /// Takes no new job; [`Keeper::run`] returns when the job in hand has ended, at the latest after `stop_timeout`.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Replaces the configuration; a running pull goes on untouched.
    pub fn reload(&self, settings: Settings) {
        self.0.replace_settings(settings);
    }

    /// Accepts a signed webhook's request: durable when this returns.
    ///
    /// # Errors
    /// The policy, the queue or the store says no; nothing is queued then.
    pub async fn accept_webhook(&self, id: WebhookIdRecord, request: DeployRequest) -> Result<DeployAnswer, Refusal> {
        let ctx = &self.0;
        let trigger = Trigger::Webhook(id.id.clone());
        let new = ctx.new_job(self.intent(&request)?, trigger);
        match ctx.store.accept_webhook(id, new).await? {
            WebhookAccepted::Accepted(accepted) => {
                ctx.announce(&accepted);
                Ok(answer(&accepted))
            }
            WebhookAccepted::Seen(id) => match ctx.store.job(&id).await? {
                Some(row) => Ok(DeployAnswer { job: row.job, joined: true }),
                None => Err(Refusal::NotFound("the job of this webhook is no longer kept".to_owned())),
            },
            WebhookAccepted::Conflict => Err(Refusal::IdReused),
        }
    }

    /// Accepts an operator's deploy.
    ///
    /// # Errors
    /// As above.
    pub async fn deploy(&self, request: DeployRequest, uid: u32) -> Result<DeployAnswer, Refusal> {
        let intent = self.intent(&request)?;
        Ok(answer(&self.0.enqueue(intent, Trigger::Operator { uid }).await?))
    }

    /// Queues a prune.
    ///
    /// # Errors
    /// The queue or the store says no.
    pub async fn prune(&self, superseded: bool, uid: u32) -> Result<DeployAnswer, Refusal> {
        Ok(answer(&self.0.enqueue(Intent::Prune { superseded }, Trigger::Operator { uid }).await?))
    }

    /// The very plan that a prune would run now.
    ///
    /// # Errors
    /// The engine or the store does not answer.
    pub async fn plan_prune(&self, superseded: bool) -> Result<PruneRecord, Refusal> {
        let inventory = self.0.observe().await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let (plan, records) = worker::plan_prune(&self.0, inventory, superseded)
            .await
            .map_err(|error| Refusal::Unavailable(error.to_string()))?;
        Ok(worker::prune_record(&plan, records.blocked))
    }

    /// What a pull of this reference would move; nothing is pulled.
    ///
    /// # Errors
    /// Engine or registry do not answer, or there is no such image.
    pub async fn plan(&self, reference: &Reference) -> Result<Estimated, Refusal> {
        worker::estimate(&self.0, reference).await.map_err(|error| match error.is_not_found() {
            true => Refusal::NotFound(error.to_string()),
            false => Refusal::Unavailable(error.to_string()),
        })
    }

    /// One job.
    ///
    /// # Errors
    /// The store fails.
    pub async fn job(&self, id: &JobId) -> Result<Option<JobRow>, Refusal> {
        Ok(self.0.store.job(id).await?)
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRow>, Refusal> {
        Ok(self.0.store.jobs(filter).await?)
    }

    /// Follows a job; none where there is no such job. The last value is final.
    ///
    /// # Errors
    /// The store fails.
    pub async fn follow(&self, id: &JobId) -> Result<Option<watch_channel::Receiver<Progress>>, Refusal> {
        let Some(row) = self.job(id).await? else { return Ok(None) };
        let receiver = self.0.follow.subscribe(id, progress(&row));
        // it may have ended between the look and the subscription, and then nobody would tell
        if let Some(row) = self.job(id).await?
            && row.job.state.is_final()
        {
            self.0.follow.publish(id, progress(&row));
        }
        Ok(Some(receiver))
    }

    /// The audit trail, newest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn events(&self, limit: usize) -> Result<Vec<Event>, Refusal> {
        let rows = self.0.store.events(EventFilter { limit, ..EventFilter::default() }).await?;
        Ok(rows.into_iter().map(|row| row.event).collect())
    }

    /// What names stood for, every change, newest first; of a name that went also how, as far as the trail tells.
    ///
    /// # Errors
    /// The store fails.
    pub async fn changes(&self, filter: ChangeFilter) -> Result<Vec<Changed>, Refusal> {
        let rows = self.0.store.changes(&self.0.instance(), filter).await?;
        Ok(changed(&self.0, rows).await?)
    }

    /// Every name that stood here at an instant, and since when.
    ///
    /// # Errors
    /// The store fails.
    pub async fn names_at(&self, at: Timestamp) -> Result<Vec<ChangeRow>, Refusal> {
        Ok(self.0.store.names_at(&self.0.instance(), at).await?)
    }

    /// Everything at a glance.
    pub async fn status(&self) -> Status {
        tell::status(&self.0).await
    }

    /// All images on the engine, as last seen.
    pub async fn images(&self) -> Vec<ImageStatus> {
        tell::images(&self.0)
    }

    /// The newest time stamp that any webhook ever carried.
    pub fn newest_webhook_time(&self) -> Option<Timestamp> {
        self.0.store.newest_webhook_time()
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::new(self.0.settings().policy.clone())
    }

    /// The engine answers and the first look at it is done.
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    /// Wall clock.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Prometheus' text format.
    pub async fn metrics_text(&self) -> String {
        if let Ok(counts) = self.0.store.job_counts().await {
            for state in JobState::ALL {
                let count = counts.iter().find(|(s, _)| *s == state).map_or(0, |(_, n)| *n);
                let gauge = self.0.metrics.jobs.with_label_values(&[state.as_str()]);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        self.0.metrics.spool_bytes.set(i64::try_from(tell::spooled(&self.0).await).unwrap_or(i64::MAX));
        self.0.metrics.text()
    }

    /// Counts a request to the webhook.
    pub fn count_webhook(&self, outcome: &'static str) {
        self.0.metrics.webhook_requests.with_label_values(&[outcome]).inc();
    }

    fn intent(&self, request: &DeployRequest) -> Result<Intent, Refusal> {
        if self.0.stop.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let image = &request.image;
        if self.0.admits_quarter(image)? {
            return Ok(Intent::Warm { image: image.clone(), digest: request.digest });
        }
        match self.0.settings().policy.admit(image) {
            Admission::Deploy(_) => {
                let over_limit = request.over_limit;
                Ok(Intent::Deploy { image: image.clone(), digest: request.digest, over_limit })
            }
            Admission::Warm(_) => Ok(Intent::Warm { image: image.clone(), digest: request.digest }),
            Admission::TagNotAllowed(runtime) => {
                let allowed: Vec<String> = runtime.deploy_tags.iter().map(ToString::to_string).collect();
                Err(Refusal::Policy(format!(
                    "tag {:?} matches none of deploy_tags ({})",
                    image.tag.as_str(),
                    allowed.join(", ")
                )))
            }
            Admission::Outside => Err(Refusal::Policy(format!(
                "{} is neither a runtime repository nor a kept image of this server",
                image.repository
            ))),
        }
    }
}

fn answer(accepted: &Accepted) -> DeployAnswer {
    DeployAnswer { job: accepted.job().clone(), joined: matches!(accepted.enqueued, Enqueued::Joined(_)) }
}

fn progress(row: &JobRow) -> Progress {
    Progress { superseded_by: row.superseded_by.as_ref().map(ToString::to_string), ..Progress::of_state(row.job.state) }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::QueueFull => Self::QueueFull,
            passing if passing.is_transient() => Self::NotStored(passing.to_string()),
            other => Self::Store(other.to_string()),
        }
    }
}
