//! The one place where time is read.

use std::time::Duration;

use layerkeeper_core::Timestamp;

/// A source of wall clock and boot time.
pub trait Clock: Send + Sync + 'static {
    /// Wall clock, UTC. May jump.
    fn now(&self) -> Timestamp;

    /// Time since boot, suspended time included (`CLOCK_BOOTTIME`). Never jumps.
    fn boot(&self) -> Duration;

    /// Another one after every boot.
    fn boot_id(&self) -> String;
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(chrono::Utc::now().timestamp_millis())
    }

    fn boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn boot_id(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }
}
