//! At most so many bytes per second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So much may come at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// A limit that many connections share. Without one, nobody waits.
#[derive(Debug, Default)]
pub struct Limit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes_per_second: Option<u64>,
    /// When all that was let through so far is due.
    due: Option<Instant>,
}

impl Limit {
    /// Sets the limit; what waits already waits on by the old one.
    pub fn set(&self, bytes_per_second: Option<u64>) {
        *self.lock() = State { bytes_per_second: bytes_per_second.map(|rate| rate.max(1)), due: None };
    }

    /// Bytes per second; none without a limit.
    pub fn rate(&self) -> Option<u64> {
        self.lock().bytes_per_second
    }

    /// Waits until so many bytes may have come.
    pub async fn take(&self, bytes: usize) {
        let until = {
            let mut state = self.lock();
            let Some(rate) = state.bytes_per_second else { return };
            let now = Instant::now();
            let from = state.due.unwrap_or(now).max(now - BURST);
            let due = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
            state.due = Some(due);
            due
        };
        tokio::time::sleep_until(until).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_connections_share_one_limit() {
        let limit = Limit::default();
        let begun = Instant::now();
        limit.take(1 << 30).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody has set one");
        limit.set(Some(1000));
        let lanes = (0..4).map(|_| async {
            for _ in 0..5 {
                limit.take(250).await;
            }
        });
        futures_util::future::join_all(lanes).await;
        let took = begun.elapsed().as_secs_f64();
        assert!((4.8..=5.0).contains(&took), "5000 bytes at 1000 per second took {took} s");
    }
}
