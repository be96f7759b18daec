//! One budget of retries per registry: while a registry is in trouble, its jobs wait together and do not ask on their own.
//!
//! After a failure that may pass, nobody asks that registry again before its pause is over: what it asked us to wait, else
//! anywhere between 0 and 2 s, 4 s, 8 s … a minute, by the failures in a row. Who asks meanwhile gets the same failure
//! again, at once; only who was given its answer to one question still asks the next, for the manifest behind it. Any answer
//! ends the pause, be it that there is no such tag, but for one to a question that was asked before the pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use layerkeeper_core::{Bytes, Platform, Reference, Selector, Timestamp};
use layerkeeper_engine::Login;
use layerkeeper_registry::{Error, Fetched, Resolved};

use crate::clock::Clock;
use crate::registry::Registry;

/// The longest pause that we set ourselves.
const MOST: Duration = Duration::from_secs(60);

/// The longest pause at all: no `Retry-After` counts for more.
const LONGEST: Duration = Duration::from_secs(900);

/// A registry's trouble.
#[derive(Debug, Clone)]
struct Pause {
    failures: u32,
    since: Timestamp,
    until: Timestamp,
    error: Error,
}

impl Pause {
    /// One that is further ahead than any can be was set before the clock was set back.
    fn lasts(&self, now: Timestamp) -> bool {
        self.until > now && self.until - now <= LONGEST
    }
}

/// Registries, each asked within its budget.
pub(crate) struct Budgeted {
    registries: Arc<dyn Registry>,
    clock: Arc<dyn Clock>,
    pauses: Mutex<HashMap<String, Pause>>,
}

impl Budgeted {
    /// Before these.
    pub fn new(registries: Arc<dyn Registry>, clock: Arc<dyn Clock>) -> Self {
        Self { registries, clock, pauses: Mutex::default() }
    }

    fn pauses(&self) -> MutexGuard<'_, HashMap<String, Pause>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registry's last failure, while its pause lasts.
    fn in_pause(&self, registry: &str) -> Result<(), Error> {
        let now = self.clock.now();
        let pause = self.pauses().get(registry).filter(|pause| pause.lasts(now)).cloned();
        pause.map_or(Ok(()), |pause| Err(pause.error.asked_to_wait(pause.until - now)))
    }

    /// Asks, and learns from the answer.
    async fn ask<T>(&self, registry: &str, question: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let asked = self.clock.now();
        let result = question.await;
        self.learn(registry, asked, result)
    }

    /// Of questions that were under way beside each other a failure counts once, and no success takes its pause away.
    fn learn<T>(&self, registry: &str, asked: Timestamp, result: Result<T, Error>) -> Result<T, Error> {
        let mut pauses = self.pauses();
        let known = pauses.get(registry);
        let is_news = known.is_none_or(|pause| pause.since <= asked || !pause.lasts(self.clock.now()));
        match &result {
            // the registry was not even asked
            Err(Error::Credentials { .. }) => {}
            Err(error) if error.is_transient() => {
                let failures = known.map_or(1, |pause| pause.failures.saturating_add(u32::from(is_news)));
                let wait = error.retry_after().unwrap_or_else(|| full_jitter(failures));
                let since = self.clock.now();
                let until = since.plus(wait);
                if known.is_some_and(|pause| !is_news && pause.until >= until) {
                    // nor does it take from the pause what was asked for meanwhile
                    return result;
                }
                tracing::debug!(registry, failures, wait_ms = wait.as_millis() as u64, %error, "asks this registry nothing for a while");
                let pause = Pause { failures, since, until, error: error.clone() };
                pauses.insert(registry.to_owned(), pause);
            }
            _ if is_news => drop(pauses.remove(registry)),
            _ => {}
        }
        result
    }
}

#[async_trait]
impl Registry for Budgeted {
    async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let registry = reference.repository.registry();
        self.in_pause(registry)?;
        self.ask(registry, self.registries.resolve(reference)).await
    }

    async fn resolve_by_get(&self, reference: &Reference) -> Result<Resolved, Error> {
        let registry = reference.repository.registry();
        self.in_pause(registry)?;
        self.ask(registry, self.registries.resolve_by_get(reference)).await
    }

    async fn image(&self, reference: &Reference, platform: &Platform) -> Result<Fetched, Error> {
        // follows a `resolve`, or goes beside one that is asked first
        let asked = self.clock.now();
        match self.registries.image(reference, platform).await {
            // from memory: nobody was asked, but for what a tag shows
            Ok(fetched) if fetched.moved == Bytes::ZERO && matches!(reference.selector, Selector::Digest(_)) => {
                Ok(fetched)
            }
            result => self.learn(reference.repository.registry(), asked, result),
        }
    }

    async fn login(&self, registry: &str) -> Result<Option<Login>, Error> {
        self.registries.login(registry).await
    }
}

fn full_jitter(failures: u32) -> Duration {
    let most = Duration::from_secs(1 << failures.min(10)).min(MOST);
    let mut random = [0u8; 2];
    let share =
        if getrandom::fill(&mut random).is_ok() { f64::from(u16::from_le_bytes(random)) / 65536.0 } else { 0.5 };
    most.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use layerkeeper_core::Digest;
    use tokio::time::sleep;

    use super::*;
    use crate::clock::SystemClock;

    /// Answers a tag late, and refuses a manifest soon.
    #[derive(Default)]
    struct Halting {
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Registry for Halting {
        async fn resolve(&self, _: &Reference) -> Result<Resolved, Error> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(60)).await;
            Ok(Resolved { digest: Digest::of(b"x"), media_type: String::new(), size: None, moved: Bytes::ZERO })
        }

        async fn image(&self, _: &Reference, _: &Platform) -> Result<Fetched, Error> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(20)).await;
            let retry_after = Some(Duration::from_secs(600));
            Err(Error::TooManyRequests { registry: "ghcr.io".to_owned(), retry_after, detail: Default::default() })
        }

        async fn login(&self, _: &str) -> Result<Option<Login>, Error> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn of_questions_beside_each_other_one_failure_counts_once_and_no_success_ends_its_pause() {
        let halting = Arc::new(Halting::default());
        let budgeted = Budgeted::new(halting.clone(), Arc::new(SystemClock));
        let reference: Reference = "ghcr.io/acme/app:1".parse().unwrap();
        let platform = Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None };
        let image = || budgeted.image(&reference, &platform);
        let begun = SystemClock.now();
        let (shown, one, other) = tokio::join!(budgeted.resolve(&reference), image(), image());
        assert!(shown.is_ok() && one.is_err() && other.is_err());
        assert_eq!(budgeted.pauses()["ghcr.io"].failures, 1);
        assert!(matches!(budgeted.resolve(&reference).await, Err(Error::TooManyRequests { .. })));
        // one that was asked beside them, and that fails of less, leaves what they were told
        let gone = Error::Unreachable { registry: "ghcr.io".to_owned(), cause: "timed out".to_owned() };
        assert!(budgeted.learn::<()>("ghcr.io", begun, Err(gone)).is_err());
        assert!(matches!(budgeted.resolve(&reference).await, Err(Error::TooManyRequests { .. })));
        assert_eq!(halting.asked.load(Ordering::SeqCst), 3, "nobody asks in the pause");
    }
}
