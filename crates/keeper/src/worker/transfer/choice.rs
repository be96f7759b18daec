//! Which way a pull is to come: what stands in the relay's way, and what the links to the registry and its mirrors give.

use layerkeeper_core::layers::Presence;
use layerkeeper_core::plan::{TransferChoice, TransferMode, TransferQuestion, Way, choose_transfer};
use layerkeeper_core::{Bytes, Digest};
use layerkeeper_store::record::AttemptRecord;

use super::{MEASURED, link, lock};
use crate::worker::bring::Job;
use crate::worker::run::Run;

/// Chooses the way for a pull.
pub(super) async fn choose(run: &mut Run<'_>, job: &Job<'_>) -> TransferChoice {
    let (ctx, settings) = (run.ctx, run.ctx.settings());
    let settings = &settings.transfer;
    let wanted: Vec<(Digest, Bytes)> = to_fetch(job).collect();
    let hindrance = hindrance(run, job, &wanted);
    if job.target.away && hindrance.is_none() && settings.mode != TransferMode::Engine {
        let reason = "the registry is away, and a mirror has what its digest names".to_owned();
        return TransferChoice { way: Way::Relay, engine_seconds: None, relay_seconds: None, reason };
    }
    let cached = !settings.caches_of(&job.name.repository).is_empty();
    let is_open = settings.mode == TransferMode::Auto && hindrance.is_none();
    let limited = settings.rate_of(run.job.intent.kind()).is_some() && wanted.iter().any(|(_, size)| size.0 > 0);
    // with a rate the way is clear, and nothing is to be measured faster than it
    let (link, moved) = if is_open && !cached && !limited {
        link::known_or_measured(ctx, settings, &job.name.repository, &wanted).await
    } else {
        (link::known(ctx, job.name.repository.registry()).await, Bytes::ZERO)
    };
    measured(run, job, moved);
    let layers: Vec<Bytes> = wanted.into_iter().map(|(_, size)| size).collect();
    let unpacks = *lock(&ctx.transfers.unpacks);
    let hindered = hindrance.as_deref();
    let question =
        TransferQuestion { mode: settings.mode, hindrance: hindered, cached, link, layers: &layers, unpacks };
    let mut choice = choose_transfer(&question);
    if limited && choice.way == Way::Engine && is_open {
        // the engine's own pull keeps to no rate
        choice.way = Way::Relay;
        choice.reason = "a rate is set, which only the relay keeps to".to_owned();
    }
    choice
}

/// Why the relay cannot be used for this.
fn hindrance(run: &Run<'_>, job: &Job<'_>, wanted: &[(Digest, Bytes)]) -> Option<String> {
    let settings = &run.ctx.settings().transfer;
    if job.estimate.is_none() || job.target.manifest.is_none() {
        return Some("the daemon could not read the manifest".to_owned());
    }
    let largest = wanted.iter().map(|(_, size)| *size).max().filter(|size| *size > settings.spool_max);
    let too_large = |size| format!("a layer of {size} is larger than the spool may be ({})", settings.spool_max);
    run.ctx.transfers.hindrance(settings, &job.inventory.engine).or(largest.map(too_large))
}

/// What measuring the link took has moved for nothing, and is told as such.
fn measured(run: &mut Run<'_>, job: &Job<'_>, moved: Bytes) {
    if moved == Bytes::ZERO {
        return;
    }
    run.outcome.moved_bytes += moved.0;
    run.outcome.attempts.push(AttemptRecord {
        image: job.name.to_string(),
        moved_bytes: moved.0,
        failure: Some(MEASURED.to_owned()),
        ..AttemptRecord::default()
    });
}

/// Distinct layers that are to be fetched, in the image's order.
pub(super) fn to_fetch<'j>(job: &'j Job<'_>) -> impl Iterator<Item = (Digest, Bytes)> + 'j {
    let layers = job.estimate.iter().flat_map(|estimate| &estimate.layers);
    layers
        .filter(|layer| matches!(layer.presence, Presence::ToFetch | Presence::Unknown))
        .map(|layer| (layer.blob, layer.size))
}
