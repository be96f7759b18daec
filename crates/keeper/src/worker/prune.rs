//! Removes what the plan names, one name at a time, each judged once more right before its call.

use std::collections::BTreeMap;

use layerkeeper_core::plan::{
    MadeName, PrunePlan, PruneQuestion, Removal, RemovalReason, SupersededDigest, plan_prune,
};
use layerkeeper_core::{Bytes, Inventory, Reference, Selector};
use layerkeeper_engine::EngineError;
use layerkeeper_store::Restorable;
use layerkeeper_store::record::{KeptRecord, PruneRecord, RemovalRecord};

use crate::context::Context;
use crate::job_error::JobError;
use crate::worker::run::Run;

/// Makes the plan that would run now.
pub(crate) async fn plan(
    ctx: &Context,
    inventory: &Inventory,
    superseded: bool,
) -> Result<(PrunePlan, Option<String>), JobError> {
    let settings = ctx.settings();
    let instance = inventory.engine.instance();
    let history: BTreeMap<_, _> = ctx.store.name_history(&instance).await?;
    let made: Vec<MadeName> = ctx.store.made(&instance).await?.into_iter().map(MadeName::from).collect();
    let old: Vec<SupersededDigest> =
        ctx.store.superseded(&instance).await?.into_iter().map(SupersededDigest::from).collect();
    let layers = ctx.store.layer_records(&instance).await?;
    let blocked = blocked(ctx, &instance).await?;
    ctx.look_at_clocks();
    let doubt = ctx.clock_doubt();
    let question = PruneQuestion {
        inventory,
        policy: &settings.policy,
        history: &history,
        made: &made,
        superseded: &old,
        superseded_now: superseded,
        layers: &layers,
        blocked: blocked.as_deref(),
        clock_doubt: doubt.as_deref(),
        now: ctx.now(),
    };
    Ok((plan_prune(&question), blocked))
}

/// Why nothing may be removed now.
pub(crate) async fn blocked(ctx: &Context, instance: &str) -> Result<Option<String>, JobError> {
    if !ctx.store.has_deployed_on(instance).await? {
        return Ok(Some("no deploy has succeeded on this engine yet".to_owned()));
    }
    Ok(ctx.store.prune_gate().await?.map(|gate| gate.reason))
}

/// The plan as the store and people see it, nothing done yet.
pub(crate) fn record(plan: &PrunePlan, blocked: Option<String>) -> PruneRecord {
    PruneRecord {
        blocked,
        removals: plan
            .removals
            .iter()
            .map(|removal| RemovalRecord {
                name: removal.name.to_string(),
                image_id: removal.image.to_string(),
                reason: removal.reason.to_string(),
                freed_bytes: removal.freed.0,
                outcome: "planned".to_owned(),
                detail: String::new(),
            })
            .collect(),
        kept: plan
            .kept
            .iter()
            .map(|kept| KeptRecord {
                name: kept.name.to_string(),
                image_id: kept.image.to_string(),
                class: kept.reason.class().to_owned(),
                reason: kept.reason.to_string(),
            })
            .collect(),
        freed_bytes: 0,
    }
}

/// The steps of a prune. One removal that fails never stops the rest.
pub(super) async fn prune(run: &mut Run<'_>, superseded: bool) -> Result<(), JobError> {
    let ctx = run.ctx;
    let inventory = run.glance().await?;
    let (plan, blocked) = plan(ctx, &inventory, superseded).await?;
    let mut done = record(&plan, blocked);
    count_kept(ctx, &plan);
    for kept in &done.kept {
        tracing::info!(job = %run.job.id, name = kept.name, reason = kept.reason, "stays");
    }
    run.outcome.prune = Some(done.clone());
    run.save().await?;
    // before the first name goes: what this plan lets go must not look lost
    remember_kept(ctx, &plan, &inventory).await?;
    for (removal, record) in plan.removals.iter().zip(done.removals.iter_mut()) {
        run.changes();
        let (outcome, detail) = remove(ctx, removal).await;
        record.outcome = outcome.to_owned();
        record.detail = detail;
        if outcome == "removed" {
            done.freed_bytes += record.freed_bytes;
        } else {
            record.freed_bytes = 0;
        }
        tracing::info!(
            job = %run.job.id, name = record.name, reason = record.reason, outcome, detail = record.detail,
            freed_bytes = record.freed_bytes, "goes"
        );
        if matches!(outcome, "removed" | "untagged") {
            after(ctx, run, removal, record).await;
        }
    }
    *ctx.last_prune() = Some(done.clone());
    run.outcome.prune = Some(done);
    let inventory = run.glance().await?;
    forget_rows_gone(ctx, &inventory).await
}

/// The tags that this plan keeps come back when somebody else removes them.
async fn remember_kept(ctx: &Context, plan: &PrunePlan, inventory: &Inventory) -> Result<(), JobError> {
    let settings = ctx.settings();
    let tags = plan.kept.iter().filter_map(|kept| match &kept.name.selector {
        Selector::Tag(tag) => Some(kept.name.repository.tagged(tag.clone())),
        Selector::Digest(_) => None,
    });
    let ours = tags.filter(|name| settings.policy.runtime(&name.repository).is_some_and(|r| r.may_prune(name)));
    let restorable = ours.map(|image| {
        let digest = inventory.named(&image).and_then(|here| here.digests_in(&image.repository).next());
        Restorable { image, digest }
    });
    let instance = inventory.engine.instance();
    Ok(ctx.store.save_restorable(&instance, restorable.collect(), ctx.now()).await?)
}

/// Rows of our own making that went with their tags need no remembering.
async fn forget_rows_gone(ctx: &Context, inventory: &Inventory) -> Result<(), JobError> {
    let instance = inventory.engine.instance();
    for made in ctx.store.made(&instance).await? {
        if inventory.find(&made.reference).is_none() {
            ctx.store.forget_made(&instance, &made.reference).await?;
        }
    }
    Ok(())
}

/// Judges once more by a container list read now, then removes by name. 409 and 404 are outcomes, not errors.
async fn remove(ctx: &Context, removal: &Removal) -> (&'static str, String) {
    match holder(ctx, &removal.name).await {
        Ok(Here::Gone) => return ("gone", "it was no longer here".to_owned()),
        Ok(Here::Other) => return ("skipped", "the name stands for another image now".to_owned()),
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
    Held(String),
    Free(layerkeeper_core::ImageId),
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
    // the last thing read before the removal
    let containers = ctx.engine.containers().await?;
    Ok(match containers.iter().find(|container| container.holds(&image)) {
        Some(container) => Here::Held(format!("{} ({})", container.name, container.state)),
        None => Here::Free(image.id),
    })
}

async fn after(ctx: &Context, run: &Run<'_>, removal: &Removal, record: &RemovalRecord) {
    let is_row = matches!(removal.name.selector, Selector::Digest(_));
    if !is_row {
        ctx.metrics.pruned.with_label_values(&[&removal.name.repository.to_string()]).inc();
    }
    let told = format!("{}: {} (freed {})", record.outcome, record.reason, Bytes(record.freed_bytes));
    ctx.note("pruned", Some(record.name.clone()), Some(&run.job.id), told).await;
    if let Selector::Digest(digest) = removal.name.selector {
        let instance = ctx.view().inventory.map(|inventory| inventory.engine.instance()).unwrap_or_default();
        let forgotten = match &removal.reason {
            RemovalReason::Superseded { .. } => {
                ctx.store.superseded_gone(&instance, &removal.name.repository, digest).await
            }
            _ => ctx.store.forget_made(&instance, &removal.name).await,
        };
        if let Err(error) = forgotten {
            tracing::error!(%error, "could not store that a name is gone");
        }
    }
}

fn count_kept(ctx: &Context, plan: &PrunePlan) {
    ctx.metrics.prune_kept.reset();
    for kept in &plan.kept {
        let repository = kept.name.repository.to_string();
        ctx.metrics.prune_kept.with_label_values(&[&repository, kept.reason.class()]).inc();
    }
}
