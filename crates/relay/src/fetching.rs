//! One blob on its way into the spool: its pieces, its hash, and who waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use layerkeeper_core::Digest;
use layerkeeper_registry::Blob;
use ring::digest::{Context, SHA256};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::error::RelayError;
use crate::gaps::Gaps;
use crate::piece::Fetched;
use crate::spool::{Piece, Spooled, at, each_block};

/// A blob that is in the spool, whole and verified.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub file: Arc<std::fs::File>,
    pub size: u64,
}

pub(crate) type Answer = Result<Ready, RelayError>;

/// A blob is fetched once more, from one source alone, since its bytes were wrong.
#[derive(Debug)]
pub(crate) struct Again {
    pub only: usize,
    /// What came the first time, from whom.
    pub before: Vec<(Piece, Option<usize>)>,
}

/// A cache does not have the blob yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// When it was first seen not to.
    pub first: Instant,
    /// When it is looked at again.
    pub next: Instant,
}

/// A blob on its way.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub digest: Digest,
    pub size: u64,
    pub gaps: Gaps,
    pub spooled: Spooled,
    /// Connections at each source that was asked for it.
    pub readers: BTreeMap<usize, Blob>,
    /// Sources that do not have it.
    pub absent: BTreeSet<usize>,
    /// Caches that have given some of it, so they have it.
    pub warm: BTreeSet<usize>,
    /// The cache is looked at until it has it.
    pub look: Option<Look>,
    /// Which source gave which bytes, with their CRC: who lied is found out by them.
    pub from: Vec<(Piece, Option<usize>)>,
    /// Each source's mark for the content, as it first came.
    pub etags: BTreeMap<usize, String>,
    /// The mark changed in between: named where the digest turns out wrong.
    pub changed: BTreeSet<usize>,
    /// Requests under way.
    pub asked: usize,
    /// A whole answer is being read from a source without ranges.
    pub whole: bool,
    /// Who waits for it.
    pub waiting: Vec<oneshot::Sender<Answer>>,
    /// Whole and verified.
    pub is_ready: bool,
    /// The engine was sent all of it.
    pub served: bool,
    /// The digest was wrong: what each source gave then, and the one source that is asked now.
    pub again: Option<Again>,
    /// Bytes that lay in the spool from an earlier pull.
    pub resumed: u64,
    /// Bytes that came over the wire, by source.
    pub came: BTreeMap<usize, Arc<AtomicU64>>,
    /// Tells the hash how far it can go.
    frontier: watch::Sender<u64>,
}

impl Fetching {
    /// Takes up what the spool has of it.
    pub fn new(digest: Digest, size: u64, spooled: Spooled, pieces: Vec<Piece>) -> Self {
        let mut gaps = Gaps::new(size);
        let mut from = Vec::new();
        for piece in pieces {
            // takes it out of what is missing, so that nobody is sent for it
            gaps.land(piece.range.clone());
            from.push((piece, None));
        }
        let frontier = watch::Sender::new(gaps.frontier());
        Self {
            digest,
            size,
            resumed: gaps.landed(),
            gaps,
            spooled,
            readers: BTreeMap::new(),
            absent: BTreeSet::new(),
            warm: BTreeSet::new(),
            look: None,
            from,
            etags: BTreeMap::new(),
            changed: BTreeSet::new(),
            asked: 0,
            whole: false,
            waiting: Vec::new(),
            is_ready: false,
            served: false,
            again: None,
            came: BTreeMap::new(),
            frontier,
        }
    }

    /// Is there something to send somebody for?
    pub fn wants(&self) -> bool {
        self.gaps.missing() > 0 && !self.whole
    }

    /// Takes in what came of a piece.
    pub fn landed(&mut self, source: usize, fetched: &Fetched) {
        self.asked -= 1;
        let end = fetched.range.start + fetched.landed;
        let range: Range<u64> = fetched.range.start..end;
        if fetched.landed > 0 {
            self.from.push((Piece { range: range.clone(), crc: fetched.crc }, Some(source)));
        }
        self.gaps.land(range);
        self.gaps.give_back(end..fetched.range.end);
        if let Some(etag) = &fetched.etag
            && self.etags.entry(source).or_insert_with(|| etag.clone()) != etag
            && self.changed.insert(source)
        {
            tracing::warn!(blob = %self.digest, source, "the ETag of a blob changed while it was fetched; its digest will tell");
        }
        self.frontier.send_replace(self.gaps.frontier());
    }

    /// What hashes it while it comes.
    pub fn hash(&self) -> impl Future<Output = Result<Digest, RelayError>> + Send + use<> {
        let (file, path, size) = (self.spooled.file.clone(), self.spooled.path().to_owned(), self.size);
        hash(file, path, size, self.frontier.subscribe())
    }

    /// Its bytes are wrong: everything is fetched anew, from one source.
    pub fn begin_anew(&mut self, only: usize) -> Result<(), RelayError> {
        self.spooled.forget()?;
        self.gaps = Gaps::new(self.size);
        self.etags.clear();
        self.frontier.send_replace(0);
        let came = std::mem::take(&mut self.from);
        let before = self.again.take().map_or(came, |again| again.before);
        self.again = Some(Again { only, before });
        Ok(())
    }

    /// Sources that have no say in this blob: they lack it, or another one alone is asked.
    pub fn barred(&self, sources: usize) -> BTreeSet<usize> {
        match &self.again {
            Some(again) => (0..sources).filter(|at| *at != again.only || self.absent.contains(at)).collect(),
            None => self.absent.clone(),
        }
    }

    /// Tells those who wait.
    pub fn answer(&mut self, answer: &Answer) {
        for waiting in self.waiting.drain(..) {
            // whoever no longer waits has gone away
            drop(waiting.send(answer.clone()));
        }
    }

    pub fn ready(&self) -> Ready {
        Ready { file: self.spooled.file.clone(), size: self.size }
    }

    /// Bytes here, by pieces that have ended and by those that come.
    pub fn bytes_here(&self) -> u64 {
        if self.is_ready {
            return self.size;
        }
        let came: u64 = self.came.values().map(|came| came.load(Ordering::Relaxed)).sum();
        (self.resumed + came).clamp(self.gaps.landed(), self.size)
    }

    /// Which sources gave bytes that are not those of the blob as it is in the spool now, whole and verified. All that they gave
    /// is read for it, off the runtime's threads.
    pub fn liars(&self) -> impl Future<Output = BTreeSet<usize>> + Send + use<> {
        let (before, file) = (self.again.as_ref().map(|again| again.before.clone()), self.spooled.file.clone());
        async move {
            let Some(before) = before else { return BTreeSet::new() };
            let lied = move |(piece, source): (Piece, Option<usize>)| {
                let source = source?;
                let crc = crate::spool::crc_of(&file, &piece.range).ok()?;
                (crc != piece.crc).then_some(source)
            };
            let read = tokio::task::spawn_blocking(move || before.into_iter().filter_map(lied).collect());
            read.await.unwrap_or_else(|error| {
                tracing::warn!(%error, "could not find out who gave wrong bytes");
                BTreeSet::new()
            })
        }
    }
}

async fn hash(
    file: Arc<std::fs::File>,
    path: PathBuf,
    size: u64,
    mut frontier: watch::Receiver<u64>,
) -> Result<Digest, RelayError> {
    let (mut sha, mut done) = (Context::new(&SHA256), 0);
    while done < size {
        let until = match frontier.wait_for(|frontier| *frontier > done).await {
            Ok(frontier) => *frontier,
            // nobody fetches it any more; the task is about to be ended
            Err(_) => return Err(at(&path, std::io::Error::other("the blob was given up"))),
        };
        let file = file.clone();
        let hashed = tokio::task::spawn_blocking(move || -> std::io::Result<(Context, u64)> {
            each_block(&file, done..until, |block| sha.update(block))?;
            Ok((sha, until))
        });
        let hashed = hashed.await.map_err(std::io::Error::other).and_then(|hashed| hashed);
        (sha, done) = hashed.map_err(|e| at(&path, e))?;
    }
    let hash = sha.finish();
    let bytes = hash.as_ref().try_into().map_err(|e| at(&path, std::io::Error::other(e)))?;
    Ok(Digest::from_bytes(bytes))
}
