//! A job in hand: the job, its growing record, and what it needs around it.

use std::sync::Arc;
use std::time::Duration;

use layerkeeper_core::job::JobKind;
use layerkeeper_core::{Bytes, Image, ImageName, Inventory, Job, JobState};
use layerkeeper_engine::EngineError;
use layerkeeper_store::StoreError;
use layerkeeper_store::record::{Outcome, PullRecord};
use tokio::time::Instant;

use crate::context::{Context, InFlight};
use crate::follow::{Phase, Progress};
use crate::job_error::JobError;

/// A job in hand.
pub(super) struct Run<'a> {
    pub ctx: &'a Context,
    pub job: Job,
    pub outcome: Outcome,
    /// What this job last saw of the engine, and when.
    seen: Option<(Instant, Arc<Inventory>)>,
    /// It has changed something on the engine, or tried to.
    pub changed: bool,
}

/// Within this time a job need not look at the engine again that it has not changed. On the containerd store a look takes
/// 100 ms and more, and a deploy would look once for each kept image.
const LOOK_AGE: Duration = Duration::from_secs(1);

impl<'a> Run<'a> {
    /// Takes up the job with what earlier attempts left in its record; waits for a store that cannot be read now.
    pub async fn begin(ctx: &'a Context, job: Job) -> Self {
        let mut pause = Duration::from_secs(1);
        let row = loop {
            match ctx.store.job(&job.id).await {
                Ok(row) => break row,
                Err(error) => {
                    tracing::error!(job = %job.id, %error, pause_s = pause.as_secs(), "could not read the job's record; tries again")
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(30));
        };
        let mut outcome = row.map(|row| row.outcome).unwrap_or_default();
        outcome.error = None;
        outcome.warnings.clear();
        Self { ctx, job, outcome, seen: None, changed: false }
    }

    /// Looks at the engine.
    pub async fn look(&mut self) -> Result<Arc<Inventory>, EngineError> {
        // before the look: it must not seem younger than it is
        let at = Instant::now();
        let inventory = self.ctx.observe().await?;
        self.seen = Some((at, inventory.clone()));
        Ok(inventory)
    }

    /// What the engine holds, by its events where they are silent, else by looking. For deciding what to bring, not for
    /// what goes or is done: events come a moment late.
    pub async fn known(&mut self) -> Result<Arc<Inventory>, EngineError> {
        match self.ctx.unchanged() {
            Some(inventory) => Ok(inventory),
            None => self.look().await,
        }
    }

    /// What this very job saw a moment ago, where it has changed nothing since; else asks the engine again.
    pub async fn glance(&mut self) -> Result<Arc<Inventory>, EngineError> {
        if let Some((at, inventory)) = &self.seen
            && at.elapsed() < LOOK_AGE
        {
            return Ok(inventory.clone());
        }
        let at = Instant::now();
        let inventory = self.ctx.confirm().await?;
        self.seen = Some((at, inventory.clone()));
        Ok(inventory)
    }

    /// Takes for seen what was asked for at `at`, beside the naming of `image`, and the image.
    pub async fn saw(&mut self, at: Instant, inventory: &Inventory, image: &Image) {
        self.seen = Some((at, self.ctx.observed(inventory, image).await));
    }

    /// From here on what was seen no longer holds: this job changes something on the engine.
    pub fn changes(&mut self) {
        self.seen = None;
        self.changed = true;
        self.ctx.changed();
    }

    /// Tells the followers what is being done.
    pub fn phase(&self, phase: Phase) {
        self.ctx.follow.publish(&self.job.id, Progress { phase, ..Progress::of_state(JobState::Running) });
    }

    /// Tells the followers how far a pull is.
    pub fn pulling(&self, progress: Progress) {
        self.ctx.follow.publish(&self.job.id, progress);
    }

    /// Tells a possible stop how far a pull is.
    pub fn in_flight(&self, pull: Option<InFlight>) {
        if let Some(running) = self.ctx.running().as_mut() {
            running.in_flight = pull;
        }
    }

    /// Makes what the record holds so far durable.
    pub async fn save(&self) -> Result<(), StoreError> {
        self.ctx.store.save_outcome(&self.job.id, &self.outcome).await
    }

    /// Something went wrong that does not fail the job.
    pub fn warn(&mut self, text: String) {
        tracing::warn!(job = %self.job.id, intent = %self.job.intent, "{text}");
        self.outcome.warnings.push(text);
    }

    /// The job waits and will be tried again.
    pub fn waits(&mut self, error: &JobError) {
        self.outcome.error = Some(error.record());
    }

    /// The job has failed.
    pub fn fail(&mut self, error: &JobError) {
        self.outcome.error = Some(error.record());
    }

    /// What failed attempts moved that no report lists is counted once, at the job's end.
    pub fn count_waste(&self) {
        for attempt in &self.outcome.attempts {
            let Ok(image) = attempt.image.parse::<ImageName>() else { continue };
            let own = self.job.intent.image() == Some(&image);
            let kind = if own { self.job.intent.kind() } else { JobKind::Warm };
            self.ctx.metrics.wasted(&image.repository, kind, attempt.moved_bytes);
        }
    }

    /// The job's outcome in one sentence.
    pub fn summarise(&mut self, state: JobState) {
        self.outcome.summary = match (&self.outcome.error, &self.outcome.pull, &self.outcome.prune) {
            (Some(error), ..) => format!("{}: {}", state, error.message),
            (None, Some(pull), _) => sentence(pull, self.outcome.prune.as_ref().map_or(0, gone)),
            (None, None, Some(prune)) if self.job.intent.image().is_none() => {
                format!("removed {} of {} names, freed {}", gone(prune), considered(prune), Bytes(prune.freed_bytes))
            }
            // a newer quarter came in the place of the image that the job was about
            _ => match (self.outcome.kept.last(), self.outcome.warnings.last()) {
                (Some(pull), _) => format!("{}: {}", pull.image, sentence(pull, 0)),
                (None, Some(warning)) => format!("already here; nothing moved; {warning}"),
                (None, None) => "already here; nothing moved".to_owned(),
            },
        };
    }
}

fn gone(prune: &layerkeeper_store::record::PruneRecord) -> usize {
    prune.removals.iter().filter(|r| matches!(&*r.outcome, "removed" | "untagged")).count()
}

fn considered(prune: &layerkeeper_store::record::PruneRecord) -> usize {
    prune.removals.len() + prune.kept.len()
}

fn sentence(pull: &PullRecord, pruned: usize) -> String {
    let moved = pull.layers.iter().filter(|layer| layer.source == "downloaded").count();
    let mut text = format!(
        "moved {} in {moved} of {} layers, reused {}",
        Bytes(pull.downloaded_bytes),
        pull.layers.len(),
        Bytes(pull.reused_bytes)
    );
    if pull.wasted_bytes > 0 {
        text.push_str(&format!(", wasted {} in failed attempts", Bytes(pull.wasted_bytes)));
    }
    match pruned {
        0 => {}
        1 => text.push_str("; pruned 1 old name"),
        more => text.push_str(&format!("; pruned {more} old names")),
    }
    text
}
