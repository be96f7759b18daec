//! Brings back what somebody took away: a kept image, or a runtime tag that the last plan kept.

use layerkeeper_core::ImageName;
use layerkeeper_core::job::JobKind;

use crate::follow::Phase;
use crate::job_error::JobError;
use crate::worker::bring::bring;
use crate::worker::provenance::settle;
use crate::worker::resolve::{Wanted, resolve};
use crate::worker::run::Run;
use crate::worker::warm;

/// The steps of a heal job.
pub(super) async fn heal(run: &mut Run<'_>, image: &ImageName) -> Result<(), JobError> {
    let ctx = run.ctx;
    if let Some(record) = ctx.vouched.standing(image).await? {
        // it is here, and its registry, which was away when it came, answers again
        run.outcome.digest = Some(record.digest.to_string());
        return settle(run, &record).await;
    }
    if ctx.settings().policy.kept(image).is_some() {
        return warm::warm(run, image, None).await;
    }
    run.phase(Phase::Observing);
    let inventory = run.known().await?;
    let restorable = ctx.store.restorable(&inventory.engine.instance()).await?;
    let Some(tag) = restorable.into_iter().find(|tag| tag.image == *image) else {
        return Err(JobError::Refused(format!("{image} is no longer among what the last plan kept")));
    };
    let target = resolve(ctx, image, tag.digest.map_or(Wanted::Tag, Wanted::Content), &inventory).await?;
    run.outcome.digest = Some(target.digest.to_string());
    bring(run, image, &target, JobKind::Heal, true).await?;
    Ok(())
}
