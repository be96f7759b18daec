//! Pull-through caches. The first request for a blob makes one fetch it from the origin, and until it has all of it each further
//! request is answered by another fetch from the origin, whole, whatever part was asked for: distribution does so, and not
//! even the first is spared. Many servers that read such answers multiply what comes over the uplink. So an answer
//! that shows a blob to be on its way into the cache is let go of unread, the cache fetches on by itself, and the blob is
//! asked for again after a while. Once the cache has it, it gives parts, over as many connections as are worth it.

use std::collections::BTreeSet;
use std::time::Duration;

use layerkeeper_core::Digest;
use tokio::time::Instant;

use super::Desk;
use crate::fetching::{Fetching, Look};
use crate::piece::{Fetched, Trouble};

/// A look costs the uplink what comes before the cache hears that nobody reads it, some 50 kB; so it is taken less often the
/// longer a blob takes.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK: Duration = Duration::from_secs(5);
const LOOKS_PER_WAIT: u32 = 4;

/// Whose turn it is to give the next piece of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// This cache's.
    Cache(usize),
    /// A cache's, a little later.
    Wait,
    /// The origin's, or a mirror's.
    Elsewhere,
}

impl Desk {
    pub(super) fn turn(&self, at: usize, barred: &BTreeSet<usize>, now: Instant) -> Turn {
        let Some(cache) = self.sources.cache(barred) else { return Turn::Elsewhere };
        let blob = &self.blobs[at];
        let early = blob.look.is_some_and(|look| look.next > now);
        // of a cache that may not have it one part is asked for, not many
        let asking = !blob.warm.contains(&cache) && blob.asked > 0;
        if self.sources.get(cache).rests(now) || self.sources.is_full(cache) || early || asking {
            Turn::Wait
        } else {
            Turn::Cache(cache)
        }
    }

    /// Takes down what an answer of a cache shows.
    pub(super) fn look(&mut self, digest: Digest, source: usize, fetched: &Fetched) {
        let Some(blob) = self.blobs.iter_mut().find(|blob| blob.digest == digest) else { return };
        if !self.sources.get(source).cache {
            return;
        }
        if fetched.landed > 0 {
            blob.warm.insert(source);
            blob.look = None;
        }
        if !matches!(fetched.trouble, Some(Trouble::Filling)) {
            return;
        }
        let now = Instant::now();
        blob.warm.remove(&source);
        let first = blob.look.map_or(now, |look| look.first);
        blob.look = Some(Look { first, next: now + pause(now - first) });
        let waited_for = waited_for(&self.blobs, source);
        self.sources.get_mut(source).is_filling(digest, waited_for, now);
    }

    /// Does a blob wait for a cache?
    pub(super) fn is_filling(&self) -> bool {
        let waits = |blob: &Fetching| blob.wants() && blob.look.is_some();
        self.sources.cache(&BTreeSet::new()).is_some() && self.blobs.iter().any(waits)
    }
}

/// The bytes of all blobs that this cache is to bring over its uplink yet: they come beside each other.
fn waited_for(blobs: &[Fetching], cache: usize) -> u64 {
    let waits = |blob: &&Fetching| {
        blob.gaps.landed() < blob.size && !blob.absent.contains(&cache) && !blob.warm.contains(&cache)
    };
    blobs.iter().filter(waits).map(|blob| blob.size).sum()
}

/// How long until the next look, after so long a wait.
fn pause(waited: Duration) -> Duration {
    (waited / LOOKS_PER_WAIT).clamp(FIRST_LOOK, LAST_LOOK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Spool;

    #[test]
    fn looks_become_rare_and_a_long_wait_is_not_made_much_longer() {
        assert_eq!(pause(Duration::ZERO), FIRST_LOOK);
        assert_eq!(pause(Duration::from_secs(8)), Duration::from_secs(2));
        assert_eq!(pause(Duration::from_secs(600)), LAST_LOOK);
    }

    #[test]
    fn all_that_waits_for_a_cache_is_waited_for_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().to_owned());
        let blob = |name: &str, size: u64| {
            let digest = Digest::of(name.as_bytes());
            let (spooled, pieces) = spool.open(digest, size).unwrap();
            Fetching::new(digest, size, spooled, pieces)
        };
        let mut blobs = [blob("a", 100), blob("b", 20), blob("warm", 3), blob("absent", 3), blob("here", 3)];
        blobs[2].warm.insert(7);
        blobs[3].absent.insert(7);
        blobs[4].gaps.land(0..3);
        assert_eq!((waited_for(&blobs, 7), waited_for(&blobs, 8)), (120, 126));
    }
}
