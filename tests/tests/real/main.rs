//! The keeper on the three real engines and a real registry.

mod auth;
mod keep;
mod prune;
mod queue;
mod refused;
mod reuse;
mod unreachable;
