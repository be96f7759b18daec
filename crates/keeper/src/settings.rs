//! What the configuration tells the keeper besides the policy.

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use croner::Cron;
use layerkeeper_core::{ImageName, Policy};

/// When a kept image is refreshed.
#[derive(Debug, Clone)]
pub struct KeepSchedule {
    /// Which.
    pub image: ImageName,
    /// Six fields, seconds first.
    pub cron: Cron,
    /// As written, for people.
    pub text: String,
    /// The zone in which the fields are read.
    pub timezone: Tz,
}

/// Everything the keeper needs to know. Replaced as a whole on reload.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is kept, deployed and pruned.
    pub policy: Policy,
    /// One per kept image, in the order of the file.
    pub schedules: Vec<KeepSchedule>,
    /// A scheduled run starts up to this much later, by a delay of its own per host and tick.
    pub jitter: Duration,
    /// Further file systems to watch besides the engine's data root.
    pub disk_paths: Vec<PathBuf>,
    /// How long a stop waits for a running pull.
    pub stop_timeout: Duration,
    /// How long a tag that is not there yet is waited for after a deploy webhook.
    pub not_yet_timeout: Duration,
    /// How long a pull may neither download nor extract anything before it is cancelled and tried again.
    pub stall_timeout: Duration,
    /// How often the engine is looked at when it tells nothing.
    pub look_every: Duration,
    /// How often a job is tried before it fails for a cause that may pass.
    pub max_attempts: u32,
    /// The engine's data root as this process sees it, where it differs from what the engine says.
    pub data_root: Option<PathBuf>,
}
