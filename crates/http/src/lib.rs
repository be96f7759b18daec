//! Everything that speaks HTTP.

pub mod client;
pub mod control;
pub mod error;
pub mod events;
pub mod local;
pub mod page;
pub mod problem;
pub mod rate;
pub mod request;
pub mod secret;
pub mod serve;
pub mod signature;
pub mod tell;
#[cfg(test)]
mod testing;
pub mod webhook;
pub mod wire;
