//! The binary's parts, as a library so that `cargo xtask docs` can write the reference pages.

pub mod config;
pub mod render;
