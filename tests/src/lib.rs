//! What the end-to-end tests share.

pub mod chain;
pub mod host;
