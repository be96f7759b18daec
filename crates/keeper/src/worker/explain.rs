//! Why a pull moves what it moves: gathers the evidence for `layerkeeper_core::reuse::explain`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use layerkeeper_core::instruction::alike;
use layerkeeper_core::layers::{LayerRecord, Presence};
use layerkeeper_core::plan::room::Growth;
use layerkeeper_core::reuse::content::destination;
use layerkeeper_core::reuse::explain::{Evidence, Lost, Repeat, nearest, predecessor, to_describe};
use layerkeeper_core::reuse::{Estimate, explain};
use layerkeeper_core::{DiffId, ImageId, ImageManifest, Inventory, Reference, Repository};
use layerkeeper_store::record::EstimateRecord;
use layerkeeper_store::{LastHeld, Repeated};
use tokio::time::{Instant, timeout_at};

use crate::context::Context;
use crate::job_error::JobError;
use crate::went::went;
use crate::worker::knowledge::manifest_of;

/// At most so many images that are here are looked up at their registries for one explanation.
const LOOK_UPS: usize = 4;

/// And for at most this long in all: an explanation is no reason to wait.
const LOOK_UP_TIME: Duration = Duration::from_secs(10);

/// The estimate as the record keeps it, made by these records of layers, with the cause of every layer that moves. What cannot
/// be looked up in time is left out.
///
/// # Errors
/// The store.
pub(crate) async fn explained(
    ctx: &Context,
    inventory: &Inventory,
    (reference, manifest): (&Reference, &ImageManifest),
    estimate: &Estimate,
    records: &[LayerRecord],
) -> Result<EstimateRecord, JobError> {
    let earlier = earlier(ctx, inventory, (reference, manifest)).await?;
    let peak = Growth::of(inventory, records).peak(estimate).bytes();
    let evidence = Evidence {
        manifest,
        estimate,
        inventory,
        earlier,
        records,
        described: &described(ctx, inventory, manifest, estimate, earlier).await,
        lost: &lost(ctx, inventory, estimate).await?,
        repeats: &repeats(ctx, &reference.repository, estimate).await?,
        policy: &ctx.settings().policy,
    };
    Ok(EstimateRecord::from(estimate).explained(&explain(&evidence), Some(peak)))
}

/// The image to compare with where none here has the lowest layer.
pub(super) async fn earlier(
    ctx: &Context,
    inventory: &Inventory,
    (reference, manifest): (&Reference, &ImageManifest),
) -> Result<Option<ImageId>, JobError> {
    // on most hosts one has, and the record need not be read
    if nearest(manifest, inventory, None).is_some() {
        return Ok(None);
    }
    let history = ctx.store.name_history(&inventory.engine.instance()).await?;
    Ok(predecessor(reference, inventory, &history).map(|image| image.id))
}

async fn described(
    ctx: &Context,
    inventory: &Inventory,
    manifest: &ImageManifest,
    estimate: &Estimate,
    earlier: Option<ImageId>,
) -> BTreeMap<ImageId, ImageManifest> {
    let mut described = BTreeMap::new();
    if estimate.layers.iter().all(|layer| matches!(layer.presence, Presence::Here | Presence::Repeated)) {
        return described;
    }
    let deadline = Instant::now() + LOOK_UP_TIME;
    for image in to_describe(manifest, estimate, inventory, earlier).into_iter().take(LOOK_UPS) {
        let Ok(found) = timeout_at(deadline, manifest_of(ctx, image, inventory)).await else { break };
        described.extend(found.map(|manifest| (image.id, manifest)));
    }
    described
}

/// What was measured of the layers that move, or of the last ones that their instructions made.
async fn repeats(
    ctx: &Context,
    repository: &Repository,
    estimate: &Estimate,
) -> Result<HashMap<DiffId, Vec<Repeat>>, JobError> {
    let settings = ctx.settings();
    let is_kept = |image: &str| settings.policy.keep.iter().any(|keep| keep.image.to_string() == image);
    let mut repeats = HashMap::new();
    for layer in estimate.layers.iter().filter(|layer| layer.presence == Presence::ToFetch) {
        if layer.created_by.as_deref().and_then(destination).is_none() {
            continue;
        }
        let made = layer.created_by.as_deref().map(alike);
        let found = ctx.store.repeats(layer.diff_id, repository.to_string(), made).await?;
        // who is no longer kept is no base to build on, and where nothing was repeated there is nothing to tell
        let mut told = found.into_iter().filter(|one| one.repeated_files > 0 && is_kept(&one.image));
        // one image is enough to be told of: the one with most
        repeats.extend(told.next().map(|one| (layer.diff_id, vec![repeat(layer.diff_id, one)])));
    }
    Ok(repeats)
}

fn repeat(layer: DiffId, measured: Repeated) -> Repeat {
    let Repeated { image, total, repeated, files, repeated_files, .. } = measured;
    Repeat { image, total, repeated, files, repeated_files, foretold: measured.layer != layer }
}

/// Of the layers that move and are not here, those that were.
async fn lost(ctx: &Context, inventory: &Inventory, estimate: &Estimate) -> Result<HashMap<DiffId, Lost>, JobError> {
    let held = inventory.held_layers();
    let moves = estimate.layers.iter().filter(|layer| layer.presence == Presence::ToFetch);
    let away: HashSet<DiffId> = moves.map(|layer| layer.diff_id).filter(|layer| !held.contains_key(layer)).collect();
    if away.is_empty() {
        return Ok(HashMap::new());
    }
    let mut lost = HashMap::new();
    for (layer, LastHeld { name, gone }) in ctx.store.last_held(&inventory.engine.instance(), away).await? {
        let went = went(ctx, &name, gone).await?;
        let ours = went.as_ref().is_some_and(|went| went.ours);
        lost.insert(layer, Lost { image: name, at: gone, how: went.map(|went| went.how), ours });
    }
    Ok(lost)
}
