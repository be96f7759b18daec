//! The desk: one task that knows everything of a pull and sends others for the pieces. It hands out work, takes in what
//! came, watches how many connections are worth it, and answers those who wait for a blob.

mod cache;
mod deal;
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
use crate::piece::{Fetched, Trouble};
use crate::snapshot::{BlobSnapshot, Snapshot, Speed};
use crate::source::Sources;
use crate::spool::Spool;
use crate::underway::Underway;

/// How often the number of connections is thought about.
const TICK: Duration = Duration::from_millis(250);

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
    Piece { pass: u64, blob: Digest, source: usize, fetched: Fetched },
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
    /// The most connections at once.
    most: usize,
    pub(crate) told: watch::Sender<Snapshot>,
    /// In the order in which they were asked for.
    pub(crate) blobs: Vec<Fetching>,
    /// Asked for, and waiting until the engine has had something that can go from the spool for them.
    queued: VecDeque<Ask>,
    pub(crate) underway: Underway,
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
        let climb = Climb::new(start, sources.bear(most));
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
            underway: Underway::default(),
            most,
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
                    Ok(Ended::Piece { pass, blob, source, fetched }) => {
                        self.underway.end(pass, Instant::now());
                        self.came(blob, source, fetched)
                    }
                    Ok(Ended::Hash { blob, hashed }) => self.hashed(blob, hashed).await,
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
        if !self.queued.is_empty() || !self.make_room(ask.size).await {
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
    async fn make_room(&mut self, size: u64) -> bool {
        loop {
            let held: u64 = self.blobs.iter().map(|blob| blob.size).sum();
            if Bytes(held.saturating_add(size)) <= self.spool_max {
                return true;
            }
            let Some(at) = self.blobs.iter().position(|blob| blob.is_ready && blob.served) else { return false };
            let gone = self.blobs.remove(at);
            self.told.send_modify(|snapshot| snapshot.keep(&gone));
            // before anything else is opened: it may be asked for again
            self.spool.clear(vec![gone.digest]).await;
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

    fn came(&mut self, digest: Digest, source: usize, fetched: Fetched) -> Result<(), RelayError> {
        let lacks = self.sources.fetched(source, &fetched, Instant::now());
        let Some(blob) = self.blobs.iter_mut().find(|blob| blob.digest == digest) else { return Ok(()) };
        // while a whole answer is read nobody else is sent for any of it, so this was the one that read it
        blob.whole = false;
        if lacks {
            if blob.absent.insert(source) {
                self.sources.lacks(source, digest);
            }
            blob.look = None;
        }
        blob.landed(source, &fetched);
        self.look(digest, source, &fetched);
        match fetched.trouble {
            Some(Trouble::Spool(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Thinks about the connections, how many and which.
    fn think(&mut self) {
        let (now, came) = (Instant::now(), self.tick.came.load(Ordering::Relaxed));
        self.underway.cut_slow(now);
        self.climb.bound(self.sources.bear(self.most));
        if let Some(before) = self.tick.at {
            let rate = (came - self.tick.came_then) as f64 / (now - before).as_secs_f64().max(1e-3);
            let busy = !self.tick.idle && self.underway.len() == self.climb.target();
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
            snapshot.connections = self.underway.len();
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
