//! Under which blob digests the engine knows its layers: our records, filled up from the manifests of images that came
//! without us.

use std::collections::HashSet;
use std::time::Duration;

use layerkeeper_core::layers::{Holdings, LayerRecord, Origin};
use layerkeeper_core::reuse::{ReuseReport, Source};
use layerkeeper_core::{ChainId, DiffId, Digest, Image, ImageManifest, Inventory};
use tokio::time::{Instant, timeout_at};

use crate::context::Context;
use crate::job_error::JobError;

/// At most this many foreign images are looked up for one estimate.
const LOOK_UPS: usize = 8;

/// And for at most this long in all: their registries may be out of reach, and a deploy waits meanwhile.
const LOOK_UP_TIME: Duration = Duration::from_secs(10);

/// What the engine holds, as far as it matters for `wanted`, and our records of it.
pub(crate) async fn holdings(
    ctx: &Context,
    inventory: &Inventory,
    wanted: &ImageManifest,
) -> Result<(Holdings, Vec<LayerRecord>), JobError> {
    let instance = inventory.engine.instance();
    let mut records = ctx.store.layer_records(&instance).await?;
    // by blob: the same content may be here once more, under another blob's digest and without our doing
    let known: HashSet<Digest> = records.iter().map(|record| record.blob).collect();
    let open = wanted.layers.iter().filter(|layer| !known.contains(&layer.blob.digest));
    let open: HashSet<DiffId> = open.map(|layer| layer.diff_id).collect();
    let foreign = inventory.images.iter().filter(|image| image.layers.iter().any(|layer| open.contains(layer)));
    let mut found = Vec::new();
    let deadline = Instant::now() + LOOK_UP_TIME;
    for image in foreign.take(LOOK_UPS) {
        // what cannot be looked up in time stays unknown, which an estimate can say
        let Ok(manifest) = timeout_at(deadline, manifest_of(ctx, image, inventory)).await else { break };
        if let Some(manifest) = manifest {
            found.extend(records_of(&manifest, |_| Origin::Manifest));
        }
    }
    if !found.is_empty() {
        ctx.store.record_layers(&instance, found.clone(), ctx.now()).await?;
        records.extend(found);
    }
    Ok((Holdings::new(inventory, &records), records))
}

/// The manifest of an image that came without us, by its RepoDigest. None where the registry does not give it, or gives
/// one whose layers are not the image's: then its layers stay unknown.
pub(super) async fn manifest_of(ctx: &Context, image: &Image, inventory: &Inventory) -> Option<ImageManifest> {
    let (repository, digest) = image.digests.iter().next()?;
    let fetched = ctx.registry.image(&repository.by_digest(*digest), &inventory.engine.platform).await;
    let manifest = fetched.ok()?.image;
    (manifest.diff_ids() == image.layers).then_some(manifest)
}

fn records_of(manifest: &ImageManifest, origin: impl Fn(usize) -> Origin) -> Vec<LayerRecord> {
    let chains = ChainId::of_stack(&manifest.diff_ids());
    let layers = manifest.layers.iter().zip(chains).enumerate();
    layers
        .map(|(i, (layer, chain))| LayerRecord {
            chain,
            diff_id: layer.diff_id,
            blob: layer.blob.digest,
            size: layer.blob.size,
            origin: origin(i),
        })
        .collect()
}

/// Records how the layers of a pull of ours came.
pub(super) async fn remember(
    ctx: &Context,
    inventory: &Inventory,
    manifest: &ImageManifest,
    report: &ReuseReport,
) -> Result<(), JobError> {
    let records = records_of(manifest, |i| match report.layers.get(i).map(|layer| layer.source) {
        Some(Source::Downloaded) => Origin::Downloaded,
        _ => Origin::Reused,
    });
    ctx.store.record_layers(&inventory.engine.instance(), records, ctx.now()).await?;
    Ok(())
}
