//! Measures, while no job waits, how much of a layer that a deploy moved stands in a kept image under the same path with the
//! same content: what a `COPY --from` repeats. The next estimate says it before the pull.
//!
//! Read through containers that are created, never started and removed at once; a job that comes ends it.

use layerkeeper_core::reuse::content::{Catalogue, Common, destination};
use layerkeeper_core::{Bytes, DiffId, Image, ImageManifest, ImageName, Inventory, JobId, Reference};
use layerkeeper_engine::{EngineError, contents};
use layerkeeper_store::Repeated;
use layerkeeper_store::record::PullRecord;

use crate::context::Context;
use crate::job_error::JobError;

/// A smaller layer is not worth reading two images for.
const LEAST: Bytes = Bytes(1_000_000);
/// Of these the newest are kept.
const MOST_WAITING: usize = 16;

/// A layer to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Study {
    /// The image that it is a layer of.
    image: ImageName,
    /// By its digest: the name may move.
    reference: Reference,
    layer: DiffId,
    /// What lies below it, bottom first.
    below: Vec<DiffId>,
    created_by: String,
    /// Where its files are.
    path: String,
    job: JobId,
}

/// Takes note of the layers of a deploy's pull that are worth measuring.
pub(super) fn wish(ctx: &Context, job: &JobId, image: &ImageName, manifest: &ImageManifest, pull: &PullRecord) {
    let moved = |at: &usize| pull.layers.get(*at).is_some_and(|layer| layer.source == "downloaded");
    let mut wishes = ctx.studies();
    for at in (0..manifest.layers.len()).filter(moved) {
        let layer = &manifest.layers[at];
        let Some(created_by) = layer.created_by.as_deref().filter(|_| layer.blob.size >= LEAST) else { continue };
        let Some(path) = destination(created_by) else { continue };
        wishes.push_back(Study {
            image: image.clone(),
            reference: image.repository.by_digest(manifest.resolved),
            layer: layer.diff_id,
            below: manifest.diff_ids()[..at].to_vec(),
            created_by: created_by.to_owned(),
            path,
            job: job.clone(),
        });
        if wishes.len() > MOST_WAITING {
            wishes.pop_front();
        }
    }
}

/// Measures one layer. Dropping this leaves a container open; [`close_all`] removes it.
pub(super) async fn study(ctx: &Context, study: &Study) {
    match measure(ctx, study).await {
        Ok(measured) if measured.is_empty() => {}
        Ok(measured) => tell(ctx, study, measured).await,
        Err(error) => tracing::warn!(image = %study.image, %error, "could not measure what a layer repeats"),
    }
}

/// Removes every container of ours: none is needed between two studies, nor after a start.
pub(super) async fn close_all(ctx: &Context) {
    let opened = match ctx.engine.left_open(&ctx.owner).await {
        Ok(opened) => opened,
        Err(error) => return tracing::debug!(%error, "could not look for containers that were left open"),
    };
    for id in opened {
        if let Err(error) = ctx.engine.close(&id).await {
            tracing::warn!(container = id, %error, "could not remove a container that an image was read by");
        }
    }
}

async fn measure(ctx: &Context, study: &Study) -> Result<Vec<Repeated>, JobError> {
    let inventory = ctx.observe().await?;
    if inventory.find(&study.reference).is_none() {
        return Ok(Vec::new());
    }
    let below = match base(ctx, &inventory, study) {
        Some((name, _)) => catalogue(ctx, &name.to_reference(), &study.path).await?,
        None => Catalogue::default(),
    };
    let mut others = Vec::new();
    for (name, image) in kept(ctx, &inventory) {
        // what is built of the same layers repeats nothing: it shares them
        if image.layers.contains(&study.layer) || study.below.starts_with(&image.layers) {
            continue;
        }
        let files = catalogue(ctx, &name.to_reference(), &study.path).await?;
        if !files.is_empty() {
            others.push((name, image, files, Common::default()));
        }
    }
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let own = ctx.engine.open(&study.reference, &ctx.owner).await?;
    let archive = ctx.engine.archive(&own, &study.path).await?;
    let read = contents::files(&study.path, archive, |file| {
        if below.has(&file.path, file.size, &file.digest) {
            return;
        }
        for (.., files, common) in &mut others {
            common.count(file.size, files.has(&file.path, file.size, &file.digest));
        }
    });
    read.await?;
    ctx.engine.close(&own).await?;
    // what is built on another kept image has all that is in that: it is worth naming where it has more of these files
    let has_more = |image: &Image, common: &Common| {
        let mut below =
            others.iter().filter(|(_, below, ..)| image.id != below.id && image.layers.starts_with(&below.layers));
        below.all(|(.., less)| less.repeated < common.repeated)
    };
    let measured = others.iter().filter(|(_, image, _, common)| common.repeated_files > 0 && has_more(image, common));
    let measured = measured.map(|(name, .., common)| Repeated {
        layer: study.layer,
        image: name.to_string(),
        repository: study.image.repository.to_string(),
        created_by: Some(study.created_by.clone()),
        total: common.total,
        repeated: common.repeated,
        files: common.files,
        repeated_files: common.repeated_files,
    });
    Ok(measured.collect())
}

fn kept<'i>(ctx: &Context, inventory: &'i Inventory) -> Vec<(ImageName, &'i Image)> {
    let settings = ctx.settings();
    let here = settings.policy.keep.iter().map(|keep| &keep.image);
    here.filter_map(|name| Some((name.clone(), inventory.named(name)?))).collect()
}

/// The kept image that the layer lies on, with most layers: what it has at the same path is not the layer's.
fn base<'i>(ctx: &Context, inventory: &'i Inventory, study: &Study) -> Option<(ImageName, &'i Image)> {
    let below = kept(ctx, inventory).into_iter().filter(|(_, image)| study.below.starts_with(&image.layers));
    below.max_by_key(|(_, image)| image.layers.len())
}

/// Every file below the path; none where the image has no such path.
async fn catalogue(ctx: &Context, image: &Reference, path: &str) -> Result<Catalogue, EngineError> {
    let id = ctx.engine.open(image, &ctx.owner).await?;
    let mut files = Catalogue::default();
    let read = match ctx.engine.archive(&id, path).await {
        Ok(archive) => contents::files(path, archive, |file| files.add(&file.path, file.size, &file.digest)).await,
        Err(EngineError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    };
    ctx.engine.close(&id).await?;
    read.map(|()| files)
}

async fn tell(ctx: &Context, study: &Study, measured: Vec<Repeated>) {
    for one in &measured {
        let told = format!(
            "`{}` copied {} of {} from {} once more: same path, same content, another layer",
            study.created_by, one.repeated, one.total, one.image
        );
        tracing::info!(
            image = %study.image,
            layer = %study.layer,
            repeats = one.image,
            repeated_bytes = one.repeated.0,
            total_bytes = one.total.0,
            "{told}"
        );
        ctx.note("repeats files", Some(study.image.to_string()), Some(&study.job), told).await;
    }
    if let Err(error) = ctx.store.record_repeats(measured, ctx.now()).await {
        tracing::warn!(image = %study.image, %error, "could not store what a layer repeats");
    }
}
