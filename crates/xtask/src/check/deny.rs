//! `cargo deny check bans licenses sources`. Advisories need a network and are a step for maintainers.

use std::process::Command;

use anyhow::Result;

use crate::command::{run, top};
use crate::tool;

/// Installs cargo-deny where it is missing, and runs it.
pub fn check() -> Result<()> {
    let mut command = Command::new(tool::ensure("cargo-deny", &["--no-default-features"])?);
    command.args(["--log-level", "error", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    run(command.current_dir(top()))
}
