//! Keeps an eye on the engine: its events wake us, listing finds what they missed. Never pulls or removes; what is
//! missing becomes a job.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use layerkeeper_core::plan::{Finding, Remote, judge_kept};
use layerkeeper_core::{Intent, Inventory, Trigger};
use layerkeeper_engine::EngineEvent;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::context::{Context, Running};
use crate::disk;
use crate::heal;
use crate::tell;
use crate::worker;

/// A burst of events is over when none has come for so long: a deploy pulls, names and looks within it, and a look of ours
/// in between would make it wait.
const SETTLE: Duration = Duration::from_millis(200);
/// A burst that does not end is looked at after this.
const SETTLE_MOST: Duration = Duration::from_secs(1);

/// Pieces in the spool that are older go.
const SPOOL_AGE: Duration = Duration::from_secs(24 * 3600);

const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Until `stop`.
pub(crate) async fn watch(ctx: Arc<Context>) {
    tokio::select! {
        () = ctx.stop.cancelled() => {}
        () = listen(&ctx) => {}
        () = look(&ctx) => {}
        () = confirm_mirrored(&ctx) => {}
    }
}

/// Takes note of every event as it comes, and has the engine looked at.
async fn listen(ctx: &Context) {
    loop {
        match ctx.engine.events().await {
            Ok(mut events) => {
                ctx.listens(true);
                ctx.left_open.store(true, Ordering::SeqCst);
                ctx.look.notify_one();
                let cause = loop {
                    match events.next().await {
                        Some(Ok(event)) => heard(ctx, &event),
                        Some(Err(error)) => break error.to_string(),
                        None => break "they ended".to_owned(),
                    }
                };
                ctx.listens(false);
                // behind a socket that systemd holds open, an engine that restarts is never seen as away
                tracing::warn!(cause, "the engine's events broke off");
                ctx.close_prune_gate().await;
                ctx.look.notify_one();
            }
            // away again before anybody looked; one that only gives no events is not looked at for that
            Err(_) if ctx.view().error.is_none() && ctx.engine.ping().await.is_err() => ctx.look.notify_one(),
            Err(_) => {}
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn heard(ctx: &Context, event: &EngineEvent) {
    ctx.changed();
    heal::heard(ctx, event);
    ctx.look.notify_one();
    match event {
        EngineEvent::Prune => tracing::warn!("somebody pruned images on this engine"),
        event => tracing::debug!(?event, "the engine tells"),
    }
}

/// Looks every `look_every`, after every event that says that an image or container changed, and when asked. An engine that is
/// away is looked for every second.
async fn look(ctx: &Context) {
    let mut tick = interval(ctx.settings().look_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept: Option<Instant> = None;
    let mut before = heal::Before::start(ctx);
    loop {
        tokio::select! {
            biased;
            // the first look is at once
            _ = tick.tick() => {}
            // a prune or a deploy makes a burst of events: one look answers all of them
            () = ctx.look.notified() => settle(ctx).await,
            () = sleep(Duration::from_secs(1)), if ctx.view().error.is_some() => {}
        }
        if let Ok(inventory) = heal::observe(ctx).await {
            seen(ctx, &mut before, &inventory).await;
        }
        ctx.look_at_clocks().await;
        look_at_disks(ctx);
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            swept = Some(Instant::now());
            sweep(ctx).await;
        }
    }
}

/// Returns when the burst of events is over.
async fn settle(ctx: &Context) {
    let begun = Instant::now();
    while begun.elapsed() < SETTLE_MOST && timeout(SETTLE, ctx.look.notified()).await.is_ok() {}
}

async fn seen(ctx: &Context, before: &mut heal::Before, inventory: &Inventory) {
    if ctx.confirm.swap(false, Ordering::SeqCst) {
        tracing::info!(
            engine = inventory.engine.version, store = %inventory.engine.store, driver = inventory.engine.driver,
            images = inventory.images.len(), "looks for kept images that are not here"
        );
        confirm(ctx, inventory).await;
    }
    let looked = match heal::look(ctx, before, inventory, true).await {
        Ok(heal::Looked::Again) => {
            heal::hear_out(ctx).await;
            match heal::observe(ctx).await {
                Ok(inventory) => heal::look(ctx, before, &inventory, false).await.map(drop),
                // the next look finds it
                Err(_) => Ok(()),
            }
        }
        done => done.map(drop),
    };
    if let Err(error) = looked {
        tracing::error!(%error, "could not compare what is here with what should be; looks again");
    }
    ctx.looked.store(true, Ordering::SeqCst);
    superseded_size(ctx).await;
}

/// A registry that was away answers again: what came from a mirror meanwhile is to be known by the registry's own word. Beside the
/// looks, for a registry may take its time to give no answer.
async fn confirm_mirrored(ctx: &Context) {
    loop {
        sleep(ctx.settings().look_every).await;
        if let Some(inventory) = ctx.view().inventory {
            queue_confirmable(ctx, &inventory).await;
        }
    }
}

async fn queue_confirmable(ctx: &Context, inventory: &Inventory) {
    for image in worker::confirmable(ctx, inventory).await {
        let is_done = |running: &Running| running.intent.image() == Some(&image);
        if !ctx.vouched.knows(&image) || ctx.running().as_ref().is_some_and(is_done) {
            continue;
        }
        let registry = image.repository.registry().to_owned();
        tracing::info!(%image, registry, "its registry answers again");
        if let Err(error) = ctx.enqueue(Intent::Heal { image: image.clone() }, Trigger::Event).await {
            tracing::error!(%image, %error, "could not queue what came from a mirror");
        }
    }
}

/// Pieces of a pull that nobody has taken up again go after a day: the next one fetches them anew.
async fn sweep_spool(ctx: &Context) {
    let Some(spool) = ctx.transfers.relays().map(|relays| relays.spool().clone()) else { return };
    let swept = tokio::task::spawn_blocking(move || spool.sweep(SPOOL_AGE, SystemTime::now()));
    for entry in swept.await.unwrap_or_default() {
        tracing::info!(blob = %entry.digest, bytes = entry.bytes.0, "removed from the spool: no pull has used it for a day");
    }
}

/// History that is too old or too much goes, and so does what was left open.
async fn sweep(ctx: &Context) {
    ctx.left_open.store(true, Ordering::SeqCst);
    sweep_spool(ctx).await;
    match ctx.store.sweep(ctx.now(), &ctx.retention).await {
        Ok(swept) => tracing::debug!(?swept, "swept the history"),
        Err(error) => tracing::error!(%error, "could not sweep the history"),
    }
}

/// A kept image that is here and was never confirmed by the registry, or never held to what is expected of it, is refreshed
/// at start and after a reload, and so is one of which a newer quarter may be there.
async fn confirm(ctx: &Context, inventory: &Inventory) {
    ctx.let_go_of_removed().await;
    let settings = ctx.settings();
    for keep in &settings.policy.keep {
        let verdict = judge_kept(keep, inventory, &Remote::Unknown, ctx.known_digest(&keep.image));
        let unconfirmed = match (verdict.finding, verdict.here) {
            (Finding::Unverified, _) => true,
            (Finding::Present, Some(here)) => {
                let unheld = !keep.expect.is_empty() && worker::checked(ctx, keep, here).is_none();
                unheld || settings.series_of(&keep.image).is_some_and(|of| !ctx.is_settled(of))
            }
            _ => false,
        };
        if unconfirmed && !ctx.buried().contains_key(&keep.image) {
            tracing::info!(image = %keep.image, "{} {}", keep.image, verdict.reason);
            let queued = ctx.enqueue(Intent::Warm { image: keep.image.clone(), digest: None }, Trigger::Start).await;
            if let Err(error) = queued {
                tracing::error!(image = %keep.image, %error, "could not queue the kept image");
            }
        }
    }
}

fn look_at_disks(ctx: &Context) {
    let settings = ctx.settings();
    ctx.metrics.disk_min_free.set(settings.policy.min_free.0 as f64);
    ctx.metrics.disk_free.reset();
    for status in disk::status(&*ctx.disks, &tell::disk_paths(ctx), settings.policy.min_free) {
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
