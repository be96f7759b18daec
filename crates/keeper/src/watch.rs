//! Keeps an eye on the engine: its events wake us, listing finds what they missed. Never pulls or removes; what is
//! missing becomes a job.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use layerkeeper_core::plan::{Finding, Remote, judge_kept};
use layerkeeper_core::{Intent, Inventory, Trigger};
use layerkeeper_engine::{EngineEvent, EventStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::context::Context;
use crate::disk;
use crate::tell;

const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Looks every minute, after every event that says that an image or container changed, and when asked. Ends with
/// `stop`.
pub(crate) async fn watch(ctx: Arc<Context>) {
    let mut tick = interval(Duration::from_secs(60));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events: Option<EventStream> = None;
    let mut swept: Option<Instant> = None;
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            _ = tick.tick() => {}
            () = ctx.look.notified() => {}
            () = changed(&ctx, &mut events) => {}
            // an engine that is away is looked for every second
            () = sleep(Duration::from_secs(1)), if events.is_none() => {}
        }
        // a prune or a deploy makes a burst of events: one look answers all of them
        settle(&mut events).await;
        if let Ok(inventory) = ctx.observe().await {
            if events.is_none() {
                events = ctx.engine.events().await.ok();
            }
            if ctx.warm_absent.swap(false, Ordering::SeqCst) {
                tracing::info!(
                    engine = inventory.engine.version, store = %inventory.engine.store, driver = inventory.engine.driver,
                    images = inventory.images.len(), "looks for kept images that are not here"
                );
                warm_absent(&ctx, &inventory).await;
            }
            ctx.looked.store(true, Ordering::SeqCst);
            superseded_size(&ctx).await;
        } else {
            events = None;
        }
        ctx.look_at_clocks();
        look_at_disks(&ctx);
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            swept = Some(Instant::now());
            sweep(&ctx).await;
        }
    }
}

/// History that is too old or too much goes.
async fn sweep(ctx: &Context) {
    match ctx.store.sweep(ctx.now(), &ctx.retention).await {
        Ok(swept) => tracing::debug!(?swept, "swept the history"),
        Err(error) => tracing::error!(%error, "could not sweep the history"),
    }
}

/// Resolves when an event says that something changed, or the stream has ended; never while there is no stream.
async fn changed(ctx: &Context, events: &mut Option<EventStream>) {
    match events {
        None => std::future::pending().await,
        Some(stream) => {
            let cause = match stream.next().await {
                Some(Ok(event)) => return tracing::debug!(?event, "the engine tells"),
                Some(Err(error)) => error.to_string(),
                None => "they ended".to_owned(),
            };
            // behind a socket that systemd holds open, an engine that restarts is never seen as away
            tracing::warn!(cause, "the engine's events broke off");
            ctx.close_prune_gate().await;
            *events = None;
        }
    }
}

/// Takes what else has come, for a moment.
async fn settle(events: &mut Option<EventStream>) {
    let Some(stream) = events else { return };
    let pause = sleep(Duration::from_millis(200));
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return,
            event = stream.next() => match event {
                Some(Ok(EngineEvent::Prune)) => tracing::warn!("somebody pruned images on this engine"),
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

/// Every kept image that is not here is pulled at start, in the order of the file.
async fn warm_absent(ctx: &Context, inventory: &Inventory) {
    for keep in &ctx.settings().policy.keep {
        let verdict = judge_kept(keep, inventory, &Remote::Unknown, ctx.known_digest(&keep.image));
        if matches!(verdict.finding, Finding::Absent | Finding::MovedLocally | Finding::Unverified) {
            tracing::info!(image = %keep.image, "{} {}", keep.image, verdict.reason);
            let queued = ctx.enqueue(Intent::Warm { image: keep.image.clone() }, Trigger::Start).await;
            if let Err(error) = queued {
                tracing::error!(image = %keep.image, %error, "could not queue the kept image");
            }
        }
    }
}

fn look_at_disks(ctx: &Context) {
    let settings = ctx.settings();
    ctx.metrics.disk_min_free.set(settings.policy.min_free.0 as f64);
    for status in disk::look(&tell::disk_paths(ctx), settings.policy.min_free) {
        if status.error.is_none() {
            ctx.metrics.disk_free.with_label_values(&[&status.path]).set(status.free_bytes as f64);
        }
    }
}

async fn superseded_size(ctx: &Context) {
    let sizes = tell::superseded(ctx).await;
    let bytes: u64 = sizes.iter().filter_map(|s| s.size).sum();
    ctx.metrics.superseded_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
}
