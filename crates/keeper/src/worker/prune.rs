//! Prunes: the plan, its removals, and what is remembered of both.

use std::collections::BTreeSet;
use std::sync::Arc;

use layerkeeper_core::plan::{PrunePlan, plan_prune, space_of};
use layerkeeper_core::{Inventory, Selector};
use layerkeeper_store::Restorable;
use layerkeeper_store::record::{KeptRecord, PruneRecord, RemovalRecord};

use crate::context::Context;
use crate::job_error::JobError;
use crate::worker::records::Records;
use crate::worker::remove::Removals;
use crate::worker::run::Run;
use crate::worker::tidy;

/// Makes the plan that would run now.
pub(crate) async fn plan(
    ctx: &Context,
    inventory: Arc<Inventory>,
    superseded: bool,
) -> Result<(PrunePlan, Records), JobError> {
    let records = Records::read(ctx, inventory).await?;
    Ok((plan_prune(&records.question(superseded)), records))
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
    let (plan, records) = plan(ctx, inventory.clone(), superseded).await?;
    let mut done = taken_over(run, record(&plan, records.blocked.clone()));
    count_kept(ctx, &plan);
    for kept in &done.kept {
        tracing::info!(job = %run.job.id, name = kept.name, reason = kept.reason, "stays");
    }
    run.outcome.prune = Some(done.clone());
    run.save().await?;
    // before the first name goes: what this plan lets go must not look lost
    remember_kept(ctx, &plan, &inventory).await?;
    (ctx.at)("planned");
    let space = space_of(&records.question(superseded));
    let mut removals = Removals::new(&inventory, space);
    let first = done.removals.len() - plan.removals.len();
    for (at, removal) in plan.removals.iter().enumerate() {
        let record = removals.remove(run, removal).await;
        (ctx.at)("removed");
        done.freed_bytes += record.freed_bytes;
        done.removals[first + at] = record;
        run.outcome.prune = Some(done.clone());
        if let Err(error) = run.save().await {
            tracing::warn!(job = %run.job.id, %error, "could not store how far the prune is; goes on");
        }
    }
    *ctx.last_prune() = Some(done);
    tidy::tidy(run).await;
    Ok(())
}

/// What an earlier take of this job removed stays in its record.
fn taken_over(run: &mut Run<'_>, mut planned: PruneRecord) -> PruneRecord {
    let Some(earlier) = run.outcome.prune.take() else { return planned };
    let names: BTreeSet<&str> = planned.removals.iter().map(|removal| removal.name.as_str()).collect();
    let went = |removal: &RemovalRecord| matches!(&*removal.outcome, "removed" | "untagged");
    let mut all: Vec<RemovalRecord> =
        earlier.removals.iter().filter(|r| went(r) && !names.contains(r.name.as_str())).cloned().collect();
    planned.freed_bytes = all.iter().map(|removal| removal.freed_bytes).sum();
    all.append(&mut planned.removals);
    PruneRecord { removals: all, ..planned }
}

/// The tags that this plan keeps come back when somebody else removes them. A name without a digest of its repository was
/// made on this host: what the registry has under it is something else.
async fn remember_kept(ctx: &Context, plan: &PrunePlan, inventory: &Inventory) -> Result<(), JobError> {
    let settings = ctx.settings();
    let tags = plan.kept.iter().filter_map(|kept| match &kept.name.selector {
        Selector::Tag(tag) => Some(kept.name.repository.tagged(tag.clone())),
        Selector::Digest(_) => None,
    });
    let ours = tags.filter(|name| settings.policy.runtime(&name.repository).is_some_and(|r| r.may_prune(name)));
    let restorable = ours.filter_map(|image| {
        let digest = inventory.named(&image)?.digests_in(&image.repository).next()?;
        Some(Restorable { image, digest: Some(digest) })
    });
    let instance = inventory.engine.instance();
    Ok(ctx.store.save_restorable(&instance, restorable.collect(), ctx.now()).await?)
}

fn count_kept(ctx: &Context, plan: &PrunePlan) {
    ctx.metrics.prune_kept.reset();
    for kept in &plan.kept {
        let repository = kept.name.repository.to_string();
        ctx.metrics.prune_kept.with_label_values(&[&repository, kept.reason.class()]).inc();
    }
}
