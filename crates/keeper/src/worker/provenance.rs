//! Content from a mirror while the registry is away: what it is vouched for by, and how that ends.

use std::time::Duration;

use layerkeeper_core::{Image, ImageName, Inventory, Reference};
use layerkeeper_store::{MadeFor, Provenance};

use crate::context::Context;
use crate::job_error::JobError;
use crate::worker::bring::Job;
use crate::worker::pull::pull;
use crate::worker::run::Run;

/// A younger record may be of what a look that is under way does not show yet.
const YOUNG: Duration = Duration::from_secs(3600);

/// The kind under which all of this stands in the audit trail.
const KIND: &str = "provenance";

/// The engine has the content under the relay's name alone: takes down what it is and where it came from, before it gets its own.
pub(super) async fn vouch(run: &mut Run<'_>, job: &Job<'_>, alias: &Reference, source: String) -> Result<(), JobError> {
    let ctx = run.ctx;
    let image = ctx.engine.image(alias).await?;
    let image = image.ok_or_else(|| JobError::Unverified(format!("{alias} is not on the engine after its pull")))?;
    let (name, digest) = (job.name.clone(), job.target.digest);
    let (subject, job) = (name.to_string(), run.job.id.clone());
    let told = format!("{digest} came from {source}, and {} has yet to confirm it", name.repository.registry());
    let record = Provenance {
        name,
        digest,
        image_id: image.id,
        layers: image.layers,
        alias: alias.clone(),
        source,
        job,
        at: ctx.now(),
    };
    ctx.vouched.vouch(record).await?;
    ctx.note(KIND, Some(subject), Some(&run.job.id), told).await;
    Ok(())
}

/// A further name of content that we vouch for under another one, about to be made: it has a word of its own, whatever becomes of
/// the other name.
pub(super) async fn vouch_also(run: &Run<'_>, job: &Job<'_>, content: &Image) -> Result<(), JobError> {
    let (ctx, name, digest) = (run.ctx, job.name, job.target.digest);
    let is_of = |record: &Provenance| {
        record.name.repository == name.repository && record.digest == digest && record.is_of(content)
    };
    let records: Vec<Provenance> = ctx.vouched.all().into_iter().filter(is_of).collect();
    match records.first() {
        Some(other) if records.iter().all(|record| record.name != *name) => {
            let record = Provenance { name: name.clone(), job: run.job.id.clone(), at: ctx.now(), ..other.clone() };
            Ok(ctx.vouched.vouch(record).await?)
        }
        _ => Ok(()),
    }
}

/// Does our word stand for this digest of the repository, under whatever name?
pub(super) fn vouched_for(ctx: &Context, job: &Job<'_>) -> bool {
    let of = (&job.name.repository, job.target.digest);
    ctx.vouched.all().iter().any(|record| (&record.name.repository, record.digest) == of)
}

/// Pulls what we vouch for from its registry, by its digest: about a kilobyte, and the engine knows it by its own word.
///
/// # Errors
/// The registry is away still, or has it no longer.
pub(super) async fn settle(run: &mut Run<'_>, record: &Provenance) -> Result<(), JobError> {
    let ctx = run.ctx;
    let reference = record.name.repository.by_digest(record.digest);
    let instance = run.known().await?.engine.instance();
    ctx.store.record_made(&instance, reference.clone(), MadeFor::ByDigest, &run.job.id, ctx.now()).await?;
    let login = ctx.registry.login(record.name.repository.registry()).await?;
    run.changes();
    let pulled = pull(run, &record.name, &reference, login.as_ref(), None, None).await?;
    run.outcome.moved_bytes += pulled.attempt.moved.0;
    if let Some(error) = pulled.error {
        return Err(error);
    }
    ctx.vouched.forget(record).await?;
    let told = format!("{} answers again, and has {}", record.name.repository.registry(), record.digest);
    tracing::info!(job = %run.job.id, image = %record.name, digest = %record.digest, "the registry has what came from a mirror");
    ctx.note(KIND, Some(record.name.to_string()), Some(&run.job.id), told).await;
    Ok(())
}

/// Before a name that we vouch for moves on: without a digest of its own what it leaves would be left without any name.
pub(super) async fn settle_first(run: &mut Run<'_>, name: &ImageName) {
    let Ok(Some(record)) = run.ctx.vouched.standing(name).await else { return };
    if let Err(error) = settle(run, &record).await {
        run.warn(format!(
            "{name} moves on from {}, which came from {} and which its registry does not give ({error}); it may be left here without a name",
            record.digest, record.source
        ));
    }
}

/// Looks which names still stand by our word alone. Where their registry has them they are to be pulled from there; gives those.
pub(crate) async fn confirmable(ctx: &Context, inventory: &Inventory) -> Vec<ImageName> {
    let mut confirmable = Vec::new();
    for record in ctx.vouched.all() {
        match ctx.vouched.stands(&record).await {
            Ok(true) => {
                let reference = record.name.repository.by_digest(record.digest);
                if ctx.registry.resolve(&reference).await.is_ok() {
                    confirmable.push(record.name);
                }
            }
            Ok(false) if ctx.now() - record.at < YOUNG || inventory.find(&record.alias).is_some() => {}
            Ok(false) => {
                if let Err(error) = ctx.vouched.forget(&record).await {
                    tracing::warn!(image = %record.name, %error, "could not forget where an image came from");
                }
            }
            Err(error) => tracing::debug!(image = %record.name, %error, "could not ask for an image from a mirror"),
        }
    }
    confirmable
}
