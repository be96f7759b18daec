//! `cargo deny check bans licenses sources`. Advisories need a network and are a step for maintainers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run, top};

/// Installs cargo-deny below the checkout's cache where it is missing, and runs it.
pub fn check() -> Result<()> {
    let tools = top().join(".cache/tools");
    let program = tools.join("bin/cargo-deny");
    if !program.exists() {
        println!("installing cargo-deny (once)");
        let root = tools.to_string_lossy().into_owned();
        // unoptimised: it takes a third of the time to build, and no time that matters to run
        run(&mut cargo(&[
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "--no-default-features",
            "--root",
            &root,
            "cargo-deny",
        ]))?;
    }
    deny(&program)
}

fn deny(program: &PathBuf) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["--log-level", "error", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    run(command.current_dir(top()))
}
