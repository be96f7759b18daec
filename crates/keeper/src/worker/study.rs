//! Measures, while no job waits, how much of a layer that a deploy moved stands in a kept image under the same path with the
//! same content: what a `COPY --from` repeats. The next estimate says it before the pull.
//!
//! Read through containers that are created, never started and removed at once; a job that is due cuts it short. One image is
//! read after the other, and of one alone there is a mark of every file in memory.

use std::sync::atomic::Ordering;
use std::time::Duration;

use layerkeeper_core::instruction::{alike, instruction};
use layerkeeper_core::reuse::content::{Catalogue, Common, destination};
use layerkeeper_core::{Bytes, DiffId, Image, ImageManifest, ImageName, Inventory, JobId, Reference};
use layerkeeper_engine::contents::File;
use layerkeeper_engine::{EngineError, inside};
use layerkeeper_store::Repeated;
use layerkeeper_store::record::PullRecord;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::job_error::JobError;

/// A smaller layer is not worth reading two images for.
const LEAST: Bytes = Bytes(1_000_000);
/// Of these the newest are kept.
const MOST_WAITING: usize = 16;
/// A layer of more files is not measured: about 30 MB of memory.
const MOST_FILES: usize = 500_000;
/// So often a layer is begun anew that jobs cut short; on a busy host it would be read for nothing again and again.
const TRIES: u32 = 3;
/// For so long at most one layer is measured.
pub(super) const LONGEST: Duration = Duration::from_secs(1800);

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
    tries: u32,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Something else is to be done.
    #[error("cut short")]
    Cut,
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Takes note of the layers of a deploy's pull that are worth measuring.
pub(super) fn wish(ctx: &Context, job: &JobId, image: &ImageName, manifest: &ImageManifest, pull: &PullRecord) {
    let moved = |at: &usize| pull.layers.get(*at).is_some_and(|layer| layer.source == "downloaded");
    let mut wishes = ctx.studies();
    for at in (0..manifest.layers.len()).filter(moved) {
        let layer = &manifest.layers[at];
        let Some(created_by) = layer.created_by.as_deref().filter(|_| layer.blob.size >= LEAST) else { continue };
        let Some(path) = destination(created_by) else { continue };
        wishes.retain(|wish| wish.layer != layer.diff_id);
        wishes.push_back(Study {
            image: image.clone(),
            reference: image.repository.by_digest(manifest.resolved),
            layer: layer.diff_id,
            below: manifest.diff_ids()[..at].to_vec(),
            created_by: created_by.to_owned(),
            path,
            job: job.clone(),
            tries: 0,
        });
        if wishes.len() > MOST_WAITING {
            wishes.pop_front();
        }
    }
}

/// Measures one layer; what it opens it closes, unless it is dropped. One that was cut is put back, some few times.
pub(super) async fn study(ctx: &Context, mut study: Study, cut: &CancellationToken) {
    match measure(ctx, &study, cut).await {
        Ok(measured) => tell(ctx, &study, measured).await,
        // whoever removed what it was read through may be done now
        Err(Failure::Cut | Failure::Engine(EngineError::ReadingLost(_))) => {
            study.tries += 1;
            if study.tries < TRIES {
                return ctx.studies().push_back(study);
            }
            tracing::info!(image = %study.image, layer = %study.layer, "never found the time to measure what a layer repeats");
        }
        Err(error) => tracing::warn!(image = %study.image, %error, "could not measure what a layer repeats"),
    }
}

/// A container that an image was read by could not be removed: it is tried again.
pub(super) fn left(ctx: &Context, container: &str, error: &EngineError) {
    ctx.left_open.store(true, Ordering::SeqCst);
    tracing::warn!(container, %error, "could not remove a container that an image was read by");
}

/// Removes what this daemon opened and never closed: a crash before it, a call that broke off. What stays is tried again within
/// the hour, and when the engine was away.
pub(super) async fn close_left(ctx: &Context) {
    if let Err(error) = inside::close_left(&*ctx.engine, &ctx.owner).await {
        tracing::warn!(%error, "could not remove all that images were read by; tries again within the hour");
    }
}

/// One line for each kept image that is here; all zero where nothing is repeated, and where nothing can be said.
async fn measure(ctx: &Context, study: &Study, cut: &CancellationToken) -> Result<Vec<Repeated>, Failure> {
    let inventory = ctx.observe().await?;
    let Some(image) = inventory.find(&study.reference) else { return Ok(Vec::new()) };
    // what is built of the same layers repeats nothing: it shares them
    let shares = |image: &Image| image.layers.contains(&study.layer) || study.below.starts_with(&image.layers);
    let (sharers, others): (Vec<_>, Vec<_>) = kept(ctx, &inventory).into_iter().partition(|(_, image)| shares(image));
    // also where nothing is left to compare with: it is the newest word on the instruction
    let nothing = sharers.iter().map(|(name, _)| repeated(study, name, Common::default())).collect();
    if others.is_empty() {
        return Ok(nothing);
    }
    let mut measured = Vec::new();
    let own = own(ctx, &inventory, image, study, cut).await?.unwrap_or(Catalogue::of_at_most(0));
    for (name, _) in &others {
        let mut common = Common::of(&own);
        if !own.is_empty() {
            let seen = |file: File| {
                if own.has(&file.path, file.size, &file.digest) {
                    common.repeats(file.size);
                }
            };
            read(ctx, &name.to_reference(), &study.path, cut, seen).await?;
        }
        measured.push(repeated(study, name, common));
    }
    // what is built on another kept image has all that is in that: it is worth naming where it has more of these files
    let images: Vec<&Image> = others.iter().map(|(_, image)| *image).collect();
    for (at, image) in images.iter().enumerate() {
        let below = |other: &usize| images[*other].id != image.id && image.layers.starts_with(&images[*other].layers);
        if (0..images.len()).filter(below).any(|other| measured[other].repeated >= measured[at].repeated) {
            (measured[at].repeated, measured[at].repeated_files) = (Bytes::ZERO, 0);
        }
    }
    measured.extend(nothing);
    Ok(measured)
}

fn repeated(study: &Study, image: &ImageName, common: Common) -> Repeated {
    Repeated {
        layer: study.layer,
        image: image.to_string(),
        repository: study.image.repository.to_string(),
        created_by: Some(alike(&study.created_by)),
        total: common.total,
        repeated: common.repeated,
        files: common.files,
        repeated_files: common.repeated_files,
    }
}

/// The layer's own files: those at its place, but for the ones that the kept image below it has. None where they are more than
/// the layer can hold: then other layers put files there, too, and nobody can tell whose they are.
async fn own(
    ctx: &Context,
    inventory: &Inventory,
    image: &Image,
    study: &Study,
    cut: &CancellationToken,
) -> Result<Option<Catalogue>, Failure> {
    let Some(holds) = image.layer_bytes.get(study.below.len()) else { return Ok(None) };
    let mut own = Catalogue::of_at_most(MOST_FILES);
    let seen = |file: File| own.add(&file.path, file.size, &file.digest);
    read(ctx, &study.reference, &study.path, cut, seen).await?;
    if let Some((name, _)) = base(ctx, inventory, study) {
        let seen = |file: File| own.drop_same(&file.path, file.size, &file.digest);
        read(ctx, &name.to_reference(), &study.path, cut, seen).await?;
    }
    let fits = !own.is_cut_off() && own.bytes() <= *holds;
    if !fits {
        tracing::debug!(
            image = %study.image, layer = %study.layer, path = study.path, layer_bytes = holds.0,
            found_bytes = own.bytes().0, files = own.len(), "cannot tell a layer's files from those of others"
        );
    }
    Ok(fits.then_some(own))
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

/// Shows every file below a path; none where the image has no such path.
async fn read(
    ctx: &Context,
    image: &Reference,
    path: &str,
    cut: &CancellationToken,
    seen: impl FnMut(File) + Send,
) -> Result<(), Failure> {
    if cut.is_cancelled() {
        return Err(Failure::Cut);
    }
    // never dropped for a job: what a dropped call makes all the same, nobody here would know of
    let id = ctx.engine.open(image, &ctx.owner).await?;
    let read = tokio::select! {
        biased;
        () = cut.cancelled() => Err(Failure::Cut),
        read = inside::files(&*ctx.engine, &id, path, seen) => read.map_err(Failure::from),
    };
    if let Err(error) = ctx.engine.close(&id).await {
        left(ctx, &id, &error);
    }
    read
}

async fn tell(ctx: &Context, study: &Study, measured: Vec<Repeated>) {
    for one in measured.iter().filter(|one| one.repeated_files > 0) {
        let told = format!(
            "`{}` copied {} of {} from {} once more: same path, same content, another layer",
            instruction(&study.created_by),
            one.repeated,
            one.total,
            one.image
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
