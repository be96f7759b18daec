//! How fast bytes come now: over the last seconds, so that it neither jumps nor speaks of long ago.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The rate is that of so long.
const WINDOW: Duration = Duration::from_secs(5);

/// Before so much time has been watched there is no rate.
const LEAST: Duration = Duration::from_millis(800);

/// Remembers how far the pull was in the last seconds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seen: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// So many bytes have come by now.
    pub fn look(&mut self, now: Instant, bytes: u64) {
        self.seen.push_back((now, bytes));
        // one older than the window stays, to count from
        while self.seen.get(1).is_some_and(|(at, _)| now - *at >= WINDOW) {
            self.seen.pop_front();
        }
    }

    /// Bytes per second.
    pub fn rate(&self) -> Option<f64> {
        let ((from, before), (to, after)) = (self.seen.front()?, self.seen.back()?);
        let time = *to - *from;
        (time >= LEAST).then(|| after.saturating_sub(*before) as f64 / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        pace.look(at(0.0), 0);
        assert_eq!(pace.rate(), None);
        (1..=10).for_each(|second| pace.look(at(f64::from(second)), u64::from(second as u32) * 1000));
        assert_eq!(pace.rate(), Some(1000.0));
        // then it slows down
        (11..=20).for_each(|second| pace.look(at(f64::from(second)), 10_000 + u64::from(second as u32 - 10) * 10));
        assert_eq!(pace.rate(), Some(10.0));
        (21..=30).for_each(|second| pace.look(at(f64::from(second)), 10_100));
        assert_eq!(pace.rate(), Some(0.0));
    }
}
