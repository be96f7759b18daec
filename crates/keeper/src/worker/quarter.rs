//! A kept image with `{quarter}` in its tag: which quarter is wanted, and the step from one to the next.
//!
//! Wanted is the newest that the registry has and that is not after today. The job that finds it brings it; the one before
//! stays kept until the wanted one is verified here, however long that takes.

use layerkeeper_core::versions::candidates;
use layerkeeper_core::{ImageName, Keep, Quarter, Quarters};
use layerkeeper_engine::EngineError;
use layerkeeper_registry::Error as RegistryError;

use crate::context::Context;
use crate::job_error::JobError;
use crate::settings::KeepSeries;
use crate::worker::resolve::{Wanted, resolve};
use crate::worker::run::Run;
use crate::worker::warm::{not_forgotten, refresh};

/// The steps of a warm or heal job for one of its names.
pub(super) async fn warm(run: &mut Run<'_>, of: &KeepSeries, image: &ImageName) -> Result<(), JobError> {
    let ctx = run.ctx;
    let (template, at) = (&of.series.template, ctx.quarters(of));
    let was_kept = ctx.settings().policy.kept(image).is_some();
    let mut failed = None;
    match look(ctx, of).await {
        Ok(wanted) if template.name(wanted) == *image => {
            not_forgotten(ctx, image)?;
            return bring(run, of, wanted, true).await;
        }
        // one that was wanted may have gone from the registry before it came
        Ok(wanted) if at.current == Some(wanted) => {
            ctx.stand_at(of, Quarters { wanted: Some(wanted), ..at }, &run.job.id).await;
        }
        Ok(wanted) => failed = bring_beside(run, of, wanted).await,
        // what is here can be refreshed all the same
        Err(error) if was_kept && at.current.is_some() => run.warn(not_looked(of, &error)),
        Err(error) => {
            ctx.remember_kept(image, |kept| kept.last_error = Some(error.to_string())).await;
            return Err(error);
        }
    }
    let settings = ctx.settings();
    if let Some(keep) = settings.policy.kept(image) {
        not_forgotten(ctx, image)?;
        return refresh(run, keep, true).await;
    }
    // nothing of it is here in this image's place
    if let (Some(error), None) = (failed, ctx.quarters(of).current) {
        return Err(error);
    }
    if !was_kept {
        // somebody wants this very one: that the registry has none is the answer
        let inventory = run.glance().await?;
        resolve(ctx, image, Wanted::Tag, &inventory).await?;
    }
    let kept = settings.policy.keep.iter().find(|keep| template.quarter_of(&keep.image).is_some());
    let kept = kept.map(|keep| keep.image.to_string()).unwrap_or_default();
    run.warn(format!("{image} is not kept now: of {template} it is {kept}"));
    Ok(())
}

/// Refreshes what is kept of it, before a deploy: whatever fails is a warning.
pub(super) async fn refresh_beside(run: &mut Run<'_>, of: &KeepSeries) {
    let wanted = match look(run.ctx, of).await {
        Ok(wanted) => {
            let _told = bring_beside(run, of, wanted).await;
            Some(wanted)
        }
        Err(error) => {
            run.warn(not_looked(of, &error));
            None
        }
    };
    let before = run.ctx.quarters(of).current.filter(|current| Some(*current) != wanted);
    if let Some(keep) = before.map(|current| of.series.keep(current)).filter(|keep| is_wanted(run.ctx, keep))
        && let Err(error) = refresh(run, &keep, false).await
    {
        run.warn(not_refreshed(&keep, &error));
    }
}

/// The wanted quarter: the one to stay at, else the newest that the registry has. Only its word that it has no such tag
/// leads to an older one.
async fn look(ctx: &Context, of: &KeepSeries) -> Result<Quarter, JobError> {
    if let Some(fixed) = of.series.quarter {
        return Ok(fixed);
    }
    let (today, mut current) = (of.today(ctx.now()), ctx.quarters(of).current);
    let template = &of.series.template;
    let is_here = |name| ctx.view().inventory.is_none_or(|inventory| inventory.named(&name).is_some());
    if let Some(lost) = current.map(|at| template.name(at)).filter(|name| !is_here(name.clone()))
        && !exists(ctx, &lost).await?
    {
        // neither here nor to be had: no quarter to hold on to
        current = None;
    }
    let mut oldest = today;
    for quarter in candidates(today, current) {
        if exists(ctx, &template.name(quarter)).await? {
            return Ok(quarter);
        }
        oldest = quarter;
    }
    current.ok_or_else(|| JobError::NoQuarter { template: Box::new(template.clone()), oldest, newest: today })
}

/// Has the registry this tag? Asked by the daemon, or through the engine where the daemon cannot reach it.
async fn exists(ctx: &Context, name: &ImageName) -> Result<bool, JobError> {
    let reference = name.to_reference();
    match ctx.registry.resolve(&reference).await {
        Ok(_) => Ok(true),
        Err(RegistryError::NotFound { .. }) => Ok(false),
        Err(error) if error.is_unreachable() => {
            let login = ctx.registry.login(name.repository.registry()).await?;
            match ctx.engine.resolve(&reference, login.as_ref()).await {
                Ok(_) => Ok(true),
                Err(EngineError::NotFound(_)) => Ok(false),
                Err(_) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Brings or refreshes the wanted quarter's image. Verified here it is the current one; else both are kept from now on.
async fn bring(run: &mut Run<'_>, of: &KeepSeries, wanted: Quarter, own: bool) -> Result<(), JobError> {
    let result = refresh(run, &of.series.keep(wanted), own).await;
    let current = if result.is_ok() { Some(wanted) } else { run.ctx.quarters(of).current };
    run.ctx.stand_at(of, Quarters { wanted: Some(wanted), current }, &run.job.id).await;
    result
}

/// The same in a job that is about another image: why it failed is a warning there.
async fn bring_beside(run: &mut Run<'_>, of: &KeepSeries, wanted: Quarter) -> Option<JobError> {
    let keep = of.series.keep(wanted);
    if !is_wanted(run.ctx, &keep) {
        return None;
    }
    let error = bring(run, of, wanted, false).await.err()?;
    run.warn(not_refreshed(&keep, &error));
    Some(error)
}

fn is_wanted(ctx: &Context, keep: &Keep) -> bool {
    !ctx.buried().contains_key(&keep.image)
}

fn not_looked(of: &KeepSeries, error: &JobError) -> String {
    format!("no newer quarter of {} could be looked for: {error}", of.series.template)
}

/// Of any kept image.
pub(super) fn not_refreshed(keep: &Keep, error: &JobError) -> String {
    format!("kept image {} could not be refreshed: {error}", keep.image)
}
