//! A rate that all connections share.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use layerkeeper_core::Bytes;

use super::lock;

/// At most so many bytes per second, or as many as come.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    rate: Option<u64>,
    free_at: Option<Instant>,
}

impl Pace {
    pub(super) fn set(&self, rate: Option<Bytes>) {
        *lock(&self.0) = State { rate: rate.map(|rate| rate.0.max(1)), free_at: None };
    }

    /// How many bytes to take at once, so that a slow pace is even: a fiftieth of a second's worth.
    pub(super) fn portion(&self) -> usize {
        const MOST: u64 = 32 * 1024;
        lock(&self.0).rate.map_or(MOST, |rate| (rate / 50).clamp(1, MOST)) as usize
    }

    /// Returns when these bytes may go.
    pub(super) async fn take(&self, bytes: usize) {
        let wait = self.reserve(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn reserve(&self, bytes: usize, now: Instant) -> Duration {
        let mut state = lock(&self.0);
        let Some(rate) = state.rate else { return Duration::ZERO };
        let start = state.free_at.map_or(now, |at| at.max(now));
        let end = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        state.free_at = Some(end);
        end - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_together_waits_together() {
        let pace = Pace::default();
        let now = Instant::now();
        assert_eq!(pace.reserve(1_000_000, now), Duration::ZERO);
        pace.set(Some(Bytes(1000)));
        assert_eq!(pace.reserve(100, now), Duration::from_millis(100));
        assert_eq!(pace.reserve(100, now), Duration::from_millis(200));
        assert_eq!(pace.reserve(100, now + Duration::from_secs(5)), Duration::from_millis(100));
        assert_eq!(pace.portion(), 20);
    }
}
