//! What the link to each registry gives, learnt from every pull.

use std::time::Duration;

use layerkeeper_core::plan::Link;
use layerkeeper_core::{Bytes, Digest, Repository, Timestamp};
use layerkeeper_relay::{Probe, Snapshot};

use crate::context::Context;
use crate::settings::TransferSettings;
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

/// A measurement reads for no longer than this, and no more than this part of what is to be fetched; all of a pull together no
/// more than that part. With few connections each brings enough to tell by; if they give more than one, the relay finds out how
/// many more are worth it.
const MEASURING_TIME: Duration = Duration::from_millis(1500);
const MEASURING_PART: u64 = 200;
const MEASURING_PART_IN_ALL: u64 = 133;
const MEASURING_CONNECTIONS: usize = 4;

/// What is known of a registry and of its mirrors; where nothing is and much is to be fetched, it is measured by a few bytes of
/// the largest layer. What many connections give is what they give where they give most, for that is where the relay takes
/// blobs from. Gives the bytes that measuring took, too.
pub(super) async fn known_or_measured(
    ctx: &Context,
    settings: &TransferSettings,
    repository: &Repository,
    wanted: &[(Digest, Bytes)],
) -> (Link, Bytes) {
    let mirrors = settings.mirrors_of(repository);
    let mut unknown = 0;
    for mirror in &mirrors {
        unknown += u64::from(known(ctx, mirror.registry()).await.many.is_none());
    }
    let mut probes = Probes {
        ctx,
        wanted,
        part: part(unknown),
        connections: settings.connections.min(settings.connections_per_registry).min(MEASURING_CONNECTIONS),
        moved: Bytes::ZERO,
    };
    let mut link = probes.origin(repository).await;
    for mirror in &mirrors {
        let (many, connections) = probes.mirror(mirror).await;
        if many > link.many {
            (link.many, link.connections) = (many, connections);
        }
    }
    (link, probes.moved)
}

/// What part of all is read by many connections: of the registry and of each mirror that is to be measured, and a fourth of it
/// over one.
fn part(mirrors: u64) -> u64 {
    MEASURING_PART.max((MEASURING_PART_IN_ALL * (5 + 4 * mirrors)).div_ceil(4))
}

/// Measurements for one pull.
struct Probes<'p> {
    ctx: &'p Context,
    wanted: &'p [(Digest, Bytes)],
    /// Many connections read so small a part of it.
    part: u64,
    connections: usize,
    moved: Bytes,
}

impl Probes<'_> {
    /// The registry itself: over one connection, as the engine has for a layer, and over many.
    async fn origin(&mut self, repository: &Repository) -> Link {
        let link = known(self.ctx, repository.registry()).await;
        if link.many.is_some() || !self.is_worth_it() {
            return link;
        }
        let (Some(one), Some(many)) = (self.rate(repository, 1).await, self.rate(repository, self.connections).await)
        else {
            return link;
        };
        let link = Link { one: Some(one), three: link.three, many: Some(many), connections: self.connections };
        tracing::info!(%repository, %link, bytes = self.moved.0, "measured the link");
        save(self.ctx, repository.registry(), link, self.ctx.now()).await;
        link
    }

    /// A mirror, which only the relay asks: over many. None for one that gives nothing.
    async fn mirror(&mut self, mirror: &Repository) -> (Option<f64>, usize) {
        let link = known(self.ctx, mirror.registry()).await;
        if link.many.is_some() || !self.is_worth_it() {
            return (link.many, link.connections);
        }
        let many = self.rate(mirror, self.connections).await;
        if many.is_some() {
            let link = Link { many, connections: self.connections, ..link };
            tracing::info!(%mirror, %link, "measured a mirror");
            save(self.ctx, mirror.registry(), link, self.ctx.now()).await;
        }
        (many, self.connections)
    }

    fn is_worth_it(&self) -> bool {
        self.wanted.iter().map(|(_, size)| size.0).sum::<u64>() >= WORTH_MEASURING
    }

    /// Bytes per second of so many connections together; none where nothing comes.
    async fn rate(&mut self, repository: &Repository, connections: usize) -> Option<f64> {
        let (blob, size) = *self.wanted.iter().max_by_key(|(_, size)| *size)?;
        let total: u64 = self.wanted.iter().map(|(_, size)| size.0).sum();
        // as much over each
        let bytes = Bytes(total / self.part * connections as u64 / MEASURING_CONNECTIONS as u64);
        let road = Probe { repository: repository.clone(), blob, size, connections, bytes, time: MEASURING_TIME };
        match self.ctx.transfers.relays()?.measure(&road).await {
            Ok(measured) => {
                self.moved += measured.bytes;
                Some(measured.rate).filter(|rate| *rate > 0.0)
            }
            Err(error) => {
                tracing::warn!(%repository, %error, "could not measure what the link gives");
                None
            }
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

/// A pull through the relay: it tells of the place that nearly all came from, and of none where several had a part.
pub(super) async fn learn_of_relay(ctx: &Context, snapshot: &Snapshot) {
    let (speed, source) = (snapshot.speed, main_source(&snapshot.sources));
    let (Some((connections, many)), Some(registry)) = (speed.many, source) else { return };
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

/// The source of all bytes but a tenth.
fn main_source(sources: &[(String, Bytes)]) -> Option<&str> {
    let total: Bytes = sources.iter().map(|(_, bytes)| *bytes).sum();
    let most = sources.iter().max_by_key(|(_, bytes)| *bytes)?;
    (most.1.0 > total.0 / 10 * 9).then_some(&*most.0)
}

async fn save(ctx: &Context, registry: &str, link: Link, at: Timestamp) {
    tracing::debug!(registry, %link, "what the link gives");
    if let Err(error) = ctx.store.save_link(registry, link, at).await {
        tracing::warn!(%registry, %error, "could not store what the link to a registry gives");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measuring_never_reads_a_hundredth_of_what_is_to_be_fetched() {
        let read = |mirrors: u64| (1.25 + mirrors as f64) / part(mirrors) as f64;
        assert!((0..20).all(|mirrors| (0.006..0.008).contains(&read(mirrors))), "{:?}", (0..20).map(read));
    }

    #[test]
    fn what_came_from_several_tells_nothing_of_one() {
        let of =
            |bytes: [u64; 2]| [("ghcr.io".to_owned(), Bytes(bytes[0])), ("mirror.lan".to_owned(), Bytes(bytes[1]))];
        assert_eq!(main_source(&of([1000, 50])), Some("ghcr.io"));
        assert_eq!(main_source(&of([50, 1000])), Some("mirror.lan"));
        assert_eq!(main_source(&of([1000, 200])), None);
        assert_eq!(main_source(&of([0, 0])), None);
    }
}
