//! What the end-to-end tests share.

pub mod chain;
pub mod clock;
pub mod daemon;
pub mod each;
pub mod fleet;
pub mod host;
pub mod report;
