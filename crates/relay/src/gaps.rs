//! Which bytes of a blob are here, which somebody has been sent for, and which are still to be had.

use std::collections::BTreeMap;
use std::ops::Range;

/// The bytes of one blob. Every byte is missing, on its way, or landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gaps {
    size: u64,
    /// Start and end of what nobody has been sent for.
    missing: Spans,
    /// Start and end of what is here.
    landed: Spans,
}

/// Ranges that neither overlap nor touch, by their starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Spans(BTreeMap<u64, u64>);

impl Gaps {
    /// A blob of this size of which nothing is here.
    pub fn new(size: u64) -> Self {
        let mut missing = Spans::default();
        missing.insert(0..size);
        Self { size, missing, landed: Spans::default() }
    }

    /// Takes the first missing bytes, `most` at most: they are on their way from now on.
    pub fn take(&mut self, most: u64) -> Option<Range<u64>> {
        let (start, end) = self.missing.0.pop_first()?;
        let cut = end.min(start.saturating_add(most.max(1)));
        if cut < end {
            self.missing.0.insert(cut, end);
        }
        Some(start..cut)
    }

    /// Nobody is on the way for these any more, and they are not here.
    pub fn give_back(&mut self, range: Range<u64>) {
        self.missing.insert(range);
    }

    /// These are here.
    pub fn land(&mut self, range: Range<u64>) {
        self.missing.remove(&range);
        self.landed.insert(range);
    }

    /// How many bytes from the beginning on are here without a gap.
    pub fn frontier(&self) -> u64 {
        self.landed.0.get(&0).copied().unwrap_or(0)
    }

    /// How many bytes are here.
    pub fn landed(&self) -> u64 {
        self.landed.bytes()
    }

    /// How many bytes nobody has been sent for.
    pub fn missing(&self) -> u64 {
        self.missing.bytes()
    }

    /// Is all of it here?
    #[cfg(test)]
    pub fn is_whole(&self) -> bool {
        self.frontier() == self.size
    }
}

impl Spans {
    fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // what touches it, from the right to the left
        while let Some((&other, &until)) = self.0.range(..=end).next_back().filter(|(_, until)| **until >= start) {
            self.0.remove(&other);
            (start, end) = (start.min(other), end.max(until));
        }
        self.0.insert(start, end);
    }

    fn remove(&mut self, range: &Range<u64>) {
        while let Some((&other, &until)) =
            self.0.range(..range.end).next_back().filter(|(_, until)| **until > range.start)
        {
            self.0.remove(&other);
            if until > range.end {
                self.0.insert(range.end, until);
            }
            if other < range.start {
                self.0.insert(other, range.start);
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_missing_bytes_go_first_and_come_back_in_their_place() {
        let mut gaps = Gaps::new(10);
        assert_eq!(gaps.take(4), Some(0..4));
        assert_eq!(gaps.take(4), Some(4..8));
        gaps.land(4..8);
        assert_eq!((gaps.frontier(), gaps.landed()), (0, 4));
        gaps.land(0..1);
        gaps.give_back(1..4);
        assert_eq!(gaps.take(99), Some(1..4));
        gaps.land(1..4);
        assert_eq!(gaps.frontier(), 8);
        assert_eq!(gaps.take(99), Some(8..10));
        assert_eq!(gaps.take(99), None);
        gaps.land(8..10);
        assert!(gaps.is_whole());
    }

    #[test]
    fn a_blob_of_no_bytes_is_whole() {
        assert!(Gaps::new(0).is_whole());
        assert_eq!(Gaps::new(0).take(1), None);
    }

    proptest! {
        /// Whatever pieces come back in whatever order, each byte is in one of three places, and the end is the whole blob.
        #[test]
        fn every_byte_is_in_one_place(size in 1u64..500, steps in prop::collection::vec((any::<bool>(), 1u64..60, any::<prop::sample::Index>()), 1..80)) {
            let mut gaps = Gaps::new(size);
            let mut way: Vec<Range<u64>> = Vec::new();
            for (takes, most, which) in steps {
                if takes {
                    way.extend(gaps.take(most));
                } else if !way.is_empty() {
                    let range = way.swap_remove(which.index(way.len()));
                    let cut = (range.start + most).min(range.end);
                    gaps.land(range.start..cut);
                    gaps.give_back(cut..range.end);
                }
                let going: u64 = way.iter().map(|range| range.end - range.start).sum();
                prop_assert_eq!(gaps.missing() + gaps.landed() + going, size);
                prop_assert!(gaps.frontier() <= gaps.landed());
            }
            for range in way {
                gaps.land(range);
            }
            while let Some(range) = gaps.take(7) {
                gaps.land(range);
            }
            prop_assert!(gaps.is_whole());
        }
    }
}
