//! Refreshes kept images when their cron lines say so, in their own time zones.
//!
//! croner and chrono-tz compute the next instant, right across changes of daylight saving; the scheduler is given one
//! shot at that instant, and is armed anew after it. (Given the cron line itself it would keep the zone's offset of the
//! moment at which the job was added.)

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use layerkeeper_core::{ImageName, Intent, Timestamp, Trigger};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::context::{Context, StartError};
use crate::settings::KeepSchedule;

/// The longest time for which one shot is armed: wall clock may jump, and what was computed must not outlive that.
const REARM: Duration = Duration::from_secs(30);

/// A clock that is set back by no more than this (a day and an hour of daylight saving) does not make an instant run again
/// that has run. One that was further ahead was wrong, and what ran by it counts for nothing.
const SET_BACK: Duration = Duration::from_secs(25 * 3600);

/// The instant after `after` at which the image is due; none where the line never comes true again.
pub fn next_due(schedule: &KeepSchedule, after: Timestamp) -> Option<Timestamp> {
    let after = DateTime::<Utc>::from_timestamp_millis(after.0)?.with_timezone(&schedule.timezone);
    let next = schedule.cron.find_next_occurrence(&after, false).ok()?;
    Some(Timestamp(next.timestamp_millis()))
}

/// How much later than `due` this host begins: the same for all images due at one instant, so that they keep their
/// order, and different from host to host and from tick to tick, so that a fleet does not come all at once.
pub fn jitter(host: &str, due: Timestamp, most: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    (host, due).hash(&mut hasher);
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(if most == 0 { 0 } else { hasher.finish() % most })
}

/// Runs until `stop`.
pub(crate) async fn run(ctx: Arc<Context>) -> Result<(), StartError> {
    let failed = |error: tokio_cron_scheduler::JobSchedulerError| StartError::Schedule(error.to_string());
    let mut scheduler = JobScheduler::new().await.map_err(failed)?;
    scheduler.start().await.map_err(failed)?;
    let (rang, mut ring) = mpsc::channel::<()>(1);
    let host = host();
    make_up(&ctx).await;
    let mut lines = BTreeMap::new();
    let mut armed_at = ctx.now();
    loop {
        let now = ctx.now();
        // what was worked out by a clock that has been set back since is an instant of another time
        if now < armed_at {
            tracing::info!(
                by_ms = (armed_at - now).as_millis() as u64,
                "the wall clock was set back: schedules are worked out anew"
            );
            ctx.next_runs().clear();
        }
        armed_at = now;
        let armed = arm(&ctx, &host, &mut lines);
        let wait = armed.map_or(REARM, |at| (at - ctx.now()).min(REARM));
        let shot = rang.clone();
        let id = scheduler
            .add(
                Job::new_one_shot_async(wait, move |_, _| {
                    let shot = shot.clone();
                    Box::pin(async move {
                        // a full channel means that the bell has rung already
                        shot.try_send(()).ok();
                    })
                })
                .map_err(failed)?,
            )
            .await
            .map_err(failed)?;
        tokio::select! {
            () = ctx.stop.cancelled() => break,
            _ = ring.recv() => {}
            // the scheduler's own bell goes by the wall clock
            () = tokio::time::sleep(REARM) => drop(scheduler.remove(&id).await),
            () = ctx.reloaded.notified() => drop(scheduler.remove(&id).await),
        }
        queue_due(&ctx, &host).await;
    }
    scheduler.shutdown().await.map_err(failed)
}

/// This host's name, for the jitter.
fn host() -> String {
    std::fs::read_to_string("/etc/machine-id")
        .unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// The lines by which the instants in `next_runs` were worked out.
type Lines = BTreeMap<ImageName, (String, Tz)>;

/// Works out when each image is due next and returns the earliest start. What was worked out by a line that a reload has
/// changed since counts no longer.
fn arm(ctx: &Context, host: &str, lines: &mut Lines) -> Option<Timestamp> {
    let settings = ctx.settings();
    let now = ctx.now();
    let mut next = ctx.next_runs();
    let current = settings.schedules.iter().map(|s| (s.image.clone(), (s.text.clone(), s.timezone)));
    let current: Lines = current.collect();
    next.retain(|image, _| lines.get(image).is_some_and(|line| current.get(image) == Some(line)));
    *lines = current;
    ctx.metrics.next_run.reset();
    for schedule in &settings.schedules {
        let due = match next.get(&schedule.image) {
            Some(due) => Some(*due),
            None => next_due(schedule, ran_until(ctx, &schedule.image, now)),
        };
        let Some(due) = due else { continue };
        next.insert(schedule.image.clone(), due);
        ctx.metrics.next_run.with_label_values(&[&schedule.image.to_string()]).set(due.seconds() as f64);
    }
    // what could not be queued a moment ago is due still
    let soonest = now.plus(Duration::from_secs(1));
    next.values().map(|due| due.plus(jitter(host, *due, settings.jitter)).max(soonest)).min()
}

/// The instant after which the image is due next: now, or the last run where that lies ahead.
fn ran_until(ctx: &Context, image: &ImageName, now: Timestamp) -> Timestamp {
    let last = ctx.kept(image).and_then(|kept| kept.state.last_scheduled);
    last.filter(|last| *last > now && *last - now <= SET_BACK).unwrap_or(now)
}

/// Queues what is due, in the order of the file.
async fn queue_due(ctx: &Context, host: &str) {
    let settings = ctx.settings();
    let now = ctx.now();
    for schedule in &settings.schedules {
        let due = ctx.next_runs().get(&schedule.image).copied();
        let Some(due) = due.filter(|due| due.plus(jitter(host, *due, settings.jitter)) <= now) else { continue };
        if queue(ctx, &schedule.image, due, Trigger::Schedule).await {
            ctx.next_runs().remove(&schedule.image);
        }
    }
}

/// A run that came due while the daemon was down is made up once.
async fn make_up(ctx: &Context) {
    let settings = ctx.settings();
    let now = ctx.now();
    for schedule in &settings.schedules {
        let last = ctx.kept(&schedule.image).and_then(|kept| kept.state.last_scheduled);
        let missed = last.and_then(|last| next_due(schedule, last)).filter(|due| *due <= now);
        match missed {
            Some(due) => {
                tracing::info!(image = %schedule.image, %due, "was due while the daemon was down; is made up now");
                queue(ctx, &schedule.image, now, Trigger::Schedule).await;
            }
            // the first start counts from now on
            None if last.is_none() => {
                ctx.remember_kept(&schedule.image, |kept| kept.state.last_scheduled = Some(now)).await;
            }
            None => {}
        }
    }
}

/// True when it is queued; else it stays due.
async fn queue(ctx: &Context, image: &ImageName, due: Timestamp, trigger: Trigger) -> bool {
    match ctx.enqueue(Intent::Warm { image: image.clone(), digest: None }, trigger).await {
        Ok(_) => {
            ctx.remember_kept(image, |kept| kept.state.last_scheduled = Some(due)).await;
            true
        }
        Err(error) => {
            tracing::error!(%image, %error, "could not queue a scheduled refresh; tries again");
            false
        }
    }
}
