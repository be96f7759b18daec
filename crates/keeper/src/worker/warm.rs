//! A kept image: is it here with the right digest, and if not, bring it.

use layerkeeper_core::ImageName;
use layerkeeper_core::job::JobKind;
use layerkeeper_core::plan::{Finding, KeepVerdict, Remote, judge_kept};
use layerkeeper_core::policy::Keep;
use layerkeeper_store::record::PullRecord;

use crate::follow::Phase;
use crate::job_error::JobError;
use crate::worker::bring::bring;
use crate::worker::resolve::resolve;
use crate::worker::run::Run;

/// The steps of a warm or heal job.
pub(super) async fn warm(run: &mut Run<'_>, image: &ImageName) -> Result<(), JobError> {
    let settings = run.ctx.settings();
    let Some(keep) = settings.policy.kept(image) else {
        return Err(JobError::Refused(format!("{image} is no longer a kept image in the configuration")));
    };
    run.phase(Phase::Observing);
    let pulled = refresh(run, keep, true).await?;
    if pulled.is_some() {
        // the report has them
        run.outcome.estimate = None;
        run.outcome.attempts.clear();
    }
    run.outcome.pull = pulled;
    run.outcome.digest = run.ctx.known_digest(image).map(|digest| digest.to_string());
    Ok(())
}

/// Refreshes all kept images, in the order of the file, before a deploy. One that fails is a warning.
pub(super) async fn refresh_all(run: &mut Run<'_>) {
    run.phase(Phase::Keeping);
    let settings = run.ctx.settings();
    for keep in &settings.policy.keep {
        match refresh(run, keep, false).await {
            Ok(Some(record)) => run.outcome.kept.push(record),
            Ok(None) => {}
            Err(error) => run.warn(format!("kept image {} could not be refreshed: {error}", keep.image)),
        }
    }
}

/// Brings one kept image up to date; the report is there when something was done.
async fn refresh(run: &mut Run<'_>, keep: &Keep, own: bool) -> Result<Option<PullRecord>, JobError> {
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

async fn try_refresh(run: &mut Run<'_>, keep: &Keep, own: bool) -> Result<Option<PullRecord>, JobError> {
    let ctx = run.ctx;
    let inventory = ctx.observe().await?;
    let (remote, failure) = match ctx.registry.resolve(&keep.image.to_reference()).await {
        Ok(resolved) => (Remote::Digest(resolved.digest), None),
        Err(error) if error.is_unreachable() => (Remote::Unknown, Some(error)),
        Err(error @ layerkeeper_registry::Error::NotFound { .. }) => (Remote::Gone, Some(error)),
        Err(error) => return Err(error.into()),
    };
    let verdict = judge_kept(keep, &inventory, &remote, ctx.known_digest(&keep.image));
    tracing::info!(job = %run.job.id, image = %keep.image, finding = %verdict.finding, "{} {}", keep.image, verdict.reason);
    remember_verdict(run, keep, &verdict).await;
    match (verdict.finding, verdict.bring, failure) {
        (Finding::Present, ..) => {
            ctx.remember_kept(&keep.image, |kept| kept.state.digest = verdict.here).await;
            Ok(None)
        }
        // neither here as wanted nor to be had
        (_, None, Some(failure)) => Err(failure.into()),
        (_, bring_digest, _) => {
            // an unreachable registry may still be reached through the engine
            let wanted = keep.pin.or(bring_digest);
            let target = resolve(ctx, &keep.image, wanted, &inventory).await.map_err(|error| pin_gone(keep, error))?;
            let brought = bring(run, &keep.image, &target, run.job.intent.kind().of_kept(), own).await?;
            let digest = keep.pin.or(Some(target.digest));
            ctx.remember_kept(&keep.image, |kept| kept.state.digest = digest).await;
            ctx.observe().await?;
            debug_assert!(brought.image.names.contains(&keep.image));
            Ok(brought.report.as_ref().map(PullRecord::from))
        }
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
