//! The keeper on the fake engine and a registry in memory: fast, and with faults that real parts do not have on demand.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod budget;
mod corridor;
mod deeds;
mod deploy;
mod estimate;
mod expect;
mod ground;
mod heal;
mod journal;
mod keep;
mod limit;
mod metrics;
mod naming;
mod prune;
mod quarter;
mod room;
mod schedule;
#[path = "../shared/settings.rs"]
mod settings;
mod study;
mod watch;
