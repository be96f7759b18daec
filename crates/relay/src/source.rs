//! Where blobs come from: the origin, mirrors of it, and pull-through caches. Which one is asked next goes by what each has
//! given so far, but for caches: they come first.

use std::collections::BTreeSet;
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, Repository};
use layerkeeper_registry::Error as SourceError;
use tokio::time::Instant;

use crate::piece::{Fetched, Trouble};

/// After so many failures in a row a source is not asked again.
const MOST_FAILURES: u32 = 6;

/// A cache has the origin behind it, so it is waited for less.
const MOST_FAILURES_OF_CACHE: u32 = 4;

const LONGEST_REST_OF_CACHE: Duration = Duration::from_secs(3);

/// A cache that gives nothing at all may take so long, and a second more for each so many bytes of all blobs that wait for it:
/// they share its uplink.
const PATIENCE: Duration = Duration::from_secs(60);
const LEAST_RATE: f64 = 500e3;
const MOST_PATIENCE: Duration = Duration::from_secs(3600);

/// A source that gives less than this part of what the best one gives is slow.
const SLOW: f64 = 0.25;

/// Every so many pieces one is fetched from a source that is not the best: things change.
const LOOK_ELSEWHERE: u64 = 24;

/// For so long a source that rests is waited for rather than one that gives only wholes.
const BRIEF: Duration = Duration::from_secs(5);

/// A piece says something of the speed when it has at least so many bytes.
const TELLING: u64 = 256 << 10;

/// A place that has the blobs, or says so.
#[derive(Debug)]
pub(crate) struct Source {
    /// The repository as this place names it.
    pub repository: Repository,
    /// It answers a request for a part with a part.
    pub ranges: bool,
    /// It is a pull-through cache: being asked makes it fetch a blob from the origin, and keep it for others.
    pub cache: bool,
    /// Since when it has been fetching for itself and has given nothing.
    filling_since: Option<Instant>,
    /// Why it is not asked any more in this pull.
    pub passed_over: Option<String>,
    /// Bytes per second of one connection, as its last pieces came.
    rate: Option<f64>,
    measured: u32,
    failures: u32,
    /// What it last failed of.
    failed_of: Option<String>,
    /// A blob that it does not have, and how many those are.
    lacks: Option<(String, usize)>,
    rests_until: Option<Instant>,
    /// Requests under way.
    asked: usize,
    /// Bytes that came from it.
    pub came: u64,
}

/// All of them, the origin first.
#[derive(Debug)]
pub(crate) struct Sources {
    all: Vec<Source>,
    asked: u64,
    /// The most requests at once to each of them.
    each: usize,
}

impl Source {
    fn new(repository: Repository) -> Self {
        Self {
            repository,
            ranges: true,
            cache: false,
            filling_since: None,
            passed_over: None,
            rate: None,
            measured: 0,
            failures: 0,
            failed_of: None,
            lacks: None,
            rests_until: None,
            asked: 0,
            came: 0,
        }
    }

    /// It failed just now, and is left alone for a moment.
    pub fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    /// It gives far less than the best one does.
    fn is_slow(&self, best: f64) -> bool {
        self.measured >= 2 && self.rate.is_some_and(|rate| rate < best * SLOW)
    }

    /// It has not shown yet how fast it is.
    pub fn is_unmeasured(&self) -> bool {
        self.rate.is_none()
    }

    /// `host[:port]`
    pub fn name(&self) -> &str {
        self.repository.registry()
    }
}

impl Sources {
    pub fn new(repositories: impl IntoIterator<Item = Repository>) -> Self {
        Self { all: repositories.into_iter().map(Source::new).collect(), asked: 0, each: usize::MAX }
    }

    /// These too, which are caches.
    pub fn and_caches(mut self, repositories: impl IntoIterator<Item = Repository>) -> Self {
        let cache = |repository| Source { cache: true, ..Source::new(repository) };
        self.all.extend(repositories.into_iter().map(cache));
        self
    }

    /// None of them is asked by more than so many requests at once.
    pub fn each_at_most(mut self, connections: usize) -> Self {
        self.each = connections.max(1);
        self
    }

    /// It is asked by as many as it may be.
    pub fn is_full(&self, at: usize) -> bool {
        self.all[at].asked >= self.each
    }

    /// How many of so many connections those that are asked now bear together.
    pub fn bear(&self, most: usize) -> usize {
        let best = self.best_rate().unwrap_or(0.0);
        let asked = match self.cache(&BTreeSet::new()) {
            Some(_) => 1,
            None => self.all.iter().filter(|source| source.passed_over.is_none() && !source.is_slow(best)).count(),
        };
        most.min(self.each.saturating_mul(asked))
    }

    pub fn get(&self, at: usize) -> &Source {
        &self.all[at]
    }

    pub fn get_mut(&mut self, at: usize) -> &mut Source {
        &mut self.all[at]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.all.iter()
    }

    /// Bytes per second that one connection gives where it gives most.
    pub fn best_rate(&self) -> Option<f64> {
        self.all.iter().filter(|source| source.passed_over.is_none()).filter_map(|source| source.rate).reduce(f64::max)
    }

    /// The cache that a blob of which these have nothing is to come from, though it may rest. Whoever goes elsewhere meanwhile
    /// brings over the uplink what the cache brings for all.
    pub fn cache(&self, absent: &BTreeSet<usize>) -> Option<usize> {
        let usable =
            |(at, source): &(usize, &Source)| source.cache && source.passed_over.is_none() && !absent.contains(at);
        self.all.iter().enumerate().find(usable).map(|(at, _)| at)
    }

    /// Which source is asked for the next piece; none while all that could be are resting, see [`Self::is_hopeless`].
    pub fn choose(&mut self, absent: &BTreeSet<usize>, now: Instant) -> Option<usize> {
        let usable = |(at, source): &(usize, &Source)| {
            source.passed_over.is_none() && !absent.contains(at) && !source.rests(now)
        };
        let mut usable: Vec<(usize, &Source)> = self.all.iter().enumerate().filter(usable).collect();
        let gives_parts = |(at, source): (usize, &Source)| {
            source.ranges && source.passed_over.is_none() && !absent.contains(&at) && !source.rests(now + BRIEF)
        };
        if self.all.iter().enumerate().any(gives_parts) {
            // who gives only wholes keeps all others from a blob, also from one that rests for a moment
            usable.retain(|(_, source)| source.ranges);
        }
        if usable.iter().any(|(_, source)| !source.is_unmeasured()) {
            // of one that may be slow, or dead, one piece tells as much as many, and holds up one connection
            usable.retain(|(_, source)| !source.is_unmeasured() || source.asked == 0);
        }
        // the unmeasured first, then the fastest; the origin before mirrors that are as good
        usable.sort_by(|(_, a), (_, b)| b.rate.unwrap_or(f64::MAX).total_cmp(&a.rate.unwrap_or(f64::MAX)));
        let best = usable.first().and_then(|(_, source)| source.rate).unwrap_or(0.0);
        // one that is full is still the measure: what is slow beside it does not take its place
        usable.retain(|(_, source)| !source.is_slow(best) && source.asked < self.each);
        self.asked += 1;
        let turn = (self.asked / LOOK_ELSEWHERE) as usize;
        let elsewhere = self.asked.is_multiple_of(LOOK_ELSEWHERE) && usable.len() > 1;
        let at = if elsewhere { 1 + turn % (usable.len() - 1) } else { 0 };
        usable.get(at).map(|(at, _)| *at)
    }

    /// No source will ever give a blob that these lack.
    pub fn is_hopeless(&self, absent: &BTreeSet<usize>) -> bool {
        self.all.iter().enumerate().all(|(at, source)| source.passed_over.is_some() || absent.contains(&at))
    }

    /// Somebody is sent to it.
    pub fn sent(&mut self, at: usize) {
        self.all[at].asked += 1;
    }

    /// It was asked for a blob and does not have it.
    pub fn lacks(&mut self, at: usize, blob: Digest) {
        let (_, count) = self.all[at].lacks.get_or_insert_with(|| (blob.short(), 0));
        *count += 1;
    }

    /// Takes down how a piece came. Gives true where this source lacks the blob.
    pub fn fetched(&mut self, at: usize, fetched: &Fetched, now: Instant) -> bool {
        let source = &mut self.all[at];
        source.came += fetched.came;
        source.asked = source.asked.saturating_sub(1);
        if fetched.landed > 0 {
            source.filling_since = None;
        }
        // what was cut was looked at for long, and says as much as two pieces
        let says = match fetched.trouble {
            Some(Trouble::Slow) => 2,
            None if fetched.landed >= TELLING / 4 => 1,
            _ => u32::from(fetched.landed >= TELLING),
        };
        if says > 0 {
            let rate = fetched.landed as f64 / fetched.took.as_secs_f64().max(1e-6);
            source.rate = Some(source.rate.map_or(rate, |before| before * 0.7 + rate * 0.3));
            source.measured += says;
        }
        match &fetched.trouble {
            None => source.failures = 0,
            Some(Trouble::NoRanges) => source.ranges = false,
            Some(Trouble::Lie(what)) => source.pass_over(what.clone()),
            // the desk sees to that
            Some(Trouble::Spool(_) | Trouble::Filling) => {}
            // its rate is all that it has against it: a bad connection is no failure of whoever is at its end
            Some(Trouble::Slow) => tracing::debug!(
                source = source.name(),
                bytes = fetched.landed,
                took_ms = fetched.took.as_millis() as u64,
                "cut a request that was far slower than others; another one goes on from there"
            ),
            Some(Trouble::Source(SourceError::NotFound { .. } | SourceError::Missing { .. })) => return true,
            Some(Trouble::Source(error)) => source.failed(error, fetched.landed > 0, now),
        }
        false
    }

    /// What each source has been found to be, a sentence each.
    pub fn reasons(&self, absent: &BTreeSet<usize>) -> Vec<String> {
        let reason = |(at, source): (usize, &Source)| match &source.passed_over {
            Some(why) => format!("{} {why}", source.name()),
            None if absent.contains(&at) => format!("{} does not have it", source.name()),
            None => format!("{} was still to be asked", source.name()),
        };
        self.all.iter().enumerate().map(reason).collect()
    }

    /// Sources that were passed over, are left alone for their slowness, gave nothing but failures or lack blobs, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let best = self.best_rate().unwrap_or(0.0);
        let remark = |source: &Source| match (&source.passed_over, source.rate) {
            (None, None) if source.came == 0 && source.failed_of.is_some() => {
                source.failed_of.as_ref().map(|why| format!("{} gave nothing: {why}", source.name()))
            }
            (Some(why), _) => Some(format!("{} was passed over: it {why}", source.name())),
            (None, Some(rate)) if source.is_slow(best) => Some(format!(
                "{} was passed over: it gives {}/s for each connection, where another gives {}/s",
                source.name(),
                Bytes(rate as u64),
                Bytes(best as u64)
            )),
            (None, _) => source.lacks.as_ref().map(|(blob, count)| match count {
                1 => format!("{} was passed over for a blob: it does not have {blob}", source.name()),
                _ => format!("{} was passed over for {count} blobs: it does not have {blob} and others", source.name()),
            }),
        };
        self.all.iter().filter_map(remark).collect()
    }
}

impl Source {
    /// It is not asked again in this pull.
    pub fn pass_over(&mut self, why: String) {
        tracing::warn!(source = self.name(), why, "passes over a source for this pull");
        self.passed_over.get_or_insert(why);
    }

    /// This cache is fetching a blob for itself, as it says, and gives nothing meanwhile; so many bytes are waited for in all. One
    /// that cannot keep what it fetches, on a full disk, would say so for ever.
    pub fn is_filling(&mut self, blob: Digest, waited_for: u64, now: Instant) {
        let patience = (PATIENCE + Duration::from_secs_f64(waited_for as f64 / LEAST_RATE)).min(MOST_PATIENCE);
        if now - *self.filling_since.get_or_insert(now) > patience {
            let took = patience.as_secs();
            self.pass_over(format!("gave nothing for {took} s, and still does not have {}", blob.short()));
        }
    }

    /// A failure that gave some bytes all the same is a bad road, not a dead end.
    fn failed(&mut self, error: &SourceError, gave: bool, now: Instant) {
        self.failed_of = Some(error.to_string());
        if !error.is_transient() {
            return self.pass_over(format!("refuses: {error}"));
        }
        if self.rests(now) {
            // many connections broke off at once, which is one failure
            return;
        }
        self.failures = if gave { 1 } else { self.failures + 1 };
        if self.failures >= if self.cache { MOST_FAILURES_OF_CACHE } else { MOST_FAILURES } {
            return self.pass_over(format!("failed {} times in a row: {error}", self.failures));
        }
        let pause = Duration::from_millis(200 << self.failures.min(6));
        let mut pause = error.retry_after().unwrap_or(pause);
        if self.cache {
            // nobody else is asked while it rests
            pause = pause.min(LONGEST_REST_OF_CACHE);
        }
        self.rests_until = Some(now + pause);
        tracing::debug!(source = self.name(), %error, pause_ms = pause.as_millis() as u64, "a piece did not come");
    }
}

#[cfg(test)]
mod tests;
