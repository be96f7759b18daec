//! Everything durable, in one SQLite file: the queue and its history, what was seen on the engine, what was decided.
//!
//! One thread writes and commits whatever waits together (`thread.rs`), another reads. The store has no clock: each call
//! that needs the time is told. What the tables hold is in `schema.sql`.

mod changes;
mod clock;
mod column;
mod deploys;
mod engine;
mod error;
mod events;
mod heals;
pub mod inspect;
mod jobs;
mod kept;
mod layers;
mod links;
mod lock;
mod manifests;
mod names;
mod provenance;
mod quarters;
pub mod record;
mod repeats;
mod retention;
mod schema;
mod sightings;
mod store;
#[cfg(test)]
mod testing;
mod thread;
mod tombstones;
mod work;

pub use changes::{Change, ChangeFilter, ChangeRow, LastHeld, Standing};
pub use clock::ClockRecord;
pub use deploys::{DeployRow, Deployed};
pub use engine::{EngineSeen, PruneGate};
pub use error::StoreError;
pub use events::{Event, EventFilter, EventRow};
pub use heals::{Heal, Restorable};
pub use inspect::{StateSummary, Verdict, inspect};
pub use jobs::{
    Accepted, Enqueued, JobFilter, JobRow, NewJob, Taken, WEBHOOK_TOLERANCE, WebhookAccepted, WebhookIdRecord,
};
pub use kept::{Checked, KeptState};
pub use layerkeeper_core::plan::NameHistory;
pub use names::{Made, MadeFor, Superseded};
pub use provenance::Provenance;
pub use record::Outcome;
pub use repeats::Repeated;
pub use retention::{Retention, Swept};
pub use schema::{APPLICATION_ID, VERSION};
pub use sightings::Sighting;
pub use store::{FILE, Options, Store};
pub use tombstones::Tombstone;
