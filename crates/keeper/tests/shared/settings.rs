//! What a keeper in a test is told; the listeners' tests take it from here, too.

use std::time::Duration;

use layerkeeper_core::Policy;
use layerkeeper_keeper::Settings;

/// This policy, nothing on a schedule, and a stop that waits for no pull.
pub fn settings(policy: Policy) -> Settings {
    Settings {
        policy,
        schedules: Vec::new(),
        series: Vec::new(),
        jitter: Duration::ZERO,
        disk_paths: Vec::new(),
        stop_timeout: Duration::from_millis(100),
        not_yet_timeout: Duration::from_secs(120),
        stall_timeout: Duration::from_secs(300),
        look_every: Duration::from_secs(60),
        max_attempts: 3,
        data_root: None,
        transfer: layerkeeper_keeper::TransferSettings::default(),
    }
}
