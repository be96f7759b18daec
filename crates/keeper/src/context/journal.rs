//! The record of what each name on the engine stood for, and when: what is here now is told from what was here, and only
//! what changed is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use layerkeeper_core::{Image, Inventory, Timestamp};
use layerkeeper_store::{Change, Standing};

use super::Context;

/// What was last taken down of one engine.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    instance: String,
    standing: BTreeMap<String, Standing>,
    /// What was taken down last: most looks see the same again.
    last: Option<Arc<Inventory>>,
}

impl Context {
    /// Takes down what has changed since the last look.
    pub(super) async fn record_changes(&self, inventory: &Arc<Inventory>, now: Timestamp) {
        let instance = inventory.engine.instance();
        let mut journal = self.journal.lock().await;
        if journal.instance != instance {
            match self.store.standing(&instance).await {
                Ok(standing) => *journal = Journal { instance: instance.clone(), standing, last: None },
                Err(error) => return tracing::error!(%error, "could not read what was here before"),
            }
        }
        if journal.last.as_ref().is_some_and(|last| last.images == inventory.images) {
            journal.last = Some(inventory.clone());
            return;
        }
        let here = standing(inventory);
        let changes = differences(&journal.standing, &here);
        if changes.is_empty() {
            journal.last = Some(inventory.clone());
            return;
        }
        let is_new = |image: &&Image| changes.iter().any(|c| c.to.as_ref().is_some_and(|to| to.image == image.id));
        let stacks = inventory.images.iter().filter(is_new).map(|image| (image.id, image.layers.clone())).collect();
        let job = self.running().as_ref().map(|running| running.id.clone());
        match self.store.record_changes(&instance, changes, stacks, job, now).await {
            Ok(()) => (journal.standing, journal.last) = (here, Some(inventory.clone())),
            // the next look finds the same differences
            Err(error) => tracing::error!(%error, "could not store what has changed on the engine"),
        }
    }
}

/// Every tag, and the digest rows of images that have none.
fn standing(inventory: &Inventory) -> BTreeMap<String, Standing> {
    let mut standing = BTreeMap::new();
    for image in &inventory.images {
        for name in &image.names {
            let digest = image.digests_in(&name.repository).next();
            standing.insert(name.to_string(), Standing { image: image.id, digest });
        }
        if image.names.is_empty() {
            for (repository, digest) in &image.digests {
                let row = repository.by_digest(*digest).to_string();
                standing.insert(row, Standing { image: image.id, digest: Some(*digest) });
            }
        }
    }
    standing
}

fn differences(before: &BTreeMap<String, Standing>, here: &BTreeMap<String, Standing>) -> Vec<Change> {
    let came = here.iter().filter(|(name, to)| before.get(*name) != Some(to));
    let came = came.map(|(name, to)| Change { name: name.clone(), to: Some(to.clone()) });
    let went = before.keys().filter(|name| !here.contains_key(*name));
    came.chain(went.map(|name| Change { name: name.clone(), to: None })).collect()
}
