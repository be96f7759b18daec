//! What is seen of the engine: looks, what they leave behind, and for how long they stand.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use layerkeeper_core::plan::{Remote, judge_kept};
use layerkeeper_core::{Image, ImageId, ImageName, Inventory, JobId, Timestamp};
use layerkeeper_engine::EngineError;
use layerkeeper_store::{DeployRow, Sighting, StoreError};
use tokio::time::Instant;

use super::Context;
use crate::kept::Kept;
use crate::unlisted;

/// For so long what was seen may stand for what is, while the engine's events are silent: not everything that changes a
/// containerd store makes the engine tell.
const VIEW_AGE: Duration = Duration::from_secs(90);

/// The engine as last seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The last inventory; kept when the engine goes away, for people to look at.
    pub inventory: Option<Arc<Inventory>>,
    /// When that was.
    pub seen_at: Option<Timestamp>,
    /// Why the last look failed.
    pub error: Option<String>,
    /// When it began, and how many changes we had been told of then.
    looked: Option<(Instant, u64)>,
}

impl Context {
    /// Something has changed on the engine, or is about to: what was seen no longer holds.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// From here on the engine's events reach us, or no longer do.
    pub fn listens(&self, listening: bool) {
        self.changed();
        self.listening.store(listening, Ordering::SeqCst);
    }

    /// What was last seen, where the engine's events say that nothing has changed since.
    pub fn unchanged(&self) -> Option<Arc<Inventory>> {
        let changes = self.changes.load(Ordering::SeqCst);
        self.recent().filter(|(told, _)| *told == changes).map(|(_, inventory)| inventory)
    }

    /// What was seen not long ago, with how many changes we had been told of then. The engine's events reach us, so that
    /// whatever somebody else has done since is looked at within a moment.
    fn recent(&self) -> Option<(u64, Arc<Inventory>)> {
        let view = self.view();
        let (at, changes) = view.looked.filter(|_| view.error.is_none() && self.listening.load(Ordering::SeqCst))?;
        view.inventory.filter(|_| at.elapsed() < VIEW_AGE).map(|inventory| (changes, inventory))
    }

    async fn look_at_engine(&self) -> Result<Inventory, EngineError> {
        let mut inventory = self.engine.inventory().await?;
        unlisted::add(self, &mut inventory).await?;
        Ok(inventory)
    }

    /// What was last seen, where the engine's events are silent since and all of it proves to be here still; else looks.
    /// Events alone would not do: the containerd store is pruned without one.
    pub async fn confirm(&self) -> Result<Arc<Inventory>, EngineError> {
        self.confirmed(self.unchanged()).await
    }

    /// The same where the changes since are this job's own, which it knows.
    pub async fn confirm_rest(&self) -> Result<Arc<Inventory>, EngineError> {
        self.confirmed(self.recent().map(|(_, known)| known)).await
    }

    /// `known`, which was seen with no change told of since, where the images that matter prove to be here still; else looks.
    pub async fn confirm_some(
        &self,
        known: Arc<Inventory>,
        matters: impl Fn(&Image) -> bool,
    ) -> Result<Arc<Inventory>, EngineError> {
        let images = known.images.iter().filter(|image| matters(image)).cloned().collect();
        let some = Inventory { engine: known.engine.clone(), images, containers: Vec::new() };
        if matches!(self.engine.still_holds(&some).await, Ok(true)) {
            return Ok(known);
        }
        self.observe().await
    }

    async fn confirmed(&self, known: Option<Arc<Inventory>>) -> Result<Arc<Inventory>, EngineError> {
        if let Some(known) = known
            && matches!(self.engine.still_holds(&known).await, Ok(true))
            && self.engine.containers().await.is_ok_and(|now| now == known.containers)
        {
            return Ok(known);
        }
        // an engine that did not answer is told and remembered as one here
        self.observe().await
    }

    /// Looks at the engine: reads the inventory, records which runtime tags are here, and renews what people see.
    pub async fn observe(&self) -> Result<Arc<Inventory>, EngineError> {
        let _one_at_a_time = self.observing.lock().await;
        let looked = Some((Instant::now(), self.changes.load(Ordering::SeqCst)));
        // before the look: what it finds must not seem younger than it is
        let now = self.now();
        let result = self.look_at_engine().await;
        let was_down = self.view().error.is_some();
        match result {
            Ok(inventory) => {
                let inventory = Arc::new(inventory);
                self.notice_another_engine(&inventory.engine.instance()).await;
                if was_down {
                    self.close_prune_gate().await;
                    tracing::info!(images = inventory.images.len(), "the engine answers again");
                }
                self.show(&inventory, now, looked).await;
                Ok(inventory)
            }
            Err(error) => {
                if !was_down {
                    tracing::warn!(%error, "the engine cannot be looked at");
                }
                self.view.write().unwrap_or_else(PoisonError::into_inner).error = Some(error.to_string());
                self.metrics.engine_up.set(0);
                Err(error)
            }
        }
    }

    /// Adds the image that got its name while `seen` was asked for.
    pub async fn observed(&self, seen: &Inventory, image: &Image) -> Arc<Inventory> {
        let _one_at_a_time = self.observing.lock().await;
        let mut inventory = seen.clone();
        inventory.put(image.clone());
        let inventory = Arc::new(inventory);
        // an engine that went away since must not seem to have been here all the time: pruning would go on
        if self.view().error.is_none() {
            self.show(&inventory, self.now(), None).await;
        }
        inventory
    }

    /// Records which runtime tags are here, and renews what people see.
    async fn show(&self, inventory: &Arc<Inventory>, at: Timestamp, looked: Option<(Instant, u64)>) {
        self.remember_ids(inventory);
        self.record_sightings(inventory, at).await;
        self.record_changes(inventory, at).await;
        let view = View { inventory: Some(inventory.clone()), seen_at: Some(at), error: None, looked };
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        self.metrics.engine_up.set(1);
        self.renew_gauges(inventory);
    }

    /// Another image store or data root than at the last look: what a deploy once made sure of there is long ago.
    async fn notice_another_engine(&self, instance: &str) {
        let before = self.view().inventory.map(|inventory| inventory.engine.instance());
        let before = before.or_else(|| self.engine_before.clone());
        if before.is_some_and(|before| before != instance) {
            let reason = "the engine shows another image store or data root, and no deploy has succeeded since";
            self.close_prune_gate_because(reason.to_owned()).await;
        }
    }

    /// Records a deploy, between two looks: one that began before it would take the new name for gone, and the containerd
    /// store does not list every image, so that nobody would ask for it again.
    pub async fn record_deploy(&self, job: &JobId, deploy: DeployRow) -> Result<u64, StoreError> {
        let _between_looks = self.observing.lock().await;
        self.store.record_deploy(job, deploy, self.now()).await
    }

    /// What the name stood for when it was last seen.
    pub fn last_id(&self, name: &ImageName) -> Option<ImageId> {
        self.last_ids.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    fn remember_ids(&self, inventory: &Inventory) {
        let policy = &self.settings().policy;
        let mut last = self.last_ids.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|name, _| policy.knows(&name.repository));
        for image in &inventory.images {
            let known = image.names.iter().filter(|name| policy.knows(&name.repository));
            last.extend(known.map(|name| (name.clone(), image.id)));
        }
    }

    async fn record_sightings(&self, inventory: &Inventory, now: Timestamp) {
        let settings = self.settings();
        let mut seen = Vec::new();
        for image in &inventory.images {
            let held = inventory.holders(image).next().is_some();
            let ours = image.names.iter().filter(|name| settings.policy.runtime(&name.repository).is_some());
            seen.extend(ours.map(|name| Sighting { name: name.clone(), image: image.id, held }));
        }
        if let Err(error) = self.store.observe_names(&inventory.engine.instance(), seen, now).await {
            tracing::error!(%error, "could not store which tags are here");
        }
    }

    /// What the metrics say of kept images.
    pub fn renew_gauges(&self, inventory: &Inventory) {
        let settings = self.settings();
        self.metrics.kept_present.reset();
        self.metrics.kept_refreshed.reset();
        self.metrics.kept_unmet.reset();
        let forgotten: Vec<_> = self.buried().keys().cloned().collect();
        for keep in settings.policy.keep.iter().filter(|keep| !forgotten.contains(&keep.image)) {
            let kept = self.kept(&keep.image).unwrap_or_else(|| Kept::new(keep.image.clone()));
            let verdict = judge_kept(keep, inventory, &Remote::Unknown, kept.state.digest);
            let label = [&*keep.image.to_string()];
            self.metrics.kept_present.with_label_values(&label).set(i64::from(kept.is_present(keep, &verdict)));
            if kept.state.checked.iter().any(|checked| checked.is_of(&keep.expect)) {
                let unmet = kept.state.unmet(&keep.expect).map_or(0, |checked| checked.unmet.len());
                self.metrics.kept_unmet.with_label_values(&label).set(unmet as i64);
            }
            if let Some(at) = kept.state.last_refresh {
                self.metrics.kept_refreshed.with_label_values(&label).set(at.seconds() as f64);
            }
        }
    }
}
