//! The requests under way. One that is hopelessly slow beside the others is cut, so that no blob waits for it: what it brought
//! stays, and another connection goes on from there.
//!
//! Only what others gave in the very same time counts, for the same blob or from the same source. Where the whole link is slow
//! they were slow, too, and where there was no other nothing is cut: so what goes on after a cut, alone, is left in peace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use layerkeeper_core::Digest;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A request is compared with others over so long a time at least.
const PATIENCE: Duration = Duration::from_secs(10);

/// And over no longer a time: what was given a minute ago says little of what can be had now.
const LONGEST: Duration = Duration::from_secs(60);

/// Others have to give so much in that time, each of them and in all: less may be chance.
const TELLING: u64 = 512 << 10;

/// Who gives less than this part of what another connection gives is hopeless.
const HOPELESS: f64 = 0.1;

/// What is fetched, and from which source.
pub(crate) type Of = (Digest, usize);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Underway {
    requests: BTreeMap<u64, Request>,
    /// What those that ended gave.
    ended: BTreeMap<Of, Given>,
    next: u64,
}

/// What its desk and its task share of a request.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub number: u64,
    /// Counts bytes as they come.
    pub came: Arc<AtomicU64>,
    /// It is to end now.
    pub cut: CancellationToken,
}

#[derive(Debug)]
struct Request {
    of: Of,
    begun: Instant,
    pass: Pass,
    may_be_cut: bool,
    /// Since when it is compared with others, and what was given by then.
    since: Mark,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    own: u64,
    others: Given,
}

/// Bytes, and the time that it took connections to bring them, all added up.
#[derive(Debug, Clone, Copy, Default)]
struct Given {
    bytes: u64,
    time: Duration,
}

impl Underway {
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// One more. It may be cut only where another one can go on from where it was.
    pub fn begin(&mut self, of: Of, may_be_cut: bool, now: Instant) -> Pass {
        let number = self.next;
        self.next += 1;
        let pass = Pass { number, came: Arc::default(), cut: CancellationToken::new() };
        let since = Mark { at: now, own: 0, others: self.others(number, of, now) };
        self.requests.insert(number, Request { of, begun: now, pass: pass.clone(), may_be_cut, since });
        pass
    }

    pub fn end(&mut self, number: u64, now: Instant) {
        if let Some(request) = self.requests.remove(&number) {
            let ended = self.ended.entry(request.of).or_default();
            *ended = ended.and(request.given(now));
        }
    }

    /// Cuts those that are hopelessly slow.
    pub fn cut_slow(&mut self, now: Instant) {
        let due = self.requests.iter().filter(|(_, request)| request.is_due(now));
        let due: Vec<(u64, Given)> = due.map(|(at, request)| (*at, self.others(*at, request.of, now))).collect();
        for (number, others) in due {
            if let Some(request) = self.requests.get_mut(&number) {
                request.compare(others, now);
            }
        }
    }

    /// What others gave so far for this blob, or from this source.
    fn others(&self, but: u64, of: Of, now: Instant) -> Given {
        let related = |other: Of| other.0 == of.0 || other.1 == of.1;
        let ended = self.ended.iter().filter(|(of, _)| related(**of)).map(|(_, given)| *given);
        let coming = self.requests.iter().filter(|(number, request)| **number != but && related(request.of));
        ended.chain(coming.map(|(_, request)| request.given(now))).fold(Given::default(), Given::and)
    }
}

impl Request {
    fn came(&self) -> u64 {
        self.pass.came.load(Ordering::Relaxed)
    }

    fn given(&self, now: Instant) -> Given {
        Given { bytes: self.came(), time: now - self.begun }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.may_be_cut && now - self.since.at >= PATIENCE && !self.pass.cut.is_cancelled()
    }

    fn compare(&mut self, others: Given, now: Instant) {
        let Mark { at, own, others: before } = self.since;
        let (time, own) = (now - at, self.came() - own);
        let bytes = others.bytes.saturating_sub(before.bytes);
        let spent = others.time.saturating_sub(before.time);
        // what another connection would have brought in this time
        let fair = bytes as f64 * time.as_secs_f64() / spent.as_secs_f64().max(1e-3);
        let telling = bytes >= TELLING && fair >= TELLING as f64;
        if spent.is_zero() || time >= LONGEST || (telling && own as f64 >= fair * HOPELESS) {
            self.since = Mark { at: now, own: self.came(), others };
        } else if telling && self.came() > 0 {
            // a byte more is here after each cut; who has given nothing at all is ended by the client's own patience
            self.pass.cut.cancel();
        }
    }
}

impl Given {
    fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, time: self.time + other.time }
    }
}

#[cfg(test)]
mod tests;
