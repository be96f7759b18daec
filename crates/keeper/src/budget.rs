//! One budget of retries per registry: while a registry is in trouble, its jobs wait together and do not ask on their own.
//!
//! After a failure that may pass, nobody asks that registry again before its pause is over: what it asked us to wait, else
//! anywhere between 0 and 2 s, 4 s, 8 s … a minute, by the failures in a row. Who asks meanwhile gets the same failure
//! again, at once. Any answer ends the pause, be it that there is no such tag.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use layerkeeper_core::{Platform, Reference, Timestamp};
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

    fn learn<T>(&self, registry: &str, result: Result<T, Error>) -> Result<T, Error> {
        match &result {
            // the registry was not even asked
            Err(Error::Credentials { .. }) => {}
            Err(error) if error.is_transient() => {
                let mut pauses = self.pauses();
                let failures = pauses.get(registry).map_or(1, |pause| pause.failures.saturating_add(1));
                let wait = error.retry_after().unwrap_or_else(|| full_jitter(failures));
                let until = self.clock.now().plus(wait);
                tracing::debug!(registry, failures, wait_ms = wait.as_millis() as u64, %error, "asks this registry nothing for a while");
                pauses.insert(registry.to_owned(), Pause { failures, until, error: error.clone() });
            }
            _ => drop(self.pauses().remove(registry)),
        }
        result
    }
}

#[async_trait]
impl Registry for Budgeted {
    async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let registry = reference.repository.registry();
        self.in_pause(registry)?;
        self.learn(registry, self.registries.resolve(reference).await)
    }

    async fn resolve_by_get(&self, reference: &Reference) -> Result<Resolved, Error> {
        let registry = reference.repository.registry();
        self.in_pause(registry)?;
        self.learn(registry, self.registries.resolve_by_get(reference).await)
    }

    async fn image(&self, reference: &Reference, platform: &Platform) -> Result<Fetched, Error> {
        // follows a `resolve`, and what was read before needs no registry
        let registry = reference.repository.registry();
        self.learn(registry, self.registries.image(reference, platform).await)
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
