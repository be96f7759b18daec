//! When what goes wrong, and when it is well again.

use std::time::Duration;

use anyhow::Result;

use super::look::Looks;
use super::{Ground, Trouble};

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): the same story for the same seed.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_millis() as u64;
        least + Duration::from_millis(self.below(span))
    }
}

/// What comes next.
pub struct Story {
    random: Random,
    /// When something goes wrong next.
    at: Duration,
    /// When what goes on now is over.
    over: Option<(Duration, Trouble)>,
}

impl Story {
    /// Nothing has happened yet.
    pub fn new(random: Random) -> Self {
        Self { random, at: Duration::from_secs(20), over: None }
    }

    /// A deploy has begun: half of what goes wrong does so in the middle of one.
    pub fn deployed(&mut self, now: Duration) {
        if self.random.below(2) == 0 && self.over.is_none() {
            self.at = now + self.random.between(Duration::from_millis(100), Duration::from_secs(6));
        }
    }

    /// Whatever is due by now happens.
    pub fn go_on(&mut self, ground: &mut Ground, looks: &mut Looks, now: Duration) -> Result<()> {
        if let Some((until, trouble)) = self.over
            && now >= until
        {
            self.over = None;
            trouble.ends(ground)?;
        }
        if now >= self.at && self.over.is_none() {
            self.at = now + self.random.between(Duration::from_secs(10), Duration::from_secs(50));
            let trouble = Trouble::ALL[self.random.below(Trouble::ALL.len() as u64) as usize];
            looks.happened(trouble);
            trouble.begins(ground, &mut self.random)?;
            self.over = trouble.lasts().map(|(least, most)| (now + self.random.between(least, most), trouble));
        }
        Ok(())
    }

    /// Nobody is in the way any more.
    pub fn end(&mut self, ground: &mut Ground) -> Result<()> {
        self.over.take().map_or(Ok(()), |(_, trouble)| trouble.ends(ground))
    }
}
