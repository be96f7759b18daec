//! Tells the service manager how the daemon is (`sd_notify(3)`). Without a service manager nothing is told, and nothing
//! fails: a daemon that runs well must not stop because nobody listens.

use std::time::Duration;

use sd_notify::NotifyState;

/// READY=1: store and listeners are up.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// RELOADING=1 with the time, as `Type=notify-reload` wants it; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        // newer managers would end us for a RELOADING=1 without its time
        Err(error) => {
            tracing::warn!(error = %error, "the monotonic clock could not be read; the reload is not announced")
        }
    }
}

/// STOPPING=1: no new job is taken. EXTEND_TIMEOUT_USEC=…: a stop that waits for a running pull may take so long,
/// whatever the unit's TimeoutStopSec says.
pub fn stopping(status: &str, at_most: Duration) {
    // the library's own variant holds 71 minutes at most
    let extend = format!("EXTEND_TIMEOUT_USEC={}", u64::try_from(at_most.as_micros()).unwrap_or(u64::MAX));
    tell(&[NotifyState::Stopping, NotifyState::Custom(&extend), NotifyState::Status(status)]);
}

/// WATCHDOG=1: the worker is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "the service manager could not be told");
    }
}
