//! What the link to each registry gives, learnt from every pull.

use std::time::Duration;

use layerkeeper_core::plan::Link;
use layerkeeper_core::{Bytes, Digest, Repository, Timestamp};
use layerkeeper_relay::{Probe, Snapshot};

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

/// With less to fetch, measuring first would cost more than it tells.
const WORTH_MEASURING: u64 = 100_000_000;

/// Each of the two measurements takes no longer, and the larger reads no more than this part of what is to be fetched. With
/// few connections each brings enough to tell by; if they give more than one, the relay finds out how many more are worth it.
const MEASURING_TIME: Duration = Duration::from_millis(1500);
const MEASURING_PART: u64 = 300;
const MEASURING_CONNECTIONS: usize = 4;

/// What is known of a registry; where nothing is and much is to be fetched, it is measured by a few bytes of the largest
/// layer, over one connection and over many. Gives the bytes that this took, too.
pub(super) async fn known_or_measured(
    ctx: &Context,
    repository: &Repository,
    layers: &[(Digest, Bytes)],
    connections: usize,
) -> (Link, Bytes) {
    let link = known(ctx, repository.registry()).await;
    let total: u64 = layers.iter().map(|(_, size)| size.0).sum();
    let largest = layers.iter().max_by_key(|(_, size)| *size);
    let (Some(relays), Some((blob, size))) = (ctx.transfers.relays(), largest) else { return (link, Bytes::ZERO) };
    if link.many.is_some() || total < WORTH_MEASURING {
        return (link, Bytes::ZERO);
    }
    let mut moved = Bytes::ZERO;
    let connections = connections.min(MEASURING_CONNECTIONS);
    let mut rate = async |connections: usize| {
        // as much over each
        let part = total / MEASURING_PART * connections as u64 / MEASURING_CONNECTIONS as u64;
        let (repository, bytes) = (repository.clone(), Bytes(part));
        let road = Probe { repository, blob: *blob, size: *size, connections, bytes, time: MEASURING_TIME };
        let measured = relays.measure(&road).await;
        if let Ok(measured) = &measured {
            moved += measured.bytes;
        }
        measured.map(|measured| measured.rate)
    };
    let (one, many) = (rate(1).await, rate(connections).await);
    let link = match (one, many) {
        (Ok(one), Ok(many)) => Link { one: Some(one), three: link.three, many: Some(many), connections },
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%repository, %error, "could not measure what the link gives");
            return (link, moved);
        }
    };
    tracing::info!(%repository, %link, bytes = moved.0, "measured the link");
    save(ctx, repository.registry(), link, ctx.now()).await;
    (link, moved)
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
