//! Which way content comes: by the engine's own pull, or through the relay. Whatever goes wrong with the relay, also in the
//! middle, the engine's own pull is behind it.

mod choice;
mod link;
mod spool;
mod told;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use layerkeeper_core::plan::{TransferChoice, Way};
use layerkeeper_core::{Bytes, Digest, EngineInfo, Reference};
use layerkeeper_engine::{EngineError, Login};
use layerkeeper_relay::{Limit, Order, Relay, Relays, Settings as RelaySettings};
use layerkeeper_store::MadeFor;
use layerkeeper_store::record::{AttemptRecord, TransferRecord};
use tokio::time::Instant;

use crate::context::Context;
use crate::job_error::JobError;
use crate::settings::TransferSettings;
use crate::worker::bring::Job;
use crate::worker::provenance::vouch;
use crate::worker::pull::{Pulled, Relayed, pull};
use crate::worker::room::{make_room, spool_shares_its_disk};
use crate::worker::run::Run;
use crate::worker::tidy::untag_alias;
use choice::{choose, to_fetch};
pub(super) use spool::clear_spool;
use spool::{clear_all, has_room};
use told::{correct, sources, told};

/// With how many connections a relay begins where nothing is known of the link: one more than nothing, so that it is seen
/// what one gives.
const START: usize = 1;

/// After so long an engine that could not pull from this machine's loopback is let try again.
const OUT_OF_REACH: Duration = Duration::from_secs(3600);

/// As what the bytes of a measurement stand among the attempts: they moved for nothing, and no pull failed.
pub(super) const MEASURED: &str = "measured what the link to the registry gives";

/// What transfers share over a daemon's life.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    relays: Option<Relays>,
    limit: Arc<Limit>,
    /// By engine: why it cannot pull from this machine's loopback, and when it turned out so.
    out_of_reach: Mutex<BTreeMap<String, (String, Instant)>>,
    /// Compressed bytes that the engine unpacks in a second, as last seen.
    unpacks: Mutex<Option<f64>>,
}

impl Transfers {
    pub fn new(relays: Option<Relays>) -> Self {
        Self { relays, ..Self::default() }
    }

    /// Where the relay keeps pieces.
    pub fn relays(&self) -> Option<&Relays> {
        self.relays.as_ref()
    }

    /// Why no relay can be used with this engine.
    fn hindrance(&self, settings: &TransferSettings, engine: &EngineInfo) -> Option<String> {
        if self.relays.is_none() {
            return Some("there is no relay here".to_owned());
        }
        if !settings.engine_is_here {
            return Some(
                "the engine is reached over the network, so this machine's loopback is not its own".to_owned(),
            );
        }
        if engine.rootless {
            return Some("the engine runs rootless, and has a loopback of its own".to_owned());
        }
        let out_of_reach = lock(&self.out_of_reach);
        let (why, at) = out_of_reach.get(&engine.instance())?;
        (at.elapsed() < OUT_OF_REACH).then(|| why.clone())
    }

    /// The engine has unpacked so much in a second.
    pub fn unpacked(&self, bytes_per_second: Option<f64>) {
        if let Some(seen) = bytes_per_second {
            let mut known = lock(&self.unpacks);
            *known = Some(known.map_or(seen, |before| before * 0.5 + seen * 0.5));
        }
    }
}

/// Chooses the way, and sees to it that the pull fits. No image is removed for the sake of the spool alone.
pub(super) async fn make_ready(run: &mut Run<'_>, job: &mut Job<'_>) -> Result<(), JobError> {
    let mut choice = choose(run, job).await;
    if let Some(reason) = has_room(run, job, choice.way).await? {
        choice = TransferChoice { way: Way::Engine, reason, ..choice };
    }
    if job.target.away && choice.way == Way::Engine {
        // the engine has nobody to ask but the registry that is away
        choice.reason += "; the registry is away, and only through the relay could a mirror stand in for it";
    }
    make_room(run, job.name, job.estimate.as_ref(), job.kind).await?;
    job.choice = Some(choice);
    Ok(())
}

/// Brings the content of `reference`, by its real name, the way that was chosen.
pub(super) async fn transfer(
    run: &mut Run<'_>,
    job: &Job<'_>,
    reference: &Reference,
    choice: &TransferChoice,
) -> Result<(Pulled, TransferRecord), JobError> {
    let mut record = TransferRecord::from(choice);
    let ctx = run.ctx;
    tracing::info!(job = %run.job.id, image = %job.name, way = %choice.way, reason = choice.reason, "how it comes");
    if choice.way == Way::Relay
        && let Some(pulled) = relayed(run, job, reference, &mut record).await?
    {
        return Ok((pulled, record));
    }
    record.way = Way::Engine.to_string();
    let login = ctx.registry.login(job.name.repository.registry()).await?;
    let pulled = pull(run, job.name, reference, login.as_ref(), job.estimate.as_ref(), None).await?;
    if pulled.error.is_none() {
        clear_spool(ctx, job).await;
        ctx.transfers.unpacked(pulled.unpacks);
        let fetched = to_fetch(job).count();
        link::learn_of_engine(ctx, job.name.repository.registry(), &pulled, fetched).await;
    }
    Ok((pulled, record))
}

/// Pulls through a relay. None: it came to nothing, and the engine is to pull by itself.
async fn relayed(
    run: &mut Run<'_>,
    job: &Job<'_>,
    reference: &Reference,
    record: &mut TransferRecord,
) -> Result<Option<Pulled>, JobError> {
    let ctx = run.ctx;
    // before anything moves: for its own name the engine asks the registry
    let own_login = match job.target.away {
        false => ctx.registry.login(job.name.repository.registry()).await?,
        true => None,
    };
    let relay = match open(run, job).await {
        Ok(relay) => relay,
        Err((reason, why)) => {
            fell_back(run, job, record, reason, why);
            return Ok(None);
        }
    };
    let alias = relay.repository().by_digest(job.target.digest);
    let instance = job.inventory.engine.instance();
    ctx.store.record_made(&instance, alias.clone(), MadeFor::TransferAlias, &run.job.id, ctx.now()).await?;
    (ctx.at)("relay-open");
    let (username, password) = relay.credentials();
    let login = Login {
        username: username.to_owned(),
        password: password.to_owned(),
        identity_token: None,
        registry_token: None,
        server_address: relay.repository().registry().to_owned(),
    };
    let layers = job.target.manifest.iter().flat_map(|m| m.layers.iter().map(|layer| layer.blob.digest)).collect();
    let relayed = Relayed { relay: &relay, layers };
    let pulled = pull(run, job.name, &alias, Some(&login), job.estimate.as_ref(), Some(&relayed)).await?;
    let mut pulled = match pulled.error {
        None => pulled,
        Some(error) => return broke(run, job, relay, record, Pulled { error: Some(error), ..pulled }).await,
    };
    (ctx.at)("relayed");
    if job.target.away {
        // nobody can tell the engine where it is from: we vouch for it until the registry can, and the end of the job takes
        // the relay's name away, as then it has its own
        let snapshot = relay.finish().await;
        told(record, &snapshot);
        correct(&mut pulled.progress, &snapshot);
        if let Err(error) = vouch(run, job, &alias, sources(&snapshot)).await {
            pulled.fails(error);
        }
        (ctx.at)("relay-vouched");
        return Ok(Some(pulled));
    }
    // by its real name: about a kilobyte, and the engine knows where the content is from
    let named = pull(run, job.name, reference, own_login.as_ref(), None, None).await?;
    (ctx.at)("relay-named");
    pulled.attempt.duration += named.attempt.duration;
    run.changes();
    let snapshot = relay.finish().await;
    told(record, &snapshot);
    correct(&mut pulled.progress, &snapshot);
    if let Some(error) = named.error {
        // the relay's name is the only one that holds the content: the next attempt only names it, and the end of that job
        // takes the relay's away
        pulled.fails(vouch(run, job, &alias, sources(&snapshot)).await.err().unwrap_or(error));
        return Ok(Some(pulled));
    }
    untag(run, job, &alias).await;
    pulled.progress.digest = named.progress.digest.or(pulled.progress.digest);
    ctx.transfers.unpacked(pulled.unpacks);
    let settings = run.ctx.settings();
    let limited = settings.transfer.rate_of(run.job.intent.kind()).is_some();
    if !limited && settings.transfer.caches_of(&job.name.repository).is_empty() {
        // a limit says nothing of the link to the registry, and neither does a cache on the LAN
        link::learn_of_relay(ctx, &snapshot).await;
    }
    Ok(Some(pulled))
}

async fn open(run: &Run<'_>, job: &Job<'_>) -> Result<Relay, (&'static str, String)> {
    let (ctx, settings) = (run.ctx, run.ctx.settings());
    let settings = &settings.transfer;
    let (Some(relays), Some(manifest)) = (&ctx.transfers.relays, &job.target.manifest) else {
        return Err(("listen", "there is no relay here".to_owned()));
    };
    let blobs: HashMap<Digest, Bytes> = manifest
        .layers
        .iter()
        .map(|layer| &layer.blob)
        .chain([&manifest.config])
        .map(|blob| (blob.digest, blob.size))
        .collect();
    ctx.transfers.limit.set(rate(run).await);
    let known = link::known(ctx, job.name.repository.registry()).await;
    let order = Order {
        repository: job.name.repository.clone(),
        mirrors: settings.mirrors_of(&job.name.repository),
        caches: settings.caches_of(&job.name.repository),
        blobs,
        start: if known.connections > 0 { known.connections } else { START },
        limit: ctx.transfers.limit.clone(),
        away: job.target.away,
    };
    let settings = RelaySettings {
        spool_max: settings.spool_max,
        connections: settings.connections,
        connections_per_registry: settings.connections_per_registry,
    };
    relays.open(order, &settings).await.map_err(|error| (error.reason(), error.to_string()))
}

/// The pull through the relay failed. Where that is the relay's doing, the engine pulls by itself; where it is not, it would
/// fare no better, and what came stays in the spool for the next attempt.
async fn broke(
    run: &mut Run<'_>,
    job: &Job<'_>,
    relay: Relay,
    record: &mut TransferRecord,
    mut pulled: Pulled,
) -> Result<Option<Pulled>, JobError> {
    let (ctx, reached) = (run.ctx, relay.is_reached());
    let snapshot = relay.close().await;
    told(record, &snapshot);
    let Some(error) = pulled.error.take() else { return Ok(Some(pulled)) };
    let reason = match (&snapshot.failure, &error) {
        (Some(failure), _) => Some((failure.reason(), failure.to_string())),
        (None, error) if is_the_roads(error) => Some(("engine", error.to_string())),
        // by itself it needs no spool beside it, and what the spool has taken of its disk is free then
        (None, JobError::Engine(EngineError::NoSpace(cause))) if !job.target.away && spool_shares_its_disk(ctx) => {
            Some(("no_space", format!("the engine's disk is full: {cause}")))
        }
        (None, _) => None,
    };
    let Some((reason, why)) = reason else {
        // what lies in the spool is not lost
        pulled.attempt.cut = true;
        pulled.error = Some(error);
        return Ok(Some(pulled));
    };
    if matches!(reason, "spool" | "no_space") {
        // the engine may need the very room that the spool has taken
        clear_all(ctx).await;
    }
    // one that came and got no manifest can come again
    if reason == "engine" && !reached {
        let instance = job.inventory.engine.instance();
        let hindrance = format!("this engine could not pull from this machine's loopback ({why})");
        lock(&ctx.transfers.out_of_reach).insert(instance, (hindrance, Instant::now()));
    }
    run.outcome.moved_bytes += pulled.attempt.moved.0;
    pulled.attempt.failure = Some(format!("through the relay: {why}"));
    let attempt = AttemptRecord { image: job.name.to_string(), ..AttemptRecord::from(&pulled.attempt) };
    run.outcome.attempts.push(attempt);
    fell_back(run, job, record, reason, why);
    Ok(None)
}

/// Would the engine's own pull, which takes another road, have a chance?
fn is_the_roads(error: &JobError) -> bool {
    let JobError::Engine(error) = error else { return matches!(error, JobError::Stalled(_)) };
    matches!(
        error,
        EngineError::NotFound(_)
            | EngineError::BlobMissing(_)
            | EngineError::Denied(_)
            | EngineError::TooManyRequests(_)
            | EngineError::RegistryUnreachable(_)
            | EngineError::BadContent(_)
            | EngineError::Unfinished
            | EngineError::Malformed(_)
            | EngineError::Other(_)
    )
}

fn fell_back(run: &mut Run<'_>, job: &Job<'_>, record: &mut TransferRecord, reason: &'static str, why: String) {
    run.ctx.metrics.fallbacks.with_label_values(&[reason]).inc();
    run.warn(format!("{}: the relay was given up, and the engine pulls by itself: {why}", job.name));
    record.fallback = Some(why);
}

/// Takes the relay's name away again. It is ours alone, and the image has its real one.
async fn untag(run: &mut Run<'_>, job: &Job<'_>, alias: &Reference) {
    if let Err(error) = untag_alias(run.ctx, &job.inventory.engine.instance(), alias).await {
        tracing::warn!(%alias, %error, "could not take the relay's name away; the end of a job tries again");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How fast bytes may come for this job now: what a deploy waits for is no background.
async fn rate(run: &Run<'_>) -> Option<u64> {
    let (ctx, settings) = (run.ctx, run.ctx.settings());
    let background = settings.transfer.rate_of(run.job.intent.kind());
    if background == settings.transfer.max_rate || !ctx.store.has_due_deploy(ctx.now()).await.unwrap_or(false) {
        return background.map(|rate| rate.0);
    }
    settings.transfer.max_rate.map(|rate| rate.0)
}

/// Looks whether a deploy waits by now: one that came while nothing was open yet, or whose time to be tried again has come.
pub(super) async fn keep_pace(run: &Run<'_>) {
    let (limit, rate) = (&run.ctx.transfers.limit, rate(run).await);
    if limit.rate() != rate {
        limit.set(rate);
    }
}

/// Lifts the rate for the background while a deploy waits for the pull under way.
pub(crate) fn hurry(ctx: &Context) {
    let settings = ctx.settings();
    ctx.transfers.limit.set(settings.transfer.max_rate.map(|rate| rate.0));
}

#[cfg(test)]
mod tests;
