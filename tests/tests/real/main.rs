//! The keeper on the three real engines and a real registry.

mod prune;
mod refused;
mod reuse;
