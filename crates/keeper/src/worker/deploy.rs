//! A deploy: kept images first, then the tag, then the report, then the prune.

use layerkeeper_core::instruction::instruction;
use layerkeeper_core::job::JobKind;
use layerkeeper_core::plan::{Arrival, arrival};
use layerkeeper_core::policy::Admission;
use layerkeeper_core::reuse::estimate;
use layerkeeper_core::{Bytes, Digest, Image, ImageManifest, ImageName, Inventory};
use layerkeeper_store::DeployRow;
use layerkeeper_store::record::{EstimateRecord, LayerEstimateRecord};

use crate::follow::Phase;
use crate::job_error::JobError;
use crate::worker::bring::bring;
use crate::worker::explain::explained;
use crate::worker::knowledge::holdings;
use crate::worker::resolve::{Wanted, resolve};
use crate::worker::run::Run;
use crate::worker::{prune, warm};

/// The steps of a deploy job.
pub(super) async fn deploy(
    run: &mut Run<'_>,
    image: &ImageName,
    wanted: Option<Digest>,
    over_limit: bool,
) -> Result<(), JobError> {
    let ctx = run.ctx;
    if let Some(number) = ctx.store.deploy_of(&run.job.id).await? {
        // cut between the record and the end: whatever became of the tag since, this deploy has happened
        tracing::info!(job = %run.job.id, %image, deploy = number, "was deployed already; goes on to the prune");
        ctx.open_prune_gate().await;
        ctx.metrics.deploy_moved(&image.repository, run.outcome.moved_bytes);
        prune_after(run).await;
        return Ok(());
    }
    let settings = ctx.settings();
    let (budget, limit) = match settings.policy.admit(image) {
        Admission::Deploy(runtime) => (runtime.download_budget, runtime.download_limit.filter(|_| !over_limit)),
        _ => return Err(JobError::Refused(format!("{image} is no longer allowed by the configuration"))),
    };
    run.outcome.budget_bytes = Some(budget.0);
    run.phase(Phase::Observing);
    let mut inventory = run.known().await?;
    // what it is called may be the platform's manifest inside the index that is here
    let names = match wanted {
        Some(digest) => [vec![digest], ctx.store.deployed_as(image, digest).await?].concat(),
        None => Vec::new(),
    };
    let is_here = |inventory: &Inventory| {
        names.iter().copied().find(|digest| arrival(image, *digest, None, inventory) == Arrival::Done)
    };
    if is_here(&inventory).is_some() {
        inventory = run.look().await?;
    }
    let mut manifest = None;
    let (digest, here) = match (is_here(&inventory), inventory.named(image)) {
        // a rollback to what is here needs no registry
        (Some(digest), Some(here)) => (digest, here.clone()),
        _ => {
            // first the name, so that a deploy of a tag that is not there yet does not refresh everything at each try
            let target = resolve(ctx, image, wanted.map_or(Wanted::Tag, Wanted::Content), &inventory).await?;
            if arrival(image, target.digest, target.manifest.as_ref(), &inventory) != Arrival::Done {
                match (limit, &target.manifest) {
                    (Some(limit), Some(manifest)) => refuse_over(run, image, manifest, limit).await?,
                    (Some(limit), None) => {
                        run.warn(format!(
                            "the registry gave no manifest, so the download_limit of {limit} could not be held"
                        ));
                    }
                    (None, _) => {}
                }
                warm::refresh_all(run).await;
            }
            manifest = target.manifest.as_ref().map(|image| image.manifest.digest);
            (target.digest, bring(run, image, &target, JobKind::Deploy, true).await?)
        }
    };
    let manifest = manifest.or(wanted).filter(|manifest| *manifest != digest);
    succeed(run, image, (digest, manifest), &here).await?;
    ctx.metrics.deploy_moved(&image.repository, run.outcome.moved_bytes);
    if run.outcome.moved_bytes > budget.0 {
        ctx.metrics.budget_exceeded.with_label_values(&[&image.repository.to_string()]).inc();
        run.warn(format!(
            "this deploy moved {}, more than the download_budget of {budget}",
            Bytes(run.outcome.moved_bytes)
        ));
    }
    prune_after(run).await;
    Ok(())
}

/// Before anything moves: what the engine surely has to fetch must not be more than the limit. The record then says why it
/// would be.
async fn refuse_over(
    run: &mut Run<'_>,
    image: &ImageName,
    manifest: &ImageManifest,
    limit: Bytes,
) -> Result<(), JobError> {
    let ctx = run.ctx;
    let inventory = run.glance().await?;
    let (holdings, records) = holdings(ctx, &inventory, manifest).await?;
    let estimate = estimate(manifest, &holdings);
    if estimate.fetch_least <= limit {
        return Ok(());
    }
    let record = explained(ctx, &inventory, (&image.to_reference(), manifest), &estimate, &records).await?;
    let (fetch, reasons) = (estimate.fetch_least, largest_first(&record));
    run.outcome.estimate = Some(record);
    run.save().await?;
    Err(JobError::OverLimit { image: Box::new(image.clone()), fetch, limit, reasons })
}

/// The layers that move, the largest first, each with its cause: what an operator has to read.
fn largest_first(record: &EstimateRecord) -> String {
    let mut moving: Vec<_> = record.layers.iter().filter(|layer| layer.presence == "to fetch").collect();
    moving.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    let line = |layer: &&LayerEstimateRecord| {
        let why: Vec<&str> = layer.causes.iter().map(|cause| cause.why.as_str()).collect();
        let made = layer.created_by.as_deref().map_or("an unknown instruction".to_owned(), instruction);
        format!("{} by `{made}`: {}", Bytes(layer.size), why.join("; "))
    };
    moving.iter().take(3).map(line).collect::<Vec<_>>().join(". ")
}

/// A prune that fails does not fail the deploy.
async fn prune_after(run: &mut Run<'_>) {
    run.phase(Phase::Pruning);
    if let Err(error) = prune::prune(run, false).await {
        run.warn(format!("the prune after this deploy failed: {error}"));
    }
}

/// From here on the deploy has happened: it gets its number in the one order of deploys, once, however often a crash
/// makes these steps run again.
async fn succeed(
    run: &mut Run<'_>,
    image: &ImageName,
    (digest, manifest): (Digest, Option<Digest>),
    here: &Image,
) -> Result<(), JobError> {
    let ctx = run.ctx;
    run.outcome.digest = Some(digest.to_string());
    run.save().await?;
    let inventory = run.glance().await?;
    let (name, instance) = (image.clone(), inventory.engine.instance());
    let row = DeployRow { name, digest, manifest, image_id: here.id, instance };
    let number = ctx.record_deploy(&run.job.id, row).await?;
    (ctx.at)("recorded");
    ctx.open_prune_gate().await;
    ctx.lift(image).await?;
    tracing::info!(job = %run.job.id, %image, %digest, deploy = number, "deployed");
    Ok(())
}
