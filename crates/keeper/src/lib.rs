//! The keeper: everything that happens between "somebody wants an image" and "it is here, and this is what it cost".
//!
//! Webhook, schedule, engine events and the operator only put jobs into the queue. One worker takes them one at
//! a time, observes, asks the pure planner, and executes what it says. [`Keeper`] is the handle that the listeners hold.

mod budget;
pub mod clock;
mod context;
pub mod disk;
mod drift;
pub mod follow;
pub mod handle;
mod heal;
mod job_error;
mod kept;
pub mod metrics;
pub mod registry;
pub mod schedule;
pub mod settings;
pub mod status;
mod tell;
mod unlisted;
mod watch;
mod went;
mod worker;

pub use clock::{Clock, SystemClock};
pub use context::{Parts, StartError};
pub use disk::{Disks, FileSystem, SystemDisks};
pub use follow::{Follow, LayerLine, Phase, Progress};
pub use handle::{DeployAnswer, DeployRequest, Estimated, Keeper, Refusal};
pub use registry::Registry;
pub use settings::{Endpoint, KeepSchedule, KeepSeries, Mirror, Settings, TransferSettings};
pub use status::Status;
pub use went::Changed;
pub use worker::{AWAY_POINTS, POINTS, RELAY_POINTS};
