//! The healer: what somebody took away becomes a job that brings it back. It compares and queues; only the worker pulls.
//!
//! Events make it look sooner and tell by which call an image went; what is missing it knows from the list alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use layerkeeper_core::plan::{Cause, HealQuestion, Loss, Told, losses};
use layerkeeper_core::{Digest, ImageId, ImageName, Intent, Inventory, JobId, JobState, Timestamp, Trigger};
use layerkeeper_engine::{EngineError, EngineEvent};
use layerkeeper_store::{Heal, StoreError};
use tokio::time::{Instant, sleep};

use crate::context::Context;
use crate::status::LossStatus;
use crate::went::LOST;

/// So often within a day may others take an image away before healing it slows down to once an hour.
const PATIENCE: usize = 3;
const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
/// So late a word may come of how something went.
const LATE: Duration = Duration::from_secs(2);
/// After a job that failed, the first pause; each further one is twice as long, up to an hour.
const PAUSE: Duration = Duration::from_secs(60);

/// An image that should be here and is not, since when, and what is being done about it.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    /// Which.
    pub loss: Loss,
    /// How it went.
    pub cause: Cause,
    /// When that was seen.
    pub at: Timestamp,
    /// The job that is to bring it back.
    job: Option<JobId>,
    /// Jobs that failed at it.
    failed: u32,
    /// No further job before this.
    pub next: Timestamp,
    /// It was taken away so often that healing has slowed down.
    pub slowed: bool,
}

/// What the last look saw.
#[derive(Debug)]
pub(crate) struct Before {
    /// There was none.
    first: bool,
    /// The engine instance; from the database before the first look.
    instance: Option<String>,
}

impl Before {
    /// Nothing but what the database remembered at the start: which engine it was.
    pub fn start(ctx: &Context) -> Self {
        Self { first: true, instance: ctx.engine_before.clone() }
    }
}

fn told(ctx: &Context) -> MutexGuard<'_, Told> {
    ctx.told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes note of what may explain a loss.
pub(crate) fn heard(ctx: &Context, event: &EngineEvent) {
    let heard = &mut told(ctx).since;
    match event {
        EngineEvent::Prune => heard.prune = true,
        EngineEvent::Untag { id } => heard.untagged.extend(id.parse::<ImageId>().ok()),
        EngineEvent::Delete { id } => heard.deleted.extend(id.parse::<ImageId>().ok()),
        EngineEvent::Appeared { .. } | EngineEvent::Container => {}
    }
}

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looked {
    /// What is missing is queued.
    Done,
    /// Something has just gone, and maybe more is about to: wait for a word of how, and look once more.
    Again,
}

/// Looks at the engine: what it told so far, this look shows.
pub(crate) async fn observe(ctx: &Context) -> Result<Arc<Inventory>, EngineError> {
    told(ctx).look_begins();
    ctx.observe().await
}

/// Compares what is here with what should be, and queues what is missing. A `patient` look waits where a prune may be under
/// way: it takes image after image, and says only at its end that it was one.
///
/// # Errors
/// The store does not answer; the next look does it again.
pub(crate) async fn look(
    ctx: &Context,
    before: &mut Before,
    inventory: &Inventory,
    patient: bool,
) -> Result<Looked, StoreError> {
    let instance = inventory.engine.instance();
    let change = before.instance.as_deref().and_then(|was| Cause::of_change(was, &inventory.engine));
    if let Some(change) = change {
        tracing::warn!(was = before.instance, is = instance, "{change}: {}", change.sentence());
        ctx.note("engine changed", None, None, change.sentence().to_owned()).await;
    }
    let lost = missing(ctx, inventory, &instance).await?;
    close_what_is_back(ctx, &lost).await?;
    let just_gone = |loss: &Loss| loss.was_here && !ctx.open_losses().contains_key(&loss.image);
    if patient && change.is_none() && !before.first && !has_pruned(ctx) && lost.iter().any(just_gone) {
        return Ok(Looked::Again);
    }
    let heard = told(ctx).heard();
    let mut explained = BTreeSet::new();
    for loss in lost {
        if !ctx.open_losses().contains_key(&loss.image) {
            let cause = change.unwrap_or_else(|| heard.cause(ctx.last_id(&loss.image)));
            open(ctx, loss.clone(), cause).await?;
            explained.insert(cause);
        }
        queue_if_due(ctx, &loss.image, before.first).await?;
    }
    told(ctx).look_ends(&explained);
    *before = Before { first: false, instance: Some(instance) };
    Ok(Looked::Done)
}

fn has_pruned(ctx: &Context) -> bool {
    told(ctx).heard().prune
}

/// Waits for the word that a prune gives at its end, for a while.
pub(crate) async fn hear_out(ctx: &Context) {
    let begun = Instant::now();
    while begun.elapsed() < LATE && !has_pruned(ctx) {
        sleep(LATE / 20).await;
    }
}

async fn missing(ctx: &Context, inventory: &Inventory, instance: &str) -> Result<Vec<Loss>, StoreError> {
    let settings = ctx.settings();
    let known: BTreeMap<ImageName, Digest> = settings
        .policy
        .keep
        .iter()
        .filter_map(|keep| Some((keep.image.clone(), ctx.known_digest(&keep.image)?)))
        .collect();
    let restorable = ctx.store.restorable(instance).await?;
    let restorable: Vec<_> = restorable.into_iter().map(|tag| (tag.image, tag.digest)).collect();
    let buried = ctx.buried().keys().cloned().collect();
    let policy = &settings.policy;
    Ok(losses(&HealQuestion { inventory, policy, known: &known, restorable: &restorable, buried: &buried }))
}

/// Somebody else brought it back, or it is wanted no longer. What a job of ours brings back, [`back`] closes.
async fn close_what_is_back(ctx: &Context, lost: &[Loss]) -> Result<(), StoreError> {
    let still: BTreeSet<&ImageName> = lost.iter().map(|loss| &loss.image).collect();
    let open: Vec<Open> =
        ctx.open_losses().values().filter(|open| !still.contains(&open.loss.image)).cloned().collect();
    for Open { loss, job, .. } in open {
        let row = match &job {
            Some(id) => ctx.store.job(id).await?,
            None => None,
        };
        if row.is_none_or(|row| row.job.state.is_final()) && ctx.open_losses().remove(&loss.image).is_some() {
            tracing::info!(image = %loss.image, "is no longer missing");
        }
    }
    Ok(())
}

async fn open(ctx: &Context, loss: Loss, cause: Cause) -> Result<(), StoreError> {
    let now = ctx.now();
    let image = loss.image.clone();
    let mut next = now;
    let mut slowed = false;
    if loss.was_here {
        let earlier = ctx.store.heals_since(now.minus(DAY)).await?;
        let earlier: Vec<Timestamp> = earlier.iter().filter(|heal| heal.image == image).map(|heal| heal.at).collect();
        slowed = earlier.len() >= PATIENCE;
        if let Some(last) = earlier.last().filter(|_| slowed) {
            next = last.plus(HOUR).max(now);
        }
        let heal = Heal { image: image.clone(), at: now, cause: cause.as_str().to_owned(), by: None };
        ctx.store.record_heal(heal).await?;
        tracing::warn!(%image, %cause, slowed, "is gone: {}", cause.sentence());
        ctx.note(LOST, Some(image.to_string()), None, format!("{cause}: {}", cause.sentence())).await;
    }
    ctx.open_losses().insert(image, Open { loss, cause, at: now, job: None, failed: 0, next, slowed });
    Ok(())
}

async fn queue_if_due(ctx: &Context, image: &ImageName, first: bool) -> Result<(), StoreError> {
    let Some(mut lost) = ctx.open_losses().get(image).cloned() else { return Ok(()) };
    if let Some(id) = &lost.job {
        let row = ctx.store.job(id).await?;
        if row.as_ref().is_some_and(|row| !row.job.state.is_final()) {
            return Ok(());
        }
        lost.job = None;
        lost.failed += 1;
        lost.next = ctx.now().plus(pause(lost.failed));
        let error = row.filter(|row| row.job.state != JobState::Succeeded).and_then(|row| row.outcome.error);
        if error.is_some_and(|error| error.class == "not_found") && !lost.loss.kept {
            let reason = "the registry no longer has it".to_owned();
            tracing::warn!(%image, "is not brought back any more: {reason}");
            ctx.open_losses().remove(image);
            return ctx.bury(image, "layerkeeper".to_owned(), reason).await;
        }
        tracing::warn!(%image, failed = lost.failed, next = %lost.next, "could not be brought back; waits");
    }
    if lost.job.is_none() && lost.is_due(ctx.now()) {
        let trigger = if first { Trigger::Start } else { Trigger::Event };
        let image = image.clone();
        let intent = if lost.loss.was_here { Intent::Heal { image } } else { Intent::Warm { image, digest: None } };
        let accepted = ctx.enqueue(intent, trigger).await?;
        lost.job = Some(accepted.job().id.clone());
    }
    ctx.open_losses().insert(image.clone(), lost);
    Ok(())
}

/// Exponential, with the upper half at random: 30 to 60 s, 1 to 2 min … half an hour to an hour.
fn pause(failed: u32) -> Duration {
    let most = PAUSE.saturating_mul(1 << failed.saturating_sub(1).min(6)).min(HOUR);
    let mut random = [0u8; 2];
    let share =
        if getrandom::fill(&mut random).is_ok() { f64::from(u16::from_le_bytes(random)) / 65536.0 } else { 0.5 };
    most.mul_f64(0.5 + share / 2.0)
}

/// A job of ours brought it back: the loss is closed and counted.
pub(crate) async fn back(ctx: &Context, image: &ImageName, job: &JobId) {
    let Some(lost) = ctx.open_losses().remove(image) else { return };
    if !lost.loss.was_here {
        return;
    }
    ctx.metrics.heals.with_label_values(&[&*image.to_string(), lost.cause.as_str()]).inc();
    let told = format!("it was gone ({}): {}; it is back", lost.cause, lost.cause.sentence());
    tracing::info!(%image, %job, cause = %lost.cause, "healed");
    ctx.note("healed", Some(image.to_string()), Some(job), told).await;
}

impl Open {
    /// No pause is longer than an hour: one that is further ahead was set before the clock was set back.
    fn is_due(&self, now: Timestamp) -> bool {
        self.next <= now || self.next - now > HOUR
    }

    /// As `/v1/status` shows it.
    pub fn status(&self) -> LossStatus {
        let (cause, said) = match self.loss.was_here {
            true => (self.cause.as_str(), self.cause.sentence()),
            false => ("never here", "it has not come yet"),
        };
        LossStatus {
            image: self.loss.image.to_string(),
            kept: self.loss.kept,
            cause: cause.to_owned(),
            said: said.to_owned(),
            at: self.at.0,
            next_try: self.job.is_none().then_some(self.next.0),
            slowed: self.slowed,
        }
    }
}
