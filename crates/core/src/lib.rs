//! The nouns of layerkeeper and its planner.
//!
//! Everything here is pure: no I/O, no clock, no async and no serialisation. What the world looks like comes in as an
//! [`Inventory`], what the operator wants as a [`Policy`], what the registry holds as a [`ImageManifest`]; what comes out is
//! a [`plan`] whose every item carries a printable reason, or a [`reuse`] report. The same input gives the same output,
//! byte for byte.

pub mod bytes;
pub mod digest;
pub mod instruction;
pub mod inventory;
pub mod job;
pub mod layers;
pub mod manifest;
pub mod pattern;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod reference;
pub mod reuse;
#[cfg(test)]
mod testing;
pub mod time;

pub use bytes::Bytes;
pub use digest::{ChainId, DiffId, Digest, DigestError, ImageId};
pub use inventory::{Container, ContainerState, EngineInfo, Image, Inventory, StoreKind};
pub use job::{Intent, Job, JobId, JobState, Trigger};
pub use manifest::{Compression, Descriptor, ImageManifest, Platform};
pub use pattern::TagPattern;
pub use policy::{Keep, Policy, Runtime};
pub use reference::{ImageName, Reference, ReferenceError, Repository, Selector, Tag};
pub use time::Timestamp;
