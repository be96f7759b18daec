//! Tells the service manager how the daemon is (`sd_notify(3)`). Without a service manager nothing is told, and nothing
//! fails: a daemon that runs well must not stop because nobody listens.

use std::time::Duration;

use sd_notify::NotifyState;

/// READY=1: store and listeners are up.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// STATUS=…: one line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
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

/// STOPPING=1: no new job is taken.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// EXTEND_TIMEOUT_USEC=…: a stop that waits for a running pull needs this much longer from now on.
pub fn extend_timeout(by: Duration) {
    tell(&[NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))]);
}

/// WATCHDOG=1: the worker is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is due: half of WatchdogSec; none where nobody watches this process.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "the service manager could not be told");
    }
}
