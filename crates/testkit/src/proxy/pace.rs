//! A rate that all connections share, and a point where they all stop.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use layerkeeper_core::Bytes;
use tokio::sync::watch;

use super::lock;

/// As many bytes go at once at most.
const MOST: u64 = 32 * 1024;

/// At most so many bytes per second, or as many as come; and no more than so many in all, until told otherwise.
#[derive(Debug, Default)]
pub(super) struct Pace {
    rate: Mutex<State>,
    /// How many may still go; all where it is `None`.
    allowance: watch::Sender<Option<u64>>,
}

#[derive(Debug, Default)]
struct State {
    rate: Option<u64>,
    free_at: Option<Instant>,
}

impl Pace {
    pub(super) fn set(&self, rate: Option<Bytes>) {
        *lock(&self.rate) = State { rate: rate.map(|rate| rate.0.max(1)), free_at: None };
    }

    pub(super) fn allow(&self, bytes: Option<Bytes>) {
        self.allowance.send_replace(bytes.map(|bytes| bytes.0));
    }

    /// Is there less left than goes at once?
    pub(super) fn is_spent(&self) -> bool {
        self.allowance.borrow().is_some_and(|left| left < MOST)
    }

    /// How many bytes to take at once, so that a slow pace is even: a fiftieth of a second's worth.
    pub(super) fn portion(&self) -> usize {
        lock(&self.rate).rate.map_or(MOST, |rate| (rate / 50).clamp(1, MOST)) as usize
    }

    /// Returns when these bytes may go, all of them.
    pub(super) async fn take(&self, bytes: usize) {
        self.pass(bytes as u64).await;
        let wait = self.reserve(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    async fn pass(&self, bytes: u64) {
        let mut allowance = self.allowance.subscribe();
        while allowance.borrow_and_update().is_some() {
            let passed = self.allowance.send_if_modified(|left| match left {
                Some(left) if *left >= bytes => {
                    *left -= bytes;
                    true
                }
                _ => false,
            });
            if passed || allowance.changed().await.is_err() {
                return;
            }
        }
    }

    fn reserve(&self, bytes: usize, now: Instant) -> Duration {
        let mut state = lock(&self.rate);
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

    #[tokio::test]
    async fn what_is_not_allowed_waits_until_it_is() {
        let pace = Pace::default();
        pace.take(1_000_000).await;
        pace.allow(Some(Bytes(100)));
        pace.take(60).await;
        let mut more = std::pin::pin!(pace.take(60));
        assert!(futures_util::poll!(&mut more).is_pending());
        pace.take(40).await;
        assert!(futures_util::poll!(&mut more).is_pending());
        pace.allow(None);
        more.await;
        pace.take(1_000_000).await;
    }
}
