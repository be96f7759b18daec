//! A kept image: is it here with the right digest, and if not, bring it.

use layerkeeper_core::job::JobKind;
use layerkeeper_core::plan::{Finding, KeepVerdict, Remote, judge_kept};
use layerkeeper_core::policy::Keep;
use layerkeeper_core::{Digest, ImageName, Inventory};

use crate::context::Context;
use crate::follow::Phase;
use crate::job_error::JobError;
use crate::worker::bring::bring;
use crate::worker::quarter;
use crate::worker::resolve::{Wanted, resolve};
use crate::worker::run::Run;

/// The steps of a warm or heal job.
pub(super) async fn warm(run: &mut Run<'_>, image: &ImageName) -> Result<(), JobError> {
    let settings = run.ctx.settings();
    let (of, keep) = (settings.series_of(image), settings.policy.kept(image));
    if of.is_none() && keep.is_none() {
        return Err(JobError::Refused(format!("{image} is no longer a kept image in the configuration")));
    }
    if let Some(stone) = run.ctx.buried().get(image) {
        return Err(JobError::Refused(format!(
            "{image} was forgotten ({}: {}); `layerkeeper prewarm {image}` keeps it again",
            stone.who, stone.reason
        )));
    }
    run.phase(Phase::Observing);
    match (of, keep) {
        (Some(of), _) => quarter::warm(run, of, image).await?,
        (None, Some(keep)) => refresh(run, keep, true).await?,
        (None, None) => {}
    }
    run.outcome.digest = run.ctx.known_digest(image).map(|digest| digest.to_string());
    Ok(())
}

/// Refreshes all kept images, in the order of the file, before a deploy. One that fails is a warning.
pub(super) async fn refresh_all(run: &mut Run<'_>) {
    run.phase(Phase::Keeping);
    let settings = run.ctx.settings();
    let mut last = None;
    for keep in &settings.policy.keep {
        if let Some(of) = settings.series_of(&keep.image) {
            // two of its quarters stand side by side
            if last.replace(&of.series.template) != Some(&of.series.template) {
                quarter::refresh_beside(run, of).await;
            }
        } else if !run.ctx.buried().contains_key(&keep.image)
            && let Err(error) = refresh(run, keep, false).await
        {
            run.warn(quarter::not_refreshed(keep, &error));
        }
    }
}

/// Brings one kept image up to date; what moved is in the job's record. `own`: the job is this image's own.
pub(super) async fn refresh(run: &mut Run<'_>, keep: &Keep, own: bool) -> Result<(), JobError> {
    let result = try_refresh(run, keep, own).await;
    let now = run.ctx.now();
    let error = result.as_ref().err().map(ToString::to_string);
    run.ctx
        .remember_kept(&keep.image, |kept| {
            if error.is_none() {
                kept.state.last_refresh = Some(now);
            }
            kept.last_error = error;
        })
        .await;
    if result.is_ok() {
        let refreshed = run.ctx.metrics.kept_refreshed.with_label_values(&[&keep.image.to_string()]);
        refreshed.set(now.seconds() as f64);
    }
    result
}

async fn try_refresh(run: &mut Run<'_>, keep: &Keep, own: bool) -> Result<(), JobError> {
    let ctx = run.ctx;
    let inventory = run.glance().await?;
    let (remote, failure) = ask(ctx, keep, &inventory).await?;
    let verdict = judge_kept(keep, &inventory, &remote, ctx.known_digest(&keep.image));
    tracing::info!(job = %run.job.id, image = %keep.image, finding = %verdict.finding, "{} {}", keep.image, verdict.reason);
    remember_verdict(run, keep, &verdict).await;
    match (verdict.finding, verdict.bring, failure) {
        // a pin that is here needs nobody; anything else was not refreshed when the registry gave no digest
        (Finding::Present, _, failure) if keep.pin.is_some() || failure.is_none() => {
            ctx.remember_kept(&keep.image, |kept| kept.state.digest = verdict.here).await;
            Ok(())
        }
        // neither here as wanted nor to be had
        (_, None, Some(failure)) => Err(failure.into()),
        (_, bring_digest, _) => {
            let wanted = keep.pin.map(Wanted::Exactly).or(bring_digest.map(Wanted::Content)).unwrap_or(Wanted::Tag);
            let target = resolve(ctx, &keep.image, wanted, &inventory).await.map_err(|error| pin_gone(keep, error))?;
            let image = bring(run, &keep.image, &target, run.job.intent.kind().of_kept(), own).await;
            // what the registry client remembers of a digest may outlive it
            let image = image.map_err(|error| pin_gone(keep, error))?;
            let digest = keep.pin.or(Some(target.digest));
            ctx.remember_kept(&keep.image, |kept| kept.state.digest = digest).await;
            run.look().await?;
            debug_assert!(image.names.contains(&keep.image));
            Ok(())
        }
    }
}

/// What the registry says of the tag: asked by the daemon, or through the engine where the daemon cannot reach it. Comes
/// with the error where there is no digest.
async fn ask(
    ctx: &Context,
    keep: &Keep,
    inventory: &Inventory,
) -> Result<(Remote, Option<layerkeeper_registry::Error>), JobError> {
    let reference = keep.image.to_reference();
    let error = match ctx.registry.resolve(&reference).await {
        Ok(resolved) => return Ok((Remote::Digest(shown(ctx, keep, resolved.digest, inventory).await), None)),
        Err(error) => error,
    };
    match error {
        error if error.is_unreachable() => {
            let login = ctx.registry.login(keep.image.repository.registry()).await?;
            match ctx.engine.resolve(&reference, login.as_ref()).await {
                Ok(digest) => Ok((Remote::Digest(digest), None)),
                Err(_) => Ok((Remote::Unknown, Some(error))),
            }
        }
        error @ layerkeeper_registry::Error::NotFound { .. } => Ok((Remote::Gone, Some(error))),
        error => Err(error.into()),
    }
}

/// What the tag shows, in the pin's words: a pin may name the platform's manifest inside the tag's index.
async fn shown(ctx: &Context, keep: &Keep, digest: Digest, inventory: &Inventory) -> Digest {
    let Some(pin) = keep.pin.filter(|pin| *pin != digest) else { return digest };
    let by_digest = keep.image.repository.by_digest(digest);
    match ctx.registry.image(&by_digest, &inventory.engine.platform).await {
        Ok(fetched) if fetched.image.is_known_as(pin) => pin,
        _ => digest,
    }
}

async fn remember_verdict(run: &Run<'_>, keep: &Keep, verdict: &KeepVerdict) {
    let (finding, unresolvable) = (verdict.finding.as_str().to_owned(), verdict.pin_unresolvable);
    run.ctx
        .remember_kept(&keep.image, |kept| {
            kept.state.finding = finding;
            kept.pin_unresolvable = unresolvable;
        })
        .await;
}

fn pin_gone(keep: &Keep, error: JobError) -> JobError {
    match keep.pin {
        Some(pin) if error.is_not_found() => JobError::Unverified(format!(
            "{} is missing, and its pinned digest {pin} is gone from the registry",
            keep.image
        )),
        _ => error,
    }
}

/// A kept image's pull counts as warming whatever job it happens in, unless it heals.
trait OfKept {
    fn of_kept(self) -> JobKind;
}

impl OfKept for JobKind {
    fn of_kept(self) -> JobKind {
        if self == JobKind::Heal { JobKind::Heal } else { JobKind::Warm }
    }
}
