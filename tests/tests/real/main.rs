//! The keeper on the three real engines and a real registry.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod auth;
mod away;
mod cache;
mod expect;
mod explain;
mod keep;
mod phases;
mod prune;
mod quarter;
mod questions;
mod queue;
mod refused;
mod relay;
mod relay_cut;
mod relay_disk;
mod relay_kills;
mod relay_rate;
mod relay_told;
mod reuse;
mod stalled;
mod state;
mod unreachable;
