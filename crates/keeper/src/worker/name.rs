//! Makes the name, once the content is here: by pulling the tag, or by a local tag; and records what the name leaves
//! behind.

use std::time::Duration;

use layerkeeper_core::plan::{Naming, naming};
use layerkeeper_core::{Bytes, Digest, Image, ImageName, Inventory};
use layerkeeper_engine::EngineError;
use layerkeeper_registry::Error as RegistryError;
use layerkeeper_store::Superseded;
use layerkeeper_store::record::AttemptRecord;

use crate::job_error::JobError;
use crate::worker::bring::{Job, check};
use crate::worker::provenance::{settle_first, vouch_also, vouched_for};
use crate::worker::pull::{Pulled, pull};
use crate::worker::resolve::Target;
use crate::worker::run::Run;

/// For so long the registry's and the engine's word from before the pull stands after it.
const ANSWER_AGE: Duration = Duration::from_secs(5);

/// Makes the name and looks whether it stands for the digest now.
pub(super) async fn give_name(run: &mut Run<'_>, job: &Job<'_>, content: &Image) -> Result<Image, JobError> {
    supersede(run, job, content).await?;
    let name = job.name.to_reference();
    let (how, is_free) = judge(run, job).await?;
    if how == Naming::ByPull {
        let login = run.ctx.registry.login(job.name.repository.registry()).await?;
        let mut pulled = pull(run, job.name, &name, login.as_ref(), None, None).await?;
        run.outcome.moved_bytes += pulled.attempt.moved.0;
        if let Some(error) = pulled.error.take() {
            in_vain(run, job, &pulled);
            let is_there = !matches!(error, JobError::Engine(EngineError::Unreachable { .. }));
            if !is_free || !is_there {
                return Err(error);
            }
            // the content is here and the name is taken from nobody: the registry's word can come later
            tracing::info!(image = %job.name, %error, "could not be named by a pull; is named here");
            return by_local_tag(run, job, content).await;
        }
        if let Some(image) = run.ctx.engine.image(&name).await? {
            if check(Some(&image), job, &job.name.to_string()).is_ok() {
                return Ok(image);
            }
            // what came instead is left behind by the tag below
            for digest in image.digests_in(&job.name.repository) {
                superseded(run, job, digest, &image).await?;
            }
        }
        pulled.attempt.failure = Some("the tag moved at the registry while it was pulled".to_owned());
        in_vain(run, job, &pulled);
        run.warn(format!(
            "{} moved at the registry while it was pulled; it is named here as it was asked for",
            job.name
        ));
    }
    by_local_tag(run, job, content).await
}

async fn by_local_tag(run: &mut Run<'_>, job: &Job<'_>, content: &Image) -> Result<Image, JobError> {
    let name = job.name.to_reference();
    still_free(run, job).await?;
    vouch_also(run, job, content).await?;
    let source = job.name.repository.by_digest(job.target.digest);
    run.changes();
    // it was here a moment ago: somebody removed it, and the next take pulls it again
    let gone = |error| match error {
        EngineError::NotFound(cause) => EngineError::Vanished(cause),
        error => error,
    };
    run.ctx.engine.tag(&source, job.name).await.map_err(gone)?;
    let image = run.ctx.engine.image(&name).await?;
    check(image.as_ref(), job, &job.name.to_string())?;
    image.ok_or_else(|| JobError::Unverified(format!("{} is not on the engine", job.name)))
}

/// How the name is made, and whether a local tag would do as well. The pull may have taken an hour, in which the tag may have
/// moved at the registry, or somebody may have created a container from the name.
async fn judge(run: &mut Run<'_>, job: &Job<'_>) -> Result<(Naming, bool), JobError> {
    let mut shows = job.target.tag_shows;
    // its name brings the registry's word with it, where only ours stands for the content
    let unconfirmed = vouched_for(run.ctx, job);
    let by_pull = |how, shows| match how {
        Naming::ByLocalTag if unconfirmed && shows == Some(job.target.digest) => (Naming::ByPull, true),
        how => (how, false),
    };
    if job.begun.elapsed() < ANSWER_AGE {
        return Ok(by_pull(allowed(job.name, job.target, shows, &job.inventory)?, shows));
    }
    let inventory = run.look().await?;
    let seen = allowed(job.name, job.target, shows, &inventory);
    if job.target.away || !unconfirmed && matches!(seen, Ok(Naming::ByLocalTag)) {
        // whatever the tag shows by now
        return Ok((seen?, false));
    }
    match run.ctx.registry.resolve(&job.name.to_reference()).await {
        Ok(now) => shows = Some(now.digest),
        Err(RegistryError::NotFound { .. }) => shows = None,
        // the pull by the tag will tell
        Err(error) => tracing::debug!(image = %job.name, %error, "could not ask for the tag once more"),
    }
    Ok(by_pull(allowed(job.name, job.target, shows, &inventory)?, shows))
}

/// How the name is made, if it may be.
pub(super) fn allowed(
    name: &ImageName,
    target: &Target,
    shows: Option<Digest>,
    inventory: &Inventory,
) -> Result<Naming, JobError> {
    unless_in_use(name, target, naming(name, target.digest, shows, inventory.named(name), &inventory.containers))
}

/// A local tag is judged as a removal is: by the containers that the engine lists right before it.
async fn still_free(run: &Run<'_>, job: &Job<'_>) -> Result<(), JobError> {
    let containers = run.ctx.engine.containers().await?;
    if containers.iter().all(|container| container.created_from.as_ref() != Some(job.name)) {
        return Ok(());
    }
    let named = run.ctx.engine.image(&job.name.to_reference()).await?;
    let how = naming(job.name, job.target.digest, None, named.as_ref(), &containers);
    unless_in_use(job.name, job.target, how).map(drop)
}

fn unless_in_use(name: &ImageName, target: &Target, naming: Naming) -> Result<Naming, JobError> {
    match naming {
        Naming::Forbidden(container) => {
            Err(JobError::NameInUse { name: Box::new(name.clone()), digest: target.digest, container })
        }
        naming => Ok(naming),
    }
}

/// What a naming pull moved that made no name counts as wasted, in the report that is written already.
fn in_vain(run: &mut Run<'_>, job: &Job<'_>, pulled: &Pulled) {
    let moved = pulled.attempt.moved;
    if moved == Bytes::ZERO {
        return;
    }
    let image = job.name.to_string();
    let mut attempt = AttemptRecord::from(&pulled.attempt);
    let report = if job.own { run.outcome.pull.as_mut() } else { run.outcome.kept.last_mut() };
    match report.filter(|report| report.image == image) {
        Some(report) => {
            report.wasted_bytes += moved.0;
            // before the one that succeeded
            report.attempts.insert(report.attempts.len().saturating_sub(1), attempt);
            run.ctx.metrics.wasted(&job.name.repository, job.kind, moved.0);
        }
        None => {
            attempt.image = image;
            run.outcome.attempts.push(attempt);
        }
    }
}

/// Records what the name is about to leave behind. Before it does: after a crash in between nobody would know of it, and
/// while the tag still shows the old digest the record changes nothing.
async fn supersede(run: &mut Run<'_>, job: &Job<'_>, content: &Image) -> Result<(), JobError> {
    let Some(old) = job.inventory.named(job.name).filter(|old| old.id != content.id) else { return Ok(()) };
    settle_first(run, job.name).await;
    for digest in old.digests_in(&job.name.repository) {
        superseded(run, job, digest, old).await?;
        tracing::info!(image = %job.name, %digest, "superseded: the name moves on");
    }
    Ok(())
}

async fn superseded(run: &Run<'_>, job: &Job<'_>, digest: Digest, old: &Image) -> Result<(), JobError> {
    let superseded = Superseded {
        repository: job.name.repository.clone(),
        digest,
        was: job.name.clone(),
        successor: job.target.digest,
        image_id: old.id,
        size: None,
        at: run.ctx.now(),
        job: run.job.id.clone(),
    };
    Ok(run.ctx.store.record_superseded(&job.inventory.engine.instance(), superseded).await?)
}
