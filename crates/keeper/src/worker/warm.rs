//! A kept image: is it here with the right digest, and if not, bring it.

use layerkeeper_core::job::JobKind;
use layerkeeper_core::plan::{Finding, KeepVerdict, Remote, judge_kept};
use layerkeeper_core::policy::Keep;
use layerkeeper_core::{Digest, ImageName, Inventory, Repository};

use crate::context::Context;
use crate::follow::Phase;
use crate::job_error::JobError;
use crate::worker::bring::bring;
use crate::worker::expect::{hold, unfit};
use crate::worker::quarter;
use crate::worker::resolve::{Wanted, resolve};
use crate::worker::run::Run;

/// The steps of a warm or heal job; `said`: the digest that the sender says the image has.
pub(super) async fn warm(run: &mut Run<'_>, image: &ImageName, said: Option<Digest>) -> Result<(), JobError> {
    let settings = run.ctx.settings();
    let (of, keep) = (settings.series_of(image), settings.policy.kept(image));
    if of.is_none() && keep.is_none() {
        return Err(JobError::Refused(format!("{image} is no longer a kept image in the configuration")));
    }
    run.phase(Phase::Observing);
    match (of, keep) {
        (Some(of), _) => quarter::warm(run, of, image).await?,
        (None, Some(keep)) => {
            not_forgotten(run.ctx, image)?;
            refresh(run, keep, true).await?;
        }
        (None, None) => {}
    }
    // the quarter that came may not have been kept before
    let keep = run.ctx.settings().keep_of(image);
    let here = run.ctx.known_digest(image);
    run.outcome.digest = here.map(|digest| digest.to_string());
    if let (Some(said), Some(here), Some(keep)) = (said, here, keep) {
        compare(run, &keep, said, here).await?;
    }
    Ok(())
}

/// # Errors
/// [`JobError::Refused`]: an operator forgot it.
pub(super) fn not_forgotten(ctx: &Context, image: &ImageName) -> Result<(), JobError> {
    match ctx.buried().get(image) {
        Some(stone) => Err(JobError::Refused(format!(
            "{image} was forgotten ({}: {}); `layerkeeper prewarm {image}` keeps it again",
            stone.who, stone.reason
        ))),
        None => Ok(()),
    }
}

/// A kept image is what its pin or its tag says, whatever a sender says; but who said something else is told.
async fn compare(run: &mut Run<'_>, keep: &Keep, said: Digest, here: Digest) -> Result<(), JobError> {
    let inventory = run.glance().await?;
    let repository = &keep.image.repository;
    let same = is_known_as(run.ctx, repository, here, said, &inventory).await
        || is_known_as(run.ctx, repository, said, here, &inventory).await;
    if !same {
        let why = if keep.pin.is_some() { "it is pinned to" } else { "its tag shows" };
        run.warn(format!("{} was said to be {said}, and is not: {why} {here}, which is here", keep.image));
    }
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
    let error = match &result {
        Ok(None) => None,
        Ok(Some(error)) | Err(error) => Some(error.to_string()),
    };
    run.ctx
        .remember_kept(&keep.image, |kept| {
            if error.is_none() {
                kept.state.last_refresh = Some(now);
            }
            kept.last_error = error;
        })
        .await;
    if let Some(inventory) = run.ctx.view().inventory {
        run.ctx.renew_gauges(&inventory);
    }
    match result {
        Ok(None) => Ok(()),
        // what was lost is back, and that is what a healing is for
        Ok(Some(unfit)) if run.job.intent.kind() == JobKind::Heal => {
            run.warn(unfit.to_string());
            Ok(())
        }
        Ok(Some(error)) | Err(error) => Err(error),
    }
}

/// What is to be kept is here in the end. Comes with why the registry's newest is not what is kept, where that is so: it
/// does not hold what is expected of it, and the last that did stays, or comes back.
async fn try_refresh(run: &mut Run<'_>, keep: &Keep, own: bool) -> Result<Option<JobError>, JobError> {
    let ctx = run.ctx;
    let inventory = run.glance().await?;
    let (shown, failure) = ask(ctx, keep, &inventory).await?;
    let asked_for = wanted(keep, &shown);
    // an answer tells what matters of what was checked: of what is neither wanted nor here, nobody needs to be told
    let answered = shown != Remote::Unknown;
    let unfit = asked_for.and_then(|digest| unfit(ctx, keep, digest));
    let good = ctx.known_digest(&keep.image).filter(|_| keep.pin.is_none());
    let remote = match (&unfit, good) {
        (Some(_), Some(good)) => Remote::Digest(good),
        _ => shown,
    };
    let verdict = judge_kept(keep, &inventory, &remote, ctx.known_digest(&keep.image));
    tracing::info!(job = %run.job.id, image = %keep.image, finding = %verdict.finding, "{} {}", keep.image, verdict.reason);
    let matters = answered.then_some([asked_for, verdict.here, good]);
    remember_verdict(run, keep, &verdict, matters).await;
    let unfit = match (unfit, good) {
        (Some(unfit), None) => return Err(unfit),
        (unfit, _) => unfit,
    };
    match (verdict.finding, verdict.bring, failure) {
        // a pin that is here needs nobody; anything else was not refreshed when the registry gave no digest
        (Finding::Present, _, failure) if keep.pin.is_some() || failure.is_none() => {
            if let Some(here) = verdict.here {
                hold(run, keep, here, &keep.image.repository.by_digest(here)).await?;
            }
            ctx.remember_kept(&keep.image, |kept| kept.state.digest = verdict.here).await;
            Ok(unfit)
        }
        // neither here as wanted nor to be had
        (_, None, Some(failure)) => Err(failure.into()),
        (_, bring_digest, _) => {
            let wanted = keep.pin.map(Wanted::Exactly).or(bring_digest.map(Wanted::Content)).unwrap_or(Wanted::Tag);
            let target = resolve(ctx, &keep.image, wanted, &inventory).await.map_err(|error| pin_gone(keep, error))?;
            let image = bring(run, &keep.image, &target, run.job.intent.kind().of_kept(), own).await;
            // what the registry client remembers of a digest may outlive it
            let image = match image.map_err(|error| pin_gone(keep, error)) {
                // nothing is here under the name: the last good one is better than none
                Err(JobError::Unmet { .. }) if verdict.finding == Finding::Absent && good.is_some() => {
                    return Box::pin(try_refresh(run, keep, own)).await;
                }
                image => image?,
            };
            // the tag may show an index around what is here: the name has the digest that the engine knows
            let repository = &keep.image.repository;
            let known = Some(target.digest).filter(|digest| image.has_digest(repository, *digest));
            let digest = keep.pin.or(known).or_else(|| image.digests_in(repository).next());
            ctx.remember_kept(&keep.image, |kept| kept.state.digest = digest).await;
            run.look().await?;
            debug_assert!(image.names.contains(&keep.image));
            Ok(unfit)
        }
    }
}

/// The digest that is to be kept, where anybody says.
fn wanted(keep: &Keep, shown: &Remote) -> Option<Digest> {
    match (keep.pin, shown) {
        (Some(pin), _) => Some(pin),
        (None, Remote::Digest(digest)) => Some(*digest),
        (None, Remote::Gone | Remote::Unknown) => None,
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
        // what a pin names may come from a mirror meanwhile
        error if error.is_server_error() && keep.pin.is_some() => Ok((Remote::Unknown, Some(error))),
        error => Err(error.into()),
    }
}

/// What the tag shows, in the pin's words: a pin may name the platform's manifest inside the tag's index.
async fn shown(ctx: &Context, keep: &Keep, digest: Digest, inventory: &Inventory) -> Digest {
    match keep.pin {
        Some(pin) if is_known_as(ctx, &keep.image.repository, digest, pin, inventory).await => pin,
        _ => digest,
    }
}

/// The image with this digest has that one, too: one may be an index, the other the platform's manifest inside it.
async fn is_known_as(
    ctx: &Context,
    repository: &Repository,
    digest: Digest,
    other: Digest,
    inventory: &Inventory,
) -> bool {
    if digest == other {
        return true;
    }
    let fetched = ctx.registry.image(&repository.by_digest(digest), &inventory.engine.platform).await;
    fetched.is_ok_and(|fetched| fetched.image.is_known_as(other))
}

async fn remember_verdict(run: &Run<'_>, keep: &Keep, verdict: &KeepVerdict, matters: Option<[Option<Digest>; 3]>) {
    run.ctx
        .remember_kept(&keep.image, |kept| {
            kept.state.finding = verdict.finding.as_str().to_owned();
            kept.pin_unresolvable = verdict.pin_unresolvable;
            kept.tag_shows = verdict.tag_shows;
            if let Some(matters) = matters {
                kept.state.checked.retain(|one| matters.contains(&Some(one.digest)));
            }
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
