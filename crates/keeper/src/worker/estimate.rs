//! What a pull would move, with nothing pulled.

use std::collections::BTreeSet;
use std::sync::Arc;

use layerkeeper_core::layers::Presence;
use layerkeeper_core::plan::{Arrival, arrival};
use layerkeeper_core::reuse::explain::nearest;
use layerkeeper_core::reuse::{Estimate, LayerEstimate, estimate as judge};
use layerkeeper_core::{Compression, ImageId, ImageManifest, ImageName, Inventory, Reference, Selector, StoreKind};

use crate::context::Context;
use crate::handle::Estimated;
use crate::job_error::JobError;
use crate::worker::explain::{earlier, explained};
use crate::worker::knowledge::holdings;

/// Estimates a pull of any reference.
pub(crate) async fn estimate(ctx: &Context, reference: &Reference) -> Result<Estimated, JobError> {
    let (inventory, manifest) = look(ctx, reference).await?;
    let (holdings, records) = holdings(ctx, &inventory, &manifest).await?;
    let estimate = judge(&manifest, &holdings);
    let up_to_date = match &reference.selector {
        Selector::Tag(tag) => {
            let name = reference.repository.tagged(tag.clone());
            arrival(&name, manifest.resolved, Some(&manifest), &inventory) == Arrival::Done
        }
        Selector::Digest(digest) => inventory.with_digest(&reference.repository, *digest).is_some(),
    };
    let here = inventory.find(reference).and_then(|image| image.digests_in(&reference.repository).next());
    let settings = ctx.settings();
    let runtime = settings.policy.runtime(&reference.repository);
    Ok(Estimated {
        image: reference.to_string(),
        digest: manifest.resolved.to_string(),
        platform: manifest.platform.to_string(),
        digest_here: here.map(|digest| digest.to_string()),
        up_to_date,
        estimate: explained(ctx, &inventory, (reference, &manifest), &estimate, &records).await?,
        budget_bytes: runtime.map(|runtime| runtime.download_budget.0),
        limit_bytes: runtime.and_then(|runtime| runtime.download_limit).map(|limit| limit.0),
    })
}

/// The engine and the registry. With a containerd store of 200 images its list takes seconds: where nothing was told of since
/// the last look, only the images on which this estimate rests are asked for.
async fn look(ctx: &Context, reference: &Reference) -> Result<(Arc<Inventory>, ImageManifest), JobError> {
    let known = ctx.unchanged().filter(|known| known.engine.store == StoreKind::Containerd);
    let seen = match &known {
        Some(known) => known.clone(),
        None => ctx.observe().await?,
    };
    let manifest = ctx.registry.image(reference, &seen.engine.platform).await?.image;
    let inventory = match known {
        Some(known) => {
            let earlier = earlier(ctx, &known, (reference, &manifest)).await?;
            let rests_on = rests_on(ctx, reference, &manifest, &known, earlier);
            ctx.confirm_some(known, |image| rests_on.contains(&image.id)).await?
        }
        None => seen,
    };
    Ok((inventory, manifest))
}

/// The image asked about, the kept ones, the nearest, which has all of the chain that is here, and one for each layer that is
/// anywhere.
fn rests_on(
    ctx: &Context,
    reference: &Reference,
    manifest: &ImageManifest,
    known: &Inventory,
    earlier: Option<ImageId>,
) -> BTreeSet<ImageId> {
    let held = known.held_layers();
    let holders = manifest.layers.iter().filter_map(|layer| known.images.get(*held.get(&layer.diff_id)?));
    let settings = ctx.settings();
    let kept = settings.policy.keep.iter().filter_map(|keep| known.named(&keep.image));
    let nearest = nearest(manifest, known, earlier).map(|(image, _)| image);
    holders.chain(kept).chain(nearest).chain(known.find(reference)).map(|image| image.id).collect()
}

/// Engines before 23 download a zstd layer and then cannot unpack it.
pub(super) fn refuse_zstd(estimate: &Estimate, inventory: &Inventory, name: &ImageName) -> Result<(), JobError> {
    let too_old = inventory.engine.major().is_some_and(|major| major < 23);
    let zstd = |l: &&LayerEstimate| l.compression == Compression::Zstd && l.presence != Presence::Here;
    match estimate.layers.iter().find(zstd) {
        Some(layer) if too_old => Err(JobError::Refused(format!(
            "layer {} of {name} is compressed with zstd, which Docker Engine {} cannot unpack; engines take it from 23 on. \
             Build with gzip, or upgrade the engine",
            layer.blob, inventory.engine.version
        ))),
        _ => Ok(()),
    }
}
