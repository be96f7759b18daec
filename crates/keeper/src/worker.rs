//! The one worker: takes a job, lets its steps run, and brings it to its one final state. Nothing else pulls or removes.
//!
//! Its loop ticks once a second whatever a step waits for, so that systemd's watchdog is fed while the engine hangs,
//! and is not fed when the loop itself is stuck.

mod bring;
mod deploy;
mod estimate;
mod expect;
mod explain;
mod heal;
mod knowledge;
mod name;
mod provenance;
mod prune;
mod pull;
mod quarter;
mod records;
mod remove;
mod resolve;
mod room;
mod run;
mod study;
mod tidy;
mod transfer;
mod vouched;
mod warm;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use layerkeeper_core::job::JobKind;
use layerkeeper_core::{Intent, Job, JobId, JobState, Timestamp};
use layerkeeper_store::StoreError;
use layerkeeper_store::record::AttemptRecord;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, InFlight, Running};
use crate::follow::Progress;
use crate::job_error::JobError;
use run::Run;

pub(crate) use estimate::estimate;
pub(crate) use expect::checked;
pub(crate) use provenance::confirmable;
pub(crate) use prune::{plan as plan_prune, record as prune_record};
pub(crate) use records::blocked as prune_blocked;
pub(crate) use remove::REMOVED;
pub(crate) use study::Study;
pub(crate) use transfer::{Transfers, hurry};
pub(crate) use vouched::Vouched;

/// The steps between which a job can be cut, as [`crate::Parts::at`] is told of them.
pub const POINTS: [&str; 10] =
    ["taken", "estimated", "pulled", "reported", "verified", "named", "recorded", "planned", "removed", "ending"];

/// The same, where content comes through the relay: it is open; the engine has the content under the relay's name; and under
/// its real one, too.
pub const RELAY_POINTS: [&str; 3] = ["relay-open", "relayed", "relay-named"];

/// The same, where it comes from a mirror while the registry is away: the engine has it under the relay's name; it is written
/// down what it is; it has its name.
pub const AWAY_POINTS: [&str; 3] = ["relayed", "relay-vouched", "named"];

/// How a job's steps ended.
enum Ended {
    /// With this final state.
    Final(JobState),
    /// Later: not before this instant.
    Later(Timestamp),
}

/// Takes jobs until the context's `stop` is cancelled and the job in hand has ended or been cut. `beat` is called about
/// once a second.
pub async fn work(ctx: Arc<Context>, beat: impl Fn() + Send) {
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    take_up_again(&ctx).await;
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = ctx.stop.cancelled() => return,
            _ = tick.tick() => beat(),
            () = ctx.queued.notified() => {}
        }
        close_left(&ctx, &mut tick, &beat).await;
        while !ctx.stop.is_cancelled() {
            let Some(job) = next(&ctx, &mut failing).await else { break };
            let deadline = one(&ctx, job, &mut tick, &beat).await;
            if deadline.is_err() {
                return;
            }
        }
        measure_one(&ctx, &mut tick, &beat).await;
    }
}

/// Removes what may have been left open, ticking, while the engine answers and no job waits; otherwise later. What the engine
/// does not let go waits for the next time that something may have been left.
async fn close_left<F: Fn()>(ctx: &Context, tick: &mut tokio::time::Interval, beat: &F) {
    if ctx.view().error.is_some() || !ctx.left_open.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut closes = Box::pin(study::close_left(ctx));
    loop {
        tokio::select! {
            biased;
            () = ctx.stop.cancelled() => break,
            () = ctx.queued.notified() => {
                // for the loop, which then takes it
                ctx.queued.notify_one();
                break;
            }
            _ = tick.tick() => beat(),
            () = &mut closes => return,
        }
        // one that waited rings no bell
        if ctx.store.has_due(ctx.now()).await.unwrap_or(true) {
            break;
        }
    }
    ctx.left_open.store(true, Ordering::SeqCst);
}

/// So long a stop lets what is measured remove the container that it reads by.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);

/// With nothing else to do, measures one layer, ticking; a job that is due cuts it short, and so does a stop.
async fn measure_one<F: Fn()>(ctx: &Context, tick: &mut tokio::time::Interval, beat: &F) {
    let Some(wished) = ctx.studies().pop_front() else { return };
    let cut = CancellationToken::new();
    let mut measures = Box::pin(study::study(ctx, wished, &cut));
    let longest = Instant::now() + study::LONGEST;
    let mut stopped: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = ctx.stop.cancelled(), if stopped.is_none() => {
                cut.cancel();
                stopped = Some(Instant::now());
                continue;
            }
            // what it still has open the next start removes
            () = sleep_until(stopped.unwrap_or(longest) + CLOSES_WITHIN), if stopped.is_some() => break,
            // a job that waited rings no bell, and is seen by the tick
            () = ctx.queued.notified(), if !cut.is_cancelled() => {}
            _ = tick.tick() => beat(),
            () = &mut measures => break,
        }
        let is_due = ctx.store.has_due(ctx.now()).await.unwrap_or(true);
        if is_due || Instant::now() > longest {
            cut.cancel();
        }
    }
    if cut.is_cancelled() {
        // what was told must be heard by the loop
        ctx.queued.notify_one();
    }
}

/// What was running when the daemon ended goes on.
async fn take_up_again(ctx: &Context) {
    match ctx.store.requeue_running().await {
        Ok(jobs) => {
            for job in jobs {
                tracing::warn!(job = %job.id, intent = %job.intent, "was cut short when the daemon ended; takes it up again");
            }
        }
        Err(error) => tracing::error!(%error, "could not look for jobs that were cut short"),
    }
}

/// A tick looks again within a second, so a store that fails for long is told once.
async fn next(ctx: &Context, failing: &mut bool) -> Option<Job> {
    let taken = match ctx.store.take(ctx.now()).await {
        Ok(taken) => taken,
        Err(error) => {
            if !std::mem::replace(failing, true) {
                tracing::error!(%error, "could not take a job; tries again every second");
            }
            return None;
        }
    };
    if std::mem::take(failing) {
        tracing::info!("takes jobs again");
    }
    let taken = taken?;
    ctx.tell_superseded(&taken.superseded, &taken.job.id);
    Some(taken.job)
}

/// The stop's deadline has passed; the job in hand was cut and is queued again.
struct Cut;

/// Runs one job to its end, ticking; a stop lets it run for `stop_timeout` more.
async fn one<F: Fn()>(ctx: &Arc<Context>, job: Job, tick: &mut tokio::time::Interval, beat: &F) -> Result<(), Cut> {
    *ctx.running() =
        Some(Running { id: job.id.clone(), intent: job.intent.clone(), since: ctx.now(), in_flight: None });
    let (id, intent) = (job.id.clone(), job.intent.clone());
    let mut steps = Box::pin(run_job(ctx, job));
    let mut deadline: Option<Instant> = None;
    let cut = loop {
        tokio::select! {
            biased;
            () = &mut steps => break false,
            _ = tick.tick() => beat(),
            () = ctx.stop.cancelled(), if deadline.is_none() => {
                let patience = ctx.stop_timeout();
                tracing::info!(job = %id, %intent, patience_s = patience.as_secs(), "stopping: lets the job in hand finish");
                deadline = Some(Instant::now() + patience);
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break true,
        }
    };
    // dropping the steps closes the connection to the engine, which cancels the pull
    drop(steps);
    let in_flight = ctx.running().take().and_then(|running| running.in_flight);
    if !cut {
        return Ok(());
    }
    let thrown_away = in_flight.as_ref().map_or(0, |pull| pull.moved);
    tracing::warn!(job = %id, %intent, thrown_away_bytes = thrown_away, "stopped in mid-job; it stays queued");
    if let Err(error) = put_back_cut(ctx, &id, in_flight).await {
        // it is still marked as running, so the next start takes it up all the same
        tracing::error!(job = %id, %error, "could not put the job back");
    }
    Err(Cut)
}

/// The job's next attempt must know what this one moved for nothing.
async fn put_back_cut(ctx: &Context, id: &JobId, in_flight: Option<InFlight>) -> Result<(), StoreError> {
    let Some(mut row) = ctx.store.job(id).await? else { return Ok(()) };
    if row.job.state.is_final() {
        return Ok(());
    }
    if let Some(pull) = in_flight {
        row.outcome.moved_bytes = pull.moved_before + pull.moved;
        let expected = row.outcome.attempts.get_mut(pull.attempts_before).and_then(|attempt| attempt.expected.take());
        row.outcome.attempts.truncate(pull.attempts_before);
        row.outcome.attempts.push(AttemptRecord {
            image: pull.image.to_string(),
            moved_bytes: pull.moved,
            duration_ms: u64::try_from(pull.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            failure: Some("the daemon was stopped in mid-pull".to_owned()),
            cut: true,
            expected,
            transfer: None,
        });
    }
    ctx.store.put_back(id, None, &row.outcome).await
}

async fn run_job(ctx: &Arc<Context>, job: Job) {
    let (id, kind) = (job.id.clone(), job.intent.kind());
    let mut run = Run::begin(ctx, job).await;
    (ctx.at)("taken");
    tracing::info!(job = %id, intent = %run.job.intent, trigger = %run.job.trigger, attempt = run.job.attempts, "begins");
    let result = match run.job.intent.clone() {
        Intent::Deploy { image, digest, over_limit } => deploy::deploy(&mut run, &image, digest, over_limit).await,
        Intent::Warm { image, digest } => warm::warm(&mut run, &image, digest).await,
        Intent::Heal { image } => heal::heal(&mut run, &image).await,
        Intent::Prune { superseded } => prune::prune(&mut run, superseded).await,
    };
    let ended = match result {
        Ok(()) => {
            // a deploy does so with its prune; one that was cut may have changed something in an earlier take
            if (run.changed || run.job.attempts > 1) && matches!(kind, JobKind::Warm | JobKind::Heal) {
                tidy::tidy(&mut run).await;
            }
            Ended::Final(JobState::Succeeded)
        }
        Err(error) => {
            // it may never be taken again: what a name was to leave behind, and has not, must not be listed until then
            if run.changed {
                tidy::tidy(&mut run).await;
            }
            settle(&mut run, kind, &error)
        }
    };
    if matches!(ended, Ended::Final(_)) {
        run.count_waste();
    }
    (ctx.at)("ending");
    if let Err(error) = end_at_last(&mut run, &ended).await {
        tracing::error!(job = %id, %error, "could not store how the job ended; the next start runs it again");
    }
}

/// Tries until the store takes it, or the daemon stops: a job that stays marked as running would be joined by all that want
/// the same, and never end.
async fn end_at_last(run: &mut Run<'_>, ended: &Ended) -> Result<(), StoreError> {
    let mut pause = Duration::from_secs(1);
    loop {
        let Err(error) = end(run, ended).await else { return Ok(()) };
        if run.ctx.stop.is_cancelled() {
            return Err(error);
        }
        tracing::error!(job = %run.job.id, %error, pause_s = pause.as_secs(), "could not store how the job ended; tries again");
        tokio::select! {
            () = run.ctx.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

/// What becomes of a job whose steps failed.
fn settle(run: &mut Run<'_>, kind: JobKind, error: &JobError) -> Ended {
    let now = run.ctx.now();
    let settings = run.ctx.settings();
    if error.is_refusal() {
        run.fail(error);
        return Ended::Final(JobState::Refused);
    }
    // a job of the future was queued before the clock was set back: nobody knows how long it has waited
    let ahead = run.job.created - now;
    let age = if ahead > settings.not_yet_timeout { ahead } else { now - run.job.created };
    let wait = if error.is_engine_away() {
        Some(Duration::from_secs(2))
    } else if error.is_not_found() && kind == JobKind::Deploy && age < settings.not_yet_timeout {
        Some(Duration::from_secs(3))
    } else if error.is_transient() {
        // waiting for the engine or for a tag takes the job up many times, and none of them counts here
        let failures = run.ctx.count_failure(&run.job.id);
        (failures < settings.max_attempts).then(|| error.retry_after().unwrap_or_else(|| backoff(failures)))
    } else {
        None
    };
    match wait {
        Some(wait) => {
            tracing::warn!(job = %run.job.id, intent = %run.job.intent, class = error.class(), %error, wait_s = wait.as_secs(), "not now; waits");
            run.waits(error);
            Ended::Later(now.plus(wait))
        }
        None => {
            tracing::error!(job = %run.job.id, intent = %run.job.intent, class = error.class(), %error, "failed");
            run.fail(error);
            Ended::Final(JobState::Failed)
        }
    }
}

/// How long to wait after so many failures. Exponential with full jitter: anywhere between 0 and 2 s, 4 s, 8 s … 5 min, but never less than half a second.
fn backoff(failures: u32) -> Duration {
    let most = 2000u64.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(300_000);
    let mut random = [0u8; 8];
    let at = if getrandom::fill(&mut random).is_ok() { u64::from_le_bytes(random) % most } else { most / 2 };
    Duration::from_millis(at.max(500))
}

async fn end(run: &mut Run<'_>, ended: &Ended) -> Result<(), StoreError> {
    let ctx = run.ctx;
    let id = &run.job.id.clone();
    match *ended {
        Ended::Later(not_before) => {
            ctx.store.put_back(id, Some(not_before), &run.outcome).await?;
            ctx.follow.publish(id, Progress::of_state(JobState::Queued));
        }
        Ended::Final(state) => {
            run.summarise(state);
            ctx.forget_failures(id);
            ctx.store.finish(id, state, &run.outcome, ctx.now()).await?;
            // only here: the store took it, so it is counted once
            if let (JobState::Failed | JobState::Refused, Some(error)) = (state, &run.outcome.error) {
                ctx.metrics.job_failed(run.job.intent.kind(), &error.class);
            }
            ctx.follow.publish(id, Progress::of_state(state));
            let subject = run.job.intent.image().map(ToString::to_string);
            ctx.note(&format!("job {state}"), subject, Some(id), run.outcome.summary.clone()).await;
            tracing::info!(job = %id, intent = %run.job.intent, %state, summary = run.outcome.summary, "ends");
        }
    }
    Ok(())
}
