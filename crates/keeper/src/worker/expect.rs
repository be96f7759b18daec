//! Holds a kept image to what is expected of its content: before its name moves to it, and where it is here already.

use layerkeeper_core::expect::{fingerprint, unmet};
use layerkeeper_core::{Digest, Image, Inventory, Keep, Reference};
use layerkeeper_engine::inside;
use layerkeeper_store::{Checked, Superseded};

use crate::context::Context;
use crate::job_error::JobError;
use crate::worker::run::Run;
use crate::worker::study;

/// What the check said of this digest; none where it was never held to these expectations.
pub(crate) fn checked(ctx: &Context, keep: &Keep, digest: Digest) -> Option<Checked> {
    ctx.kept(&keep.image)?.state.verdict(digest, &keep.expect).cloned()
}

/// The digest is known not to be as expected: it is neither brought nor named.
pub(super) fn unfit(ctx: &Context, keep: &Keep, digest: Digest) -> Option<JobError> {
    if keep.expect.is_empty() {
        return None;
    }
    let unmet = checked(ctx, keep, digest)?.unmet;
    (!unmet.is_empty()).then(|| JobError::Unmet { image: Box::new(keep.image.clone()), digest, unmet })
}

/// Holds the digest, which the engine has under `reference`, to all that is expected; an image that was once is not opened
/// again.
///
/// # Errors
/// [`JobError::Unmet`], or the engine's.
pub(super) async fn hold(run: &Run<'_>, keep: &Keep, digest: Digest, reference: &Reference) -> Result<(), JobError> {
    let ctx = run.ctx;
    if keep.expect.is_empty() {
        return Ok(());
    }
    if checked(ctx, keep, digest).is_none() {
        let left = |id: &str, error| study::left(ctx, id, &error);
        let seen = inside::look(&*ctx.engine, reference, &ctx.owner, &keep.expect, left).await?;
        let unmet = unmet(&keep.expect, &seen);
        tell(run, keep, digest, &unmet).await;
        let checked = Checked { digest, fingerprint: fingerprint(&keep.expect), unmet, at: ctx.now() };
        let failed = !checked.unmet.is_empty();
        ctx.remember_kept(&keep.image, |kept| {
            kept.state.put_verdict(checked);
            // it counted as kept before more was expected of it
            kept.state.digest = kept.state.digest.filter(|known| !failed || *known != digest);
        })
        .await;
    }
    unfit(ctx, keep, digest).map_or(Ok(()), Err)
}

async fn tell(run: &Run<'_>, keep: &Keep, digest: Digest, unmet: &[String]) {
    let (image, job) = (&keep.image, &run.job.id);
    if unmet.is_empty() {
        tracing::info!(%job, %image, %digest, expectations = keep.expect.len(), "holds all that is expected of it");
        return;
    }
    let told = format!("{} is not what is expected of it: {}", digest.short(), unmet.join("; "));
    tracing::error!(%job, %image, %digest, "is not called kept: {told}");
    run.ctx.note("unexpected content", Some(image.to_string()), Some(job), told).await;
}

/// It came and gets no name: it is listed with what other moves left behind, and goes like that.
pub(super) async fn leave_behind(
    run: &Run<'_>,
    keep: &Keep,
    digest: Digest,
    content: &Image,
    inventory: &Inventory,
) -> Result<(), JobError> {
    if !content.names.is_empty() {
        return Ok(());
    }
    let repository = &keep.image.repository;
    let stays = inventory.named(&keep.image).and_then(|named| named.digests_in(repository).next());
    let superseded = Superseded {
        repository: repository.clone(),
        digest,
        was: keep.image.clone(),
        // without a successor it stays, and is listed all the same
        successor: stays.unwrap_or(digest),
        image_id: content.id,
        size: None,
        at: run.ctx.now(),
        job: run.job.id.clone(),
    };
    Ok(run.ctx.store.record_superseded(&inventory.engine.instance(), superseded).await?)
}
