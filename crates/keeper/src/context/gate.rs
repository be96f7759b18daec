//! May anything be pruned? Not after the engine was away, until a deploy has succeeded; this outlives a restart.

use layerkeeper_store::PruneGate;

use super::Context;

impl Context {
    /// The engine was away: what it did meanwhile nobody saw, so nothing is removed until a deploy has succeeded. This
    /// outlives a restart of the daemon.
    pub async fn close_prune_gate(&self) {
        self.close_prune_gate_because("the engine was away, and no deploy has succeeded since".to_owned()).await;
    }

    pub(super) async fn close_prune_gate_because(&self, reason: String) {
        let gate = PruneGate { since: self.now(), reason };
        if let Err(error) = self.store.set_prune_gate(Some(gate)).await {
            tracing::error!(%error, "could not store that the engine was away");
        }
    }

    /// A deploy has succeeded.
    pub async fn open_prune_gate(&self) {
        if let Err(error) = self.store.set_prune_gate(None).await {
            tracing::error!(%error, "could not store that the engine is trusted again");
        }
    }
}
