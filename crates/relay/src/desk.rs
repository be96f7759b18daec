//! The desk: one task that knows everything of a pull and sends others for the pieces. It hands out work, takes in what
//! came, watches how many connections are worth it, and answers those who wait for a blob.

mod cache;
mod judge;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_registry::Client;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::climb::Climb;
use crate::error::RelayError;
use crate::fetching::{Answer, Fetching};
use crate::limit::Limit;
use crate::piece::{Fetched, Order, Trouble, fetch};
use crate::snapshot::{BlobSnapshot, Snapshot, Speed};
use crate::source::Sources;
use crate::spool::Spool;
use cache::Turn;

/// How often the number of connections is thought about.
const TICK: Duration = Duration::from_millis(250);

/// A piece is as long as one connection brings in about this time: short enough that the last one is not waited for long.
const PIECE_TIME: f64 = 2.0;
const LEAST_PIECE: u64 = 512 << 10;
const MOST_PIECE: u64 = 16 << 20;
/// A blob of no more than this is asked for whole.
const SMALL: u64 = 1 << 20;

/// Somebody wants a blob.
#[derive(Debug)]
pub(crate) struct Ask {
    pub digest: Digest,
    pub size: u64,
    pub answer: oneshot::Sender<Answer>,
}

/// What comes to the desk from outside.
#[derive(Debug)]
pub(crate) enum Message {
    Ask(Ask),
    /// The engine was sent all of a blob.
    Served(Digest),
}

/// What a task of the desk's brings back.
#[derive(Debug)]
enum Ended {
    Piece { blob: Digest, source: usize, fetched: Fetched },
    Hash { blob: Digest, hashed: Result<Digest, RelayError> },
}

pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) sources: Sources,
    pub(crate) spool: Spool,
    /// So much may lie in the spool at once.
    pub(crate) spool_max: Bytes,
    pub(crate) limit: Arc<Limit>,
    pub(crate) climb: Climb,
    pub(crate) told: watch::Sender<Snapshot>,
    /// In the order in which they were asked for.
    pub(crate) blobs: Vec<Fetching>,
    /// Asked for, and waiting until the engine has had something that can go from the spool for them.
    queued: VecDeque<Ask>,
    pub(crate) lanes: usize,
    pub(crate) tick: TickState,
    tasks: JoinSet<Ended>,
}

/// What the last tick left.
#[derive(Debug, Default)]
pub(crate) struct TickState {
    /// All bytes that came over the wire.
    came: Arc<AtomicU64>,
    at: Option<Instant>,
    came_then: u64,
    /// Some connection had nothing to do since then.
    idle: bool,
}

/// What a desk is set up with.
pub(crate) struct Setup {
    pub client: Client,
    pub sources: Sources,
    pub spool: Spool,
    pub spool_max: Bytes,
    pub limit: Arc<Limit>,
    pub start: usize,
    pub most: usize,
}

impl Desk {
    pub fn new(setup: Setup) -> (Self, watch::Receiver<Snapshot>) {
        let Setup { client, sources, spool, spool_max, limit, start, most } = setup;
        let (told, snapshot) = watch::channel(Snapshot::default());
        let climb = Climb::new(start, most);
        let tick = TickState::default();
        let desk = Self {
            client,
            sources,
            spool,
            spool_max,
            limit,
            climb,
            told,
            blobs: Vec::new(),
            queued: VecDeque::new(),
            lanes: 0,
            tick,
            tasks: JoinSet::new(),
        };
        (desk, snapshot)
    }

    /// Works until it is closed, or until it cannot go on: then the snapshot says why, and everybody who waits is told.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, close: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                () = close.cancelled() => break,
                message = messages.recv() => match message {
                    Some(Message::Ask(ask)) => self.take(ask).await,
                    Some(Message::Served(digest)) => self.served(digest).await,
                    None => break,
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => match ended {
                    Ok(Ended::Piece { blob, source, fetched }) => self.came(blob, source, fetched),
                    Ok(Ended::Hash { blob, hashed }) => self.hashed(blob, hashed),
                    // a task that panicked has said so by itself; it must not be waited for in silence
                    Err(error) => Err(RelayError::Spool { path: self.spool.dir().display().to_string(), cause: error.to_string() }),
                },
                _ = ticks.tick() => { self.think(); Ok(()) }
            };
            if let Err(error) = done.and_then(|()| self.deal()) {
                return self.fail(error);
            }
            self.tell(None);
        }
    }

    /// Takes up a blob, or another one who wants it.
    async fn take(&mut self, ask: Ask) -> Result<(), RelayError> {
        if let Some(known) = self.blobs.iter_mut().find(|blob| blob.digest == ask.digest) {
            known.waiting.push(ask.answer);
            if known.is_ready {
                let ready = Ok(known.ready());
                known.answer(&ready);
            }
            return Ok(());
        }
        // who came before goes first
        if !self.queued.is_empty() || !self.make_room(ask.size) {
            let (limit, wanted) = (self.spool_max, Bytes(ask.size));
            if wanted > limit {
                let error = RelayError::SpoolFull { limit, wanted };
                return refuse(ask, error);
            }
            self.queued.push_back(ask);
            return Ok(());
        }
        match self.open(ask.digest, ask.size).await {
            Ok(mut fetching) => {
                fetching.waiting.push(ask.answer);
                self.spawn(ask.digest, fetching.hash());
                self.blobs.push(fetching);
                Ok(())
            }
            Err(error) => refuse(ask, error),
        }
    }

    async fn open(&self, digest: Digest, size: u64) -> Result<Fetching, RelayError> {
        let spool = self.spool.clone();
        let opened = tokio::task::spawn_blocking(move || spool.open(digest, size)).await;
        let (spooled, pieces) = opened
            .map_err(|e| RelayError::Spool { path: self.spool.dir().display().to_string(), cause: e.to_string() })??;
        Ok(Fetching::new(digest, size, spooled, pieces))
    }

    /// Lets go of what the engine has had, oldest first, until a blob of this size fits; false where it does not.
    fn make_room(&mut self, size: u64) -> bool {
        loop {
            let held: u64 = self.blobs.iter().map(|blob| blob.size).sum();
            if Bytes(held.saturating_add(size)) <= self.spool_max {
                return true;
            }
            let Some(at) = self.blobs.iter().position(|blob| blob.is_ready && blob.served) else { return false };
            let gone = self.blobs.remove(at);
            self.told.send_modify(|snapshot| snapshot.keep(&gone));
            self.spool.remove(gone.digest);
        }
    }

    /// The engine has all of a blob: what waited for its room is taken up.
    async fn served(&mut self, digest: Digest) -> Result<(), RelayError> {
        if let Some(blob) = self.blobs.iter_mut().find(|blob| blob.digest == digest) {
            blob.served = true;
        }
        for ask in std::mem::take(&mut self.queued) {
            self.take(ask).await?;
        }
        Ok(())
    }

    fn spawn(&mut self, blob: Digest, hash: impl Future<Output = Result<Digest, RelayError>> + Send + 'static) {
        self.tasks.spawn(async move { Ended::Hash { blob, hashed: hash.await } });
    }

    /// Sends somebody for each piece that there is a connection for.
    fn deal(&mut self) -> Result<(), RelayError> {
        let now = Instant::now();
        while self.lanes < self.climb.target() {
            match self.next_order(now)? {
                Some((blob, source, order)) => {
                    self.lanes += 1;
                    self.tasks.spawn(async move { Ended::Piece { blob, source, fetched: fetch(order).await } });
                }
                None => {
                    self.tick.idle = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next piece of the first blob that wants one.
    fn next_order(&mut self, now: Instant) -> Result<Option<(Digest, usize, Order)>, RelayError> {
        let count = self.sources.iter().count();
        for at in 0..self.blobs.len() {
            if !self.blobs[at].wants() {
                continue;
            }
            let barred = self.blobs[at].barred(count);
            let chosen = match self.turn(at, &barred, now) {
                Turn::Wait => continue,
                Turn::Cache(cache) => Some(cache),
                Turn::Elsewhere => self.sources.choose(&barred, now),
            };
            let Some(source) = chosen else {
                if self.sources.is_hopeless(&barred) && self.blobs[at].asked == 0 {
                    let reasons = self.sources.reasons(&barred);
                    return Err(RelayError::NoSource { blob: self.blobs[at].digest.to_string(), reasons });
                }
                continue;
            };
            return Ok(self.order(at, source).map(|order| (self.blobs[at].digest, source, order)));
        }
        Ok(None)
    }

    fn order(&mut self, at: usize, source: usize) -> Option<Order> {
        let whole = !self.sources.get(source).ranges;
        let length = match self.sources.get(source) {
            _ if whole => u64::MAX,
            new if new.is_unmeasured() => self.piece_length(&self.blobs[at]).min(2 * LEAST_PIECE),
            _ => self.piece_length(&self.blobs[at]),
        };
        let repository = self.sources.get(source).repository.clone();
        let (client, came) = (self.client.clone(), self.tick.came.clone());
        let blob = &mut self.blobs[at];
        let range = blob.gaps.take(length)?;
        self.sources.sent(source);
        blob.asked += 1;
        blob.whole |= whole;
        let digest = blob.digest;
        let reader = blob.readers.entry(source).or_insert_with(|| client.blob(&repository, digest)).clone();
        Some(Order {
            blob: reader,
            size: blob.size,
            range,
            whole,
            cache: self.sources.get(source).cache,
            file: blob.spooled.file.clone(),
            pieces: blob.spooled.pieces.clone(),
            path: blob.spooled.path().to_owned(),
            limit: self.limit.clone(),
            came: vec![came, blob.came.entry(source).or_default().clone()],
        })
    }

    /// Small ones whole; else what a connection brings in [`PIECE_TIME`], and towards the end so little that all
    /// connections end together.
    fn piece_length(&self, blob: &Fetching) -> u64 {
        if blob.size <= SMALL {
            return SMALL;
        }
        let usual = self.sources.best_rate().map_or(2 * LEAST_PIECE, |rate| (rate * PIECE_TIME) as u64);
        let fair = blob.gaps.missing() / (2 * self.climb.target() as u64).max(1);
        usual.clamp(LEAST_PIECE, MOST_PIECE).min(fair.max(LEAST_PIECE))
    }

    fn came(&mut self, digest: Digest, source: usize, fetched: Fetched) -> Result<(), RelayError> {
        self.lanes -= 1;
        let lacks = self.sources.fetched(source, &fetched, Instant::now());
        let Some(blob) = self.blobs.iter_mut().find(|blob| blob.digest == digest) else { return Ok(()) };
        if !self.sources.get(source).ranges {
            blob.whole = false;
        }
        if lacks {
            blob.absent.insert(source);
            blob.look = None;
        }
        blob.landed(source, &fetched);
        self.look(digest, source, &fetched);
        match fetched.trouble {
            Some(Trouble::Spool(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Thinks about the number of connections.
    fn think(&mut self) {
        let (now, came) = (Instant::now(), self.tick.came.load(Ordering::Relaxed));
        if let Some(before) = self.tick.at {
            let rate = (came - self.tick.came_then) as f64 / (now - before).as_secs_f64().max(1e-3);
            let busy = !self.tick.idle && self.lanes == self.climb.target();
            self.climb.tick(rate, busy);
            self.told.send_modify(|snapshot| snapshot.bytes_per_second = rate as u64);
        }
        (self.tick.at, self.tick.came_then, self.tick.idle) = (Some(now), came, false);
    }

    fn tell(&self, failure: Option<RelayError>) {
        self.told.send_modify(|snapshot| {
            for blob in &self.blobs {
                snapshot.keep(blob);
            }
            snapshot.connections = self.lanes;
            snapshot.speed = Speed::of(self.climb.seen());
            snapshot.sources = self.sources.iter().map(|s| (s.name().to_owned(), Bytes(s.came))).collect();
            snapshot.remarks = self.sources.remarks();
            snapshot.filling = self.is_filling();
            snapshot.failure = failure;
        });
    }

    fn fail(mut self, error: RelayError) {
        let answer = Err(error.clone());
        self.blobs.iter_mut().for_each(|blob| blob.answer(&answer));
        for ask in self.queued.drain(..) {
            drop(ask.answer.send(answer.clone()));
        }
        self.tell(Some(error));
    }
}

/// Tells who asked; whoever no longer waits has gone away.
fn refuse(ask: Ask, error: RelayError) -> Result<(), RelayError> {
    drop(ask.answer.send(Err(error.clone())));
    Err(error)
}

impl Snapshot {
    fn keep(&mut self, blob: &Fetching) {
        let from = blob.came.iter().map(|(source, came)| (*source, Bytes(came.load(Ordering::Relaxed)))).collect();
        let (here, resumed) = (Bytes(blob.bytes_here()), Bytes(blob.resumed));
        let kept = BlobSnapshot { size: Bytes(blob.size), here, from, resumed, is_ready: blob.is_ready };
        self.blobs.insert(blob.digest, kept);
    }
}
