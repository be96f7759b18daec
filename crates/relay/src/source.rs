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

/// A cache that gives nothing at all may take so long for a blob, and a second more for each so many bytes of it.
const PATIENCE: Duration = Duration::from_secs(60);
const LEAST_RATE: f64 = 1e6;

/// A source that gives less than this part of what the best one gives is slow.
const SLOW: f64 = 0.25;

/// Every so many pieces one is fetched from a source that is not the best: things change.
const LOOK_ELSEWHERE: u64 = 24;

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
    rests_until: Option<Instant>,
    /// Bytes that came from it.
    pub came: u64,
}

/// All of them, the origin first.
#[derive(Debug)]
pub(crate) struct Sources {
    all: Vec<Source>,
    asked: u64,
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
            rests_until: None,
            came: 0,
        }
    }

    /// It failed just now, and is left alone for a moment.
    pub fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    /// `host[:port]`
    pub fn name(&self) -> &str {
        self.repository.registry()
    }
}

impl Sources {
    pub fn new(repositories: impl IntoIterator<Item = Repository>) -> Self {
        Self { all: repositories.into_iter().map(Source::new).collect(), asked: 0 }
    }

    /// These too, which are caches.
    pub fn and_caches(mut self, repositories: impl IntoIterator<Item = Repository>) -> Self {
        let cache = |repository| Source { cache: true, ..Source::new(repository) };
        self.all.extend(repositories.into_iter().map(cache));
        self
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
        // the unmeasured first, then the fastest; the origin before mirrors that are as good
        usable.sort_by(|(_, a), (_, b)| b.rate.unwrap_or(f64::MAX).total_cmp(&a.rate.unwrap_or(f64::MAX)));
        let best = usable.first().and_then(|(_, source)| source.rate).unwrap_or(0.0);
        usable.retain(|(_, source)| source.measured < 2 || source.rate.is_none_or(|rate| rate >= best * SLOW));
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

    /// Takes down how a piece came. Gives true where this source lacks the blob.
    pub fn fetched(&mut self, at: usize, fetched: &Fetched, now: Instant) -> bool {
        let source = &mut self.all[at];
        source.came += fetched.came;
        if fetched.landed > 0 {
            source.filling_since = None;
        }
        if fetched.landed >= TELLING || (fetched.trouble.is_none() && fetched.landed >= TELLING / 4) {
            let rate = fetched.landed as f64 / fetched.took.as_secs_f64().max(1e-6);
            source.rate = Some(source.rate.map_or(rate, |before| before * 0.7 + rate * 0.3));
            source.measured += 1;
        }
        match &fetched.trouble {
            None => source.failures = 0,
            Some(Trouble::NoRanges) => source.ranges = false,
            Some(Trouble::Lie(what)) => source.pass_over(what.clone()),
            // the desk sees to that
            Some(Trouble::Spool(_) | Trouble::Filling) => {}
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

    /// Sources that were passed over or are left alone for their slowness, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let best = self.best_rate().unwrap_or(0.0);
        let remark = |source: &Source| match (&source.passed_over, source.rate) {
            (Some(why), _) => Some(format!("{} was passed over: it {why}", source.name())),
            (None, Some(rate)) if source.measured >= 2 && rate < best * SLOW => Some(format!(
                "{} was passed over: it gives {}/s for each connection, where another gives {}/s",
                source.name(),
                Bytes(rate as u64),
                Bytes(best as u64)
            )),
            (None, _) => None,
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

    /// This cache is fetching a blob of this size for itself, as it says, and gives nothing meanwhile. One that cannot keep what
    /// it fetches, on a full disk, would say so for ever.
    pub fn is_filling(&mut self, blob: Digest, size: u64, now: Instant) {
        let patience = PATIENCE + Duration::from_secs_f64(size as f64 / LEAST_RATE);
        if now - *self.filling_since.get_or_insert(now) > patience {
            let took = patience.as_secs();
            self.pass_over(format!("gave nothing for {took} s, and still does not have {}", blob.short()));
        }
    }

    /// A failure that gave some bytes all the same is a bad road, not a dead end.
    fn failed(&mut self, error: &SourceError, gave: bool, now: Instant) {
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
        let pause = error.retry_after().unwrap_or(pause);
        self.rests_until = Some(now + pause);
        tracing::debug!(source = self.name(), %error, pause_ms = pause.as_millis() as u64, "a piece did not come");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn sources() -> Sources {
        Sources::new(["origin.io/a", "mirror.lan:5000/a"].map(|text| text.parse().unwrap()))
    }

    fn piece(landed: u64, seconds: f64, trouble: Option<Trouble>) -> Fetched {
        let took = Duration::from_secs_f64(seconds);
        Fetched { range: 0..landed, landed, crc: 0, came: landed, etag: None, took, trouble }
    }

    fn unreachable() -> Option<Trouble> {
        Some(Trouble::Source(SourceError::Unreachable { registry: "r".into(), cause: "c".into() }))
    }

    #[tokio::test(start_paused = true)]
    async fn the_faster_one_is_asked_and_the_other_looked_at_now_and_then() {
        let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
        assert_eq!(sources.choose(&none, now), Some(0), "nothing is known: the origin");
        sources.fetched(0, &piece(MB, 1.0, None), now);
        assert_eq!(sources.choose(&none, now), Some(1), "of the mirror nothing is known yet");
        sources.fetched(1, &piece(2 * MB, 1.0, None), now);
        let chosen: Vec<usize> = (0..48).filter_map(|_| sources.choose(&none, now)).collect();
        assert_eq!(chosen.iter().filter(|at| **at == 0).count(), 2, "{chosen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_mirror_is_named_and_left_alone() {
        let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
        for _ in 0..2 {
            sources.fetched(0, &piece(8 * MB, 1.0, None), now);
            sources.fetched(1, &piece(MB, 1.0, None), now);
        }
        assert!((0..100).all(|_| sources.choose(&none, now) == Some(0)));
        let remarks = sources.remarks();
        assert!(remarks[0].starts_with("mirror.lan:5000 was passed over: it gives 1.00 MB/s"), "{remarks:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_rests_and_what_fails_again_and_again_is_passed_over() {
        let (mut sources, none, now) = (sources(), BTreeSet::from([1]), Instant::now());
        sources.fetched(0, &piece(0, 1.0, unreachable()), now);
        assert_eq!(sources.choose(&none, now), None);
        assert!(!sources.is_hopeless(&none));
        assert_eq!(sources.choose(&none, now + Duration::from_secs(60)), Some(0));
        for round in 1..u64::from(MOST_FAILURES) {
            // what breaks off while it rests was under way before
            for _ in 0..4 {
                sources.fetched(0, &piece(0, 1.0, unreachable()), now + Duration::from_secs(60 * round));
            }
        }
        assert!(sources.is_hopeless(&none));
        let reasons = sources.reasons(&none);
        assert!(
            reasons[0].contains("failed 6 times in a row") && reasons[1].ends_with("does not have it"),
            "{reasons:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_comes_before_all_and_is_waited_for_while_it_gives_anything() {
        let mut sources = sources().and_caches(["cache.lan/a".parse().unwrap()]);
        let (none, now) = (BTreeSet::new(), Instant::now());
        assert_eq!(sources.cache(&none), Some(2));
        assert_eq!(sources.cache(&BTreeSet::from([2])), None, "it does not have it");
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut fills = |seconds| sources.get_mut(2).is_filling(Digest::of(b"x"), 40 * MB, at(seconds));
        fills(0);
        fills(99);
        sources.fetched(2, &piece(MB, 1.0, None), at(100));
        let mut fills = |seconds| sources.get_mut(2).is_filling(Digest::of(b"x"), 40 * MB, at(seconds));
        fills(101);
        fills(201);
        assert_eq!(sources.cache(&none), Some(2), "it gave something in between");
        sources.get_mut(2).is_filling(Digest::of(b"x"), 40 * MB, at(202));
        assert_eq!((sources.cache(&none), sources.choose(&none, at(202))), (None, Some(0)));
        assert!(sources.remarks()[0].contains("cache.lan was passed over: it gave nothing for 100 s"), "{sources:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_cache_is_waited_for_three_seconds() {
        let mut sources = sources().and_caches(["cache.lan/a".parse().unwrap()]);
        let (begun, mut now) = (Instant::now(), Instant::now());
        while sources.cache(&BTreeSet::new()).is_some() {
            if !sources.get(2).rests(now) {
                sources.fetched(2, &piece(0, 0.0, unreachable()), now);
            }
            now += Duration::from_millis(50);
        }
        assert!((2..4).contains(&(now - begun).as_secs()), "{:?}", now - begun);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_something_each_time_is_asked_again_for_ever() {
        let (mut sources, none, mut now) = (sources(), BTreeSet::from([1]), Instant::now());
        for _ in 0..50 {
            sources.fetched(0, &piece(MB, 1.0, unreachable()), now);
            now += Duration::from_secs(10);
        }
        assert_eq!(sources.choose(&none, now), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lie_and_a_refusal_end_it_at_once() {
        for trouble in [
            Trouble::Lie("says that the blob has 3 bytes".to_owned()),
            Trouble::Source(SourceError::Malformed { what: "x".into() }),
        ] {
            let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
            sources.fetched(1, &piece(0, 0.1, Some(trouble)), now);
            assert!(sources.get(1).passed_over.is_some());
            assert_eq!(sources.choose(&none, now), Some(0));
        }
    }
}
