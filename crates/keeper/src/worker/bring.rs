//! Brings one digest here under one name: estimate, pull by digest, verify, name, verify, report. The one way by which
//! content comes, for deploys, refreshes and healing alike.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use layerkeeper_core::job::JobKind;
use layerkeeper_core::layers::LayerRecord;
use layerkeeper_core::plan::{Arrival, TransferChoice, Way, arrival};
use layerkeeper_core::progress::PullProgress;
use layerkeeper_core::reuse::account::Evidence;
use layerkeeper_core::reuse::{Attempt, Estimate, ReuseReport, account, estimate};
use layerkeeper_core::{Bytes, Digest, Image, ImageManifest, ImageName, Inventory, Reference, StoreKind};
use layerkeeper_engine::EngineError;
use layerkeeper_store::MadeFor;
use layerkeeper_store::record::{AttemptRecord, EstimateRecord, PhasesRecord, PullRecord, TransferRecord};
use tokio::time::{Instant, timeout};

use crate::context::Context;
use crate::follow::Phase;
use crate::heal;
use crate::job_error::JobError;
use crate::worker::estimate::refuse_zstd;
use crate::worker::expect::{hold, leave_behind};
use crate::worker::explain::explained;
use crate::worker::knowledge::{holdings, remember};
use crate::worker::name::{allowed, give_name};
use crate::worker::pull::Pulled;
use crate::worker::resolve::Target;
use crate::worker::run::Run;
use crate::worker::study::wish;
use crate::worker::transfer::{clear_spool, make_ready, transfer};

/// For so long an explanation may take beyond its pull; then the report goes without it.
const GRACE: Duration = Duration::from_secs(2);

/// What a pull is made with.
pub(super) struct Job<'t> {
    pub name: &'t ImageName,
    pub target: &'t Target,
    pub kind: JobKind,
    /// It is the job's own image, not a kept one on the way.
    pub own: bool,
    pub estimate: Option<Estimate>,
    /// The records of layers that it was made by.
    pub records: Vec<LayerRecord>,
    /// The estimate with the cause of what moves, once it is known.
    pub explained: Option<EstimateRecord>,
    pub inventory: Arc<Inventory>,
    /// When all this was asked for.
    pub begun: Instant,
    /// Which way it is to come, once that is chosen.
    pub choice: Option<TransferChoice>,
}

/// Brings `target` here under `name`, and gives the image as the engine then shows it. What moved is in the job's record.
pub(super) async fn bring(
    run: &mut Run<'_>,
    name: &ImageName,
    target: &Target,
    kind: JobKind,
    own: bool,
) -> Result<Image, JobError> {
    let ctx = run.ctx;
    let begun = Instant::now();
    // not by the engine's events: what is estimated, and what counts as done, must hold
    let inventory = run.glance().await?;
    let inventory = with_unlisted(run, inventory, &name.repository.by_digest(target.digest)).await?;
    let arrival = judge(name, target, &inventory);
    if let (Arrival::Done, Some(image)) = (arrival, inventory.named(name)) {
        held_to(run, name, target.digest, image, &inventory).await?;
        return Ok(image.clone());
    }
    allowed(name, target, target.tag_shows, &inventory)?;
    let (estimate, records) = match &target.manifest {
        Some(manifest) => {
            let (holdings, records) = holdings(ctx, &inventory, manifest).await?;
            (Some(estimate(manifest, &holdings)), records)
        }
        None => (None, Vec::new()),
    };
    let estimate = brought_before(run, arrival, target, name).or(estimate);
    if own {
        run.outcome.estimate = estimate.as_ref().map(EstimateRecord::from);
        run.save().await?;
    }
    (ctx.at)("estimated");
    if let Some(estimate) = &estimate {
        refuse_zstd(estimate, &inventory, name)?;
    }
    let mut job = Job { name, target, kind, own, estimate, records, explained: None, inventory, begun, choice: None };
    if arrival == Arrival::Pull {
        make_ready(run, &mut job).await?;
    }
    let report =
        if arrival == Arrival::Pull || !told(run, &job) { Some(fetch(run, &mut job, arrival).await?) } else { None };
    (ctx.at)("reported");
    let image = settle(run, &job, report.as_ref()).await?;
    (ctx.at)("named");
    // also where a kill kept the relay from it
    clear_spool(ctx, &job).await;
    heal::back(run.ctx, name, &run.job.id).await;
    if let Some(report) = &report {
        say(run, &job, report).await;
    }
    if let (JobKind::Deploy, Some(pull), Some(manifest)) = (kind, &run.outcome.pull, &target.manifest) {
        wish(ctx, &run.job.id, name, manifest, pull);
    }
    Ok(image)
}

/// Asks the containerd store, which does not list all that it holds, for what is about to be pulled: a pull that broke off at
/// its very end, or a kill after one, may have left it under a name that we do not know of, or under none.
async fn with_unlisted(
    run: &mut Run<'_>,
    inventory: Arc<Inventory>,
    reference: &Reference,
) -> Result<Arc<Inventory>, EngineError> {
    if inventory.engine.store != StoreKind::Containerd || inventory.find(reference).is_some() {
        return Ok(inventory);
    }
    let at = Instant::now();
    let Some(image) = run.ctx.engine.image(reference).await? else { return Ok(inventory) };
    // also for the next look that builds on this one
    run.saw(at, &inventory, &image).await;
    run.glance().await
}

/// Verifies the content and gives it its name. A name that was not here is taken from nobody: what else is here can be
/// asked beside this, and need not be looked for afterwards, which takes the containerd store 150 ms.
async fn settle(run: &mut Run<'_>, job: &Job<'_>, report: Option<&ReuseReport>) -> Result<Image, JobError> {
    let (ctx, at) = (run.ctx, Instant::now());
    let is_new = job.inventory.named(job.name).is_none();
    run.phase(Phase::Verifying);
    let (seen, image) = tokio::join!(async { if is_new { ctx.confirm_rest().await.ok() } else { None } }, async {
        let content = verify(run, job).await?;
        (ctx.at)("verified");
        if let (Some(report), Some(manifest)) = (report, &job.target.manifest) {
            remember(ctx, &job.inventory, manifest, report).await?;
        }
        held_to(run, job.name, job.target.digest, &content, &job.inventory).await?;
        give_name(run, job, &content).await
    });
    let image = image?;
    if let Some(seen) = seen {
        run.saw(at, &seen, &image).await;
    }
    Ok(image)
}

/// A kept image is held to what is expected of it before its name moves.
async fn held_to(
    run: &Run<'_>,
    name: &ImageName,
    digest: Digest,
    content: &Image,
    inventory: &Inventory,
) -> Result<(), JobError> {
    let Some(keep) = run.ctx.settings().keep_of(name) else { return Ok(()) };
    // an index, and the platform's manifest inside it: the engine may know the content by the other one only
    let repository = &name.repository;
    let known =
        if content.has_digest(repository, digest) { Some(digest) } else { content.digests_in(repository).next() };
    let reference = known.map_or_else(|| name.to_reference(), |known| repository.by_digest(known));
    let held = hold(run, &keep, digest, &reference).await;
    if matches!(held, Err(JobError::Unmet { .. })) {
        leave_behind(run, &keep, digest, content, inventory).await?;
    }
    held
}

/// The daemon ended between a pull and its report: what moved then is what was expected before it.
fn brought_before(run: &Run<'_>, arrival: Arrival, target: &Target, name: &ImageName) -> Option<Estimate> {
    let name = name.to_string();
    let last = run.outcome.attempts.iter().rfind(|attempt| attempt.image == name)?;
    let before = last.expected.as_ref().filter(|_| last.cut && arrival == Arrival::NameOnly);
    before?.of(target.manifest.as_ref()?)
}

fn judge(name: &ImageName, target: &Target, inventory: &Inventory) -> Arrival {
    arrival(name, target.digest, target.manifest.as_ref(), inventory)
}

/// An earlier take of this job has pulled it, and failed or was cut after that.
fn told(run: &Run<'_>, job: &Job<'_>) -> bool {
    let (image, digest) = (job.name.to_string(), job.target.digest.to_string());
    let same = |pull: &PullRecord| pull.image == image && pull.digest.as_ref() == Some(&digest);
    if job.own { run.outcome.pull.as_ref().is_some_and(same) } else { run.outcome.kept.iter().any(same) }
}

async fn fetch(run: &mut Run<'_>, job: &mut Job<'_>, arrival: Arrival) -> Result<ReuseReport, JobError> {
    let reference = job.name.repository.by_digest(job.target.digest);
    let counted = if job.own { take_back(run) } else { Bytes::ZERO };
    let image = job.name.to_string();
    let earlier = run.outcome.attempts.iter().filter(|attempt| attempt.image == image);
    let mut attempts: Vec<Attempt> = earlier.map(attempt).collect();
    if arrival != Arrival::Pull
        && let Some(last) = attempts.last_mut().filter(|last| last.cut)
    {
        // it is here, so that one brought it: its end was not seen
        (last.failure, last.cut) = (None, false);
        run.outcome.moved_bytes -= last.moved.0.min(run.outcome.moved_bytes);
    }
    let mut overhead = job.target.overhead;
    let mut progress = PullProgress { digest: Some(job.target.digest), ..PullProgress::default() };
    let (mut phases, mut way) = (None, None);
    if arrival == Arrival::Pull {
        run.phase(Phase::Pulling);
        let expected = job.estimate.as_ref().map(|e| e.fetch_most.0);
        tracing::info!(job = %run.job.id, image = %job.name, digest = %job.target.digest, expected_bytes = expected, "pulls");
        let instance = job.inventory.engine.instance();
        let made =
            run.ctx.store.record_made(&instance, reference.clone(), MadeFor::ByDigest, &run.job.id, run.ctx.now());
        made.await?;
        let (pulled, explained) = pull_and_explain(run, job, &reference).await;
        let (pulled, record) = pulled?;
        if job.own && explained.is_some() {
            run.outcome.estimate.clone_from(&explained);
        }
        job.explained = explained;
        if let Some(error) = pulled.error {
            return Err(failed(run, job, &pulled.attempt, record, error));
        }
        way = Some(record);
        (run.ctx.at)("pulled");
        phases = Some(PhasesRecord::of(job.target.took, pulled.attempt.duration, pulled.bytes_came));
        // one through the relay that was given up is in the record, and no report has it
        let given_up = run.outcome.attempts.iter().filter(|attempt| attempt.image == image).skip(attempts.len());
        attempts.extend(given_up.map(attempt).collect::<Vec<_>>());
        attempts.push(pulled.attempt);
        progress = pulled.progress;
        overhead += job.target.manifest.as_ref().map(ImageManifest::metadata_bytes).unwrap_or_default();
    }
    let moved_earlier: Bytes = attempts.iter().filter(|a| a.failure.is_some()).map(|attempt| attempt.moved).sum();
    let evidence = Evidence {
        reference: &job.name.to_reference(),
        store: job.inventory.engine.store,
        estimate: job.estimate.as_ref(),
        stream: &progress,
        overhead,
        attempts: &attempts,
    };
    let mut report = account(&evidence);
    report.digest = Some(job.target.digest);
    run.ctx.metrics.pull_succeeded(job.name, job.kind, &report, counted);
    // the engine's own further tries are in what was wasted, and so is what counted at its time
    let again = report.wasted - moved_earlier;
    run.outcome.moved_bytes += report.downloaded.0 + report.overhead.0 + again.0;
    if let Some(way) = &way {
        run.ctx.metrics.transfers.with_label_values(&[&way.way]).inc();
    }
    write_down(run, job, PullRecord { phases, transfer: way, ..PullRecord::from(&report) }).await?;
    Ok(report)
}

/// Pulls, and finds out beside it why layers move. The explanation may come a little later, but not much.
async fn pull_and_explain(
    run: &mut Run<'_>,
    job: &Job<'_>,
    reference: &Reference,
) -> (Result<(Pulled, TransferRecord), JobError>, Option<EstimateRecord>) {
    let ctx = run.ctx;
    let unchosen =
        TransferChoice { way: Way::Engine, engine_seconds: None, relay_seconds: None, reason: String::new() };
    let choice = job.choice.as_ref().unwrap_or(&unchosen);
    let pulls = pin!(transfer(run, job, reference, choice));
    match select(pulls, pin!(why(ctx, job))).await {
        Either::Left((pulled, why)) => {
            let is_here = pulled.as_ref().is_ok_and(|(pulled, _)| pulled.error.is_none());
            let grace = if is_here { GRACE } else { Duration::ZERO };
            (pulled, timeout(grace, why).await.ok().flatten())
        }
        Either::Right((explained, pulls)) => (pulls.await, explained),
    }
}

/// Why the job's own image moves what it moves, found out while it does.
async fn why(ctx: &Context, job: &Job<'_>) -> Option<EstimateRecord> {
    let (manifest, estimate) = (job.target.manifest.as_ref()?, job.estimate.as_ref()?);
    if !job.own {
        return None;
    }
    let wanted = (&job.name.to_reference(), manifest);
    match explained(ctx, &job.inventory, wanted, estimate, &job.records).await {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::warn!(image = %job.name, %error, "could not find out why layers move");
            None
        }
    }
}

/// Puts down an attempt that failed, and says what it failed of.
fn failed(run: &mut Run<'_>, job: &Job<'_>, attempt: &Attempt, way: TransferRecord, error: JobError) -> JobError {
    run.outcome.moved_bytes += attempt.moved.0;
    run.ctx.metrics.pull_failed(&job.name.repository, job.kind);
    // counted as wasted when the job ends, in its report or without one
    run.outcome.attempts.push(AttemptRecord {
        image: job.name.to_string(),
        // the content may be here all the same
        expected: job.estimate.as_ref().filter(|_| attempt.cut).map(EstimateRecord::from),
        transfer: Some(Box::new(way)),
        ..AttemptRecord::from(attempt)
    });
    match error {
        JobError::Engine(cause @ EngineError::NoSpace(_)) => {
            JobError::DiskFull { cause, moved: attempt.moved, store: job.inventory.engine.store }
        }
        error => error,
    }
}

/// What an earlier take of this job pulled has gone again: its attempts count as moved for nothing. Gives the bytes of
/// them that the metrics have.
fn take_back(run: &mut Run<'_>) -> Bytes {
    let Some(pull) = run.outcome.pull.take() else { return Bytes::ZERO };
    let mut attempts = pull.attempts;
    attempts.iter_mut().for_each(|attempt| attempt.image.clone_from(&pull.image));
    for attempt in attempts.iter_mut().filter(|attempt| attempt.failure.is_none()) {
        attempt.failure = Some("what came was gone again before the job had ended".to_owned());
    }
    let counted = attempts.iter().map(|attempt| Bytes(attempt.moved_bytes)).sum();
    attempts.append(&mut run.outcome.attempts);
    run.outcome.attempts = attempts;
    counted
}

/// The report is durable before anything else can fail: what moved has moved.
async fn write_down(run: &mut Run<'_>, job: &Job<'_>, mut record: PullRecord) -> Result<(), JobError> {
    let image = job.name.to_string();
    // the report has them
    run.outcome.attempts.retain(|attempt| attempt.image != image);
    if job.own {
        record.estimate = job.explained.clone().or(record.estimate);
        run.outcome.pull = Some(record);
        run.outcome.estimate = None;
    } else {
        run.outcome.kept.push(record);
    }
    Ok(run.save().await?)
}

fn attempt(record: &AttemptRecord) -> Attempt {
    Attempt {
        moved: Bytes(record.moved_bytes),
        duration: Duration::from_millis(record.duration_ms),
        failure: record.failure.clone(),
        cut: record.cut,
    }
}

/// Inspects by name: is it the digest that was wanted, with the layers that were resolved?
pub(super) fn check(image: Option<&Image>, job: &Job<'_>, shown_as: &str) -> Result<(), JobError> {
    let Some(image) = image else {
        return Err(JobError::Unverified(format!("{shown_as} is not on the engine after its pull")));
    };
    if !image.has_digest(&job.name.repository, job.target.digest) {
        let has: Vec<Digest> = image.digests_in(&job.name.repository).collect();
        return Err(JobError::Unverified(format!("{shown_as} should be {} and is {has:?}", job.target.digest)));
    }
    match &job.target.manifest {
        Some(manifest) if manifest.diff_ids() != image.layers => {
            Err(JobError::Unverified(format!("the layers of {shown_as} are not those of its manifest")))
        }
        _ => Ok(()),
    }
}

async fn verify(run: &Run<'_>, job: &Job<'_>) -> Result<Image, JobError> {
    let reference = job.name.repository.by_digest(job.target.digest);
    let image = run.ctx.engine.image(&reference).await?;
    check(image.as_ref(), job, &reference.to_string())?;
    image.ok_or_else(|| JobError::Unverified(format!("{reference} is not on the engine after its pull")))
}

/// It is here, under its name.
async fn say(run: &Run<'_>, job: &Job<'_>, report: &ReuseReport) {
    tracing::info!(
        job = %run.job.id,
        image = %job.name,
        digest = %job.target.digest,
        reused_bytes = report.reused.0,
        downloaded_bytes = report.downloaded.0,
        overhead_bytes = report.overhead.0,
        wasted_bytes = report.wasted.0,
        reuse_ratio = report.ratio(),
        duration_ms = report.duration.as_millis() as u64,
        "is here"
    );
    let told = format!("{} of layers moved, {} were here", report.downloaded, report.reused);
    run.ctx.note("pulled", Some(job.name.to_string()), Some(&run.job.id), told).await;
}
