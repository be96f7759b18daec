//! Keeps the record of what our own pulls left behind true, at the end of a job that changed something: what is gone or
//! has its tag again is no longer listed, and what an abandoned pull left without a name is.

use layerkeeper_core::{Digest, Image, Inventory, Reference, Repository, Selector};
use layerkeeper_engine::EngineError;
use layerkeeper_store::{Made, MadeFor, Superseded};

use crate::context::Context;
use crate::job_error::JobError;
use crate::worker::run::Run;

/// Looks at the engine once more and brings the record up to date. What fails is done by the next job.
pub(super) async fn tidy(run: &mut Run<'_>) {
    let inventory = match run.glance().await {
        Ok(inventory) => inventory,
        Err(error) => return tracing::debug!(job = %run.job.id, %error, "could not look at the engine to tidy up"),
    };
    if let Err(error) = try_tidy(run.ctx, &inventory).await {
        tracing::warn!(job = %run.job.id, %error, "could not bring the record of names up to date");
    }
}

async fn try_tidy(ctx: &Context, inventory: &Inventory) -> Result<(), JobError> {
    let instance = inventory.engine.instance();
    for old in ctx.store.superseded(&instance).await? {
        match inventory.with_digest(&old.repository, old.digest) {
            None => ctx.store.superseded_gone(&instance, &old.repository, old.digest, None).await?,
            Some(image) if image.names.contains(&old.was) => {
                ctx.store.superseded_gone(&instance, &old.repository, old.digest, Some(&old.was)).await?;
            }
            Some(_) => {}
        }
    }
    let all = ctx.store.made(&instance).await?;
    let aliases: Vec<Repository> = all
        .iter()
        .filter(|made| made.purpose == MadeFor::TransferAlias)
        .map(|made| made.reference.repository.clone())
        .collect();
    for made in all {
        match inventory.find(&made.reference) {
            Some(image) if made.purpose == MadeFor::TransferAlias && has_another(ctx, image, &aliases) => {
                untag_alias(ctx, &instance, &made.reference).await?;
            }
            None => ctx.store.forget_made(&instance, &made.reference).await?,
            Some(image) if image.names.is_empty() => abandoned(ctx, inventory, &made).await?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// Is the image known by another name than the relay's, too? A digest that we vouch for by that very name is none, and neither
/// is another name of a relay's.
fn has_another(ctx: &Context, image: &Image, aliases: &[Repository]) -> bool {
    let vouched = ctx.vouched.all().into_iter().filter(|record| record.is_of(image));
    let vouched: Vec<_> = vouched.map(|record| (record.name.repository, record.digest)).collect();
    let other = |row: &(Repository, Digest)| !aliases.contains(&row.0) && !vouched.contains(row);
    !image.names.is_empty() || image.digests.iter().any(other)
}

/// Takes a name of the relay's away, which nobody but us knows of. The image has another one, so it stays.
pub(super) async fn untag_alias(ctx: &Context, instance: &str, alias: &Reference) -> Result<(), JobError> {
    ctx.changed();
    match ctx.engine.remove(alias).await {
        Ok(_) | Err(EngineError::NotFound(_)) => Ok(ctx.store.forget_made(instance, alias).await?),
        Err(error) => Err(error.into()),
    }
}

/// A pull of ours brought it by its digest, and its job ended before it got a name: it is listed like a digest that a name
/// left behind, and goes like one.
async fn abandoned(ctx: &Context, inventory: &Inventory, made: &Made) -> Result<(), JobError> {
    let instance = inventory.engine.instance();
    let Selector::Digest(digest) = made.reference.selector else { return Ok(()) };
    let known = ctx.store.superseded(&instance).await?;
    let Some(image) = inventory.find(&made.reference) else { return Ok(()) };
    if known.iter().any(|old| old.repository == made.reference.repository && old.digest == digest) {
        return Ok(());
    }
    let Some(row) = ctx.store.job(&made.job).await? else { return Ok(()) };
    let Some(was) = row.job.intent.image().filter(|_| row.job.state.is_final()) else { return Ok(()) };
    // without a successor it stays, and is listed all the same
    let successor = inventory.named(was).and_then(|now| now.digests_in(&was.repository).next()).unwrap_or(digest);
    tracing::info!(reference = %made.reference, job = %made.job, "was brought here by a job that ended before it had a name");
    let superseded = Superseded {
        repository: made.reference.repository.clone(),
        digest,
        was: was.clone(),
        successor,
        image_id: image.id,
        size: None,
        at: ctx.now(),
        job: made.job.clone(),
    };
    Ok(ctx.store.record_superseded(&instance, superseded).await?)
}
