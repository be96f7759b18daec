//! Removes what a plan names, one name at a time, each judged once more right before its call.

use std::collections::HashSet;

use layerkeeper_core::plan::space::Space;
use layerkeeper_core::plan::{Removal, RemovalReason};
use layerkeeper_core::{Bytes, ImageId, ImageName, Inventory, Reference, Selector};
use layerkeeper_engine::EngineError;
use layerkeeper_store::record::RemovalRecord;

use crate::context::Context;
use crate::went::PRUNED;
use crate::worker::run::Run;

/// How a tombstone of our own making begins.
pub(crate) const REMOVED: &str = "removed: ";

/// Removals under way on an engine that held this.
pub(super) struct Removals<'a> {
    inventory: &'a Inventory,
    /// What is still here, for what a removal really frees.
    space: Space,
    /// Names that went.
    went: HashSet<Reference>,
}

impl<'a> Removals<'a> {
    /// None so far.
    pub fn new(inventory: &'a Inventory, space: Space) -> Self {
        Self { inventory, space, went: HashSet::new() }
    }

    /// Carries out one removal; its record says how it ended. One that fails never stops the rest.
    pub async fn remove(&mut self, run: &mut Run<'_>, removal: &Removal) -> RemovalRecord {
        run.changes();
        let (outcome, detail) = match removal.reason.what() {
            // somebody else has moved the tag meanwhile: what it left behind is no longer ours to judge by its age
            RemovalReason::OwnRow { of } if !self.went.contains(&of.to_reference()) => {
                ("skipped", format!("{of} did not go"))
            }
            _ => bury_and_remove(run.ctx, removal).await,
        };
        let image = self.inventory.images.iter().find(|image| image.id == removal.image);
        let freed = match (outcome, image) {
            ("removed", Some(image)) => self.space.remove(image),
            _ => Bytes::ZERO,
        };
        let record = RemovalRecord {
            name: removal.name.to_string(),
            image_id: removal.image.to_string(),
            reason: removal.reason.to_string(),
            freed_bytes: freed.0,
            outcome: outcome.to_owned(),
            detail,
        };
        tracing::info!(
            job = %run.job.id, name = record.name, reason = record.reason, outcome, detail = record.detail,
            freed_bytes = record.freed_bytes, "goes"
        );
        if matches!(outcome, "removed" | "untagged") {
            self.went.insert(removal.name.clone());
            after(run, removal, &record, &self.inventory.engine.instance()).await;
        }
        record
    }
}

/// A tag's tombstone is set before it goes: were we killed in between, it would look lost and be healed.
async fn bury_and_remove(ctx: &Context, removal: &Removal) -> (&'static str, String) {
    let Selector::Tag(tag) = &removal.name.selector else { return remove(ctx, removal).await };
    let name = removal.name.repository.tagged(tag.clone());
    let earlier = ctx.buried().get(&name).cloned();
    if let Err(error) = ctx.bury(&name, "layerkeeper".to_owned(), format!("{REMOVED}{}", removal.reason.what())).await {
        return ("failed", error.to_string());
    }
    let (outcome, detail) = remove(ctx, removal).await;
    if matches!(outcome, "held" | "skipped")
        && let Err(error) = ctx.unbury(&name, earlier).await
    {
        tracing::error!(image = %name, %error, "could not store that it stays: it is healed only after a new deploy of it");
    }
    (outcome, detail)
}

/// Judges once more by a container list read now, then removes by name. 409 and 404 are outcomes, not errors.
async fn remove(ctx: &Context, removal: &Removal) -> (&'static str, String) {
    match holder(ctx, &removal.name).await {
        Ok(Here::Gone) => return ("gone", "it was no longer here".to_owned()),
        Ok(Here::Other) => return ("skipped", "the name stands for another image now".to_owned()),
        Ok(Here::Tagged(tag)) => return ("skipped", format!("{tag} stands for it")),
        Ok(Here::Held(container)) => return ("held", format!("container {container} holds it")),
        Ok(Here::Free(id)) if id != removal.image => {
            return ("skipped", "the name stands for another image now".to_owned());
        }
        Ok(Here::Free(_)) => {}
        Err(error) => return ("failed", error.to_string()),
    }
    match ctx.engine.remove(&removal.name).await {
        Ok(removed) if removed.deleted.is_empty() => ("untagged", String::new()),
        Ok(_) => ("removed", String::new()),
        Err(EngineError::Conflict(why)) => ("held", why),
        Err(EngineError::NotFound(why)) => ("gone", why),
        Err(error) => ("failed", error.to_string()),
    }
}

enum Here {
    Gone,
    Other,
    /// A row by digest whose tag did not go before it: some engines would take the tag along.
    Tagged(ImageName),
    Held(String),
    Free(ImageId),
}

async fn holder(ctx: &Context, name: &Reference) -> Result<Here, EngineError> {
    let Some(image) = ctx.engine.image(name).await? else { return Ok(Here::Gone) };
    let shown = match &name.selector {
        Selector::Tag(tag) => image.names.contains(&name.repository.tagged(tag.clone())),
        Selector::Digest(digest) => image.has_digest(&name.repository, *digest),
    };
    if !shown {
        return Ok(Here::Other);
    }
    let mut tags = image.names.iter().filter(|tag| tag.repository == name.repository);
    if let (Selector::Digest(_), Some(tag)) = (&name.selector, tags.next()) {
        return Ok(Here::Tagged(tag.clone()));
    }
    // the last thing read before the removal
    let containers = ctx.engine.containers().await?;
    Ok(match containers.iter().find(|container| container.holds(&image)) {
        Some(container) => Here::Held(format!("{} ({})", container.name, container.state)),
        None => Here::Free(image.id),
    })
}

/// It is gone: counted, and written into the trail.
async fn after(run: &Run<'_>, removal: &Removal, record: &RemovalRecord, instance: &str) {
    let ctx = run.ctx;
    let told = format!("{}: {} (freed {})", record.outcome, record.reason, Bytes(record.freed_bytes));
    ctx.note(PRUNED, Some(record.name.clone()), Some(&run.job.id), told).await;
    let stored = match (&removal.name.selector, removal.reason.what()) {
        (Selector::Tag(tag), _) => {
            ctx.metrics.pruned.with_label_values(&[&removal.name.repository.to_string()]).inc();
            let name = removal.name.repository.tagged(tag.clone());
            ctx.store.name_went(instance, &name, ctx.now()).await
        }
        (Selector::Digest(digest), RemovalReason::Superseded { .. }) => {
            ctx.store.superseded_gone(instance, &removal.name.repository, *digest, None).await
        }
        (Selector::Digest(_), _) => ctx.store.forget_made(instance, &removal.name).await,
    };
    if let Err(error) = stored {
        tracing::error!(name = record.name, %error, "could not store that a name is gone");
    }
}
