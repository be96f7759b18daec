//! Everything that a removal is judged by, read at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use layerkeeper_core::layers::LayerRecord;
use layerkeeper_core::plan::{MadeName, NameHistory, PruneQuestion, SupersededDigest};
use layerkeeper_core::{ImageName, Inventory, Timestamp};

use crate::context::Context;
use crate::job_error::JobError;
use crate::settings::Settings;

/// What is here, what is wanted, and what our own record says.
pub(crate) struct Records {
    pub inventory: Arc<Inventory>,
    pub settings: Arc<Settings>,
    pub layers: Vec<LayerRecord>,
    pub superseded: Vec<SupersededDigest>,
    /// Why nothing may be removed now.
    pub blocked: Option<String>,
    history: BTreeMap<ImageName, NameHistory>,
    made: Vec<MadeName>,
    doubt: Option<String>,
    now: Timestamp,
}

impl Records {
    /// Reads them.
    pub async fn read(ctx: &Context, inventory: Arc<Inventory>) -> Result<Self, JobError> {
        let instance = inventory.engine.instance();
        // before the clocks are compared: a jump after that is not in it
        let now = ctx.now();
        ctx.look_at_clocks().await;
        Ok(Self {
            settings: ctx.settings(),
            layers: ctx.store.layer_records(&instance).await?,
            superseded: ctx.store.superseded(&instance).await?.into_iter().map(SupersededDigest::from).collect(),
            blocked: blocked(ctx, &instance).await?,
            history: ctx.store.name_history(&instance).await?,
            made: ctx.store.made(&instance).await?.into_iter().map(MadeName::from).collect(),
            doubt: ctx.clock_doubt(),
            now,
            inventory,
        })
    }

    /// As the planner wants it. `superseded_now`: the operator asks for the superseded digests this once.
    pub fn question(&self, superseded_now: bool) -> PruneQuestion<'_> {
        PruneQuestion {
            inventory: &self.inventory,
            policy: &self.settings.policy,
            history: &self.history,
            made: &self.made,
            superseded: &self.superseded,
            superseded_now,
            layers: &self.layers,
            blocked: self.blocked.as_deref(),
            clock_doubt: self.doubt.as_deref(),
            now: self.now,
        }
    }
}

/// Why nothing may be removed now.
pub(crate) async fn blocked(ctx: &Context, instance: &str) -> Result<Option<String>, JobError> {
    // where nothing is ever deployed, only superseded digests can go, each behind its verified successor
    if !ctx.settings().policy.runtime.is_empty() && !ctx.store.has_deployed_on(instance).await? {
        return Ok(Some("no deploy has succeeded on this engine yet".to_owned()));
    }
    Ok(ctx.store.prune_gate().await?.map(|gate| gate.reason))
}
