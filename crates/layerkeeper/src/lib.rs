//! The binary's parts, as a library so that `cargo xtask docs` can write the reference pages.

pub mod cli;
pub mod config;
pub mod doctor;
pub mod logging;
pub mod notify_systemd;
pub mod render;
pub mod run;

pub use cli::reference::cli_reference;
pub use config::reference::configuration_reference;
