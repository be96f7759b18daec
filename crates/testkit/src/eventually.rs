//! Waiting for a condition, never for a fixed time.

use std::fmt::Display;
use std::panic::Location;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(20);

/// What an attempt comes to: a value, or why there is none yet.
pub trait Attempt {
    /// The value.
    type Value;

    /// The value, or why there is none yet.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl<T> Attempt for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "there was none".into())
    }
}

impl<T, E: Display> Attempt for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

impl Attempt for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "it was false".into())
    }
}

/// Tries until there is a value; panics with the last reason where there is none within `limit`.
#[track_caller]
pub fn eventually<F, A>(limit: Duration, mut attempt: F) -> impl Future<Output = <A::Output as Attempt>::Value>
where
    F: FnMut() -> A,
    A: Future<Output: Attempt>,
{
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + limit;
        loop {
            match attempt().await.outcome() {
                Ok(value) => return value,
                Err(reason) => give_up_after(deadline, limit, &reason, caller),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// [`eventually`] for tests without an event loop.
#[track_caller]
pub fn eventually_blocking<A: Attempt>(limit: Duration, mut attempt: impl FnMut() -> A) -> A::Value {
    let caller = Location::caller();
    let deadline = Instant::now() + limit;
    loop {
        match attempt().outcome() {
            Ok(value) => return value,
            Err(reason) => give_up_after(deadline, limit, &reason, caller),
        }
        std::thread::sleep(INTERVAL);
    }
}

fn give_up_after(deadline: Instant, limit: Duration, reason: &str, caller: &Location<'_>) {
    assert!(Instant::now() < deadline, "{caller}: not within {limit:?}: {reason}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_ends_the_wait() {
        let mut left = 3;
        let attempt = || {
            left -= 1;
            let left = left;
            async move { if left == 0 { Ok("here") } else { Err(format!("{left} to go")) } }
        };
        assert_eq!(eventually(Duration::from_secs(10), attempt).await, "here");
    }

    #[test]
    #[should_panic(expected = "not within 50ms: still nothing")]
    fn the_last_reason_is_told() {
        eventually_blocking(Duration::from_millis(50), || Err::<(), _>("still nothing"));
    }
}
