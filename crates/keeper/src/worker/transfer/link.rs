//! What the link to each registry gives, learnt from every pull.

use std::time::Duration;

use layerkeeper_core::Timestamp;
use layerkeeper_core::plan::Link;
use layerkeeper_relay::Snapshot;

use crate::context::Context;
use crate::worker::pull::Pulled;

/// After so long what many connections gave says nothing any more.
const STALE: i64 = 7 * 24 * 3600 * 1000;

/// A pull that moved less, or for less than a second, says little.
const TELLING_BYTES: u64 = 4_000_000;
const TELLING_TIME: Duration = Duration::from_secs(1);

/// What is known of a registry, and not too old.
pub(super) async fn known(ctx: &Context, registry: &str) -> Link {
    since(ctx, registry).await.0
}

async fn since(ctx: &Context, registry: &str) -> (Link, Timestamp) {
    let now = ctx.now();
    match ctx.store.link(registry).await {
        Ok(Some((link, at))) if now.0.abs_diff(at.0) < STALE.unsigned_abs() => (link, at),
        Ok(_) => (Link::default(), now),
        Err(error) => {
            tracing::warn!(%registry, %error, "could not read what the link to a registry gives");
            (Link::default(), now)
        }
    }
}

/// A pull of the engine's own: over one connection where it fetched one layer, over three where it fetched many.
pub(super) async fn learn_of_engine(ctx: &Context, registry: &str, pulled: &Pulled, layers: usize) {
    let Some((first, last)) = pulled.bytes_came else { return };
    let (bytes, took) = (pulled.progress.moved().0, last.saturating_sub(first));
    if bytes < TELLING_BYTES || took < TELLING_TIME {
        return;
    }
    let rate = bytes as f64 / took.as_secs_f64();
    // what many give was measured then, and is not new by this
    let (mut link, at) = since(ctx, registry).await;
    match layers {
        1 => link.one = Some(rate),
        // the last of them came alone, so three give more than this
        3.. => link.three = Some(link.three.map_or(rate, |before| before.max(rate) * 0.5 + rate * 0.5)),
        _ => return,
    }
    save(ctx, registry, link, at).await;
}

/// A pull through the relay.
pub(super) async fn learn_of_relay(ctx: &Context, registry: &str, snapshot: &Snapshot) {
    let speed = snapshot.speed;
    let Some((connections, many)) = speed.many else { return };
    let before = known(ctx, registry).await;
    // one of many gives no more than one alone would
    let each = many / connections as f64;
    let link = Link {
        one: speed.one.or(before.one).map(|one| one.max(each)).or(Some(each)),
        three: speed.three.or(before.three),
        many: Some(many),
        connections,
    };
    save(ctx, registry, link, ctx.now()).await;
}

async fn save(ctx: &Context, registry: &str, link: Link, at: Timestamp) {
    tracing::debug!(registry, %link, "what the link gives");
    if let Err(error) = ctx.store.save_link(registry, link, at).await {
        tracing::warn!(%registry, %error, "could not store what the link to a registry gives");
    }
}
