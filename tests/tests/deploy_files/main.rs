//! The files in `deploy/` and `systemd/`: each is run, or judged by the program that reads it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod deploy_script;
mod grafana;
mod install;
mod lan_cache;
mod migration;
mod nginx;
mod notify;
mod prometheus;
mod shell;
mod stub;
mod unit;

use std::path::PathBuf;
use std::process::{Command, Output};

/// A path in this repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").join(path)
}

/// A file of this repository.
fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a program did, in words.
fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Runs a program that must succeed; what it printed, both streams.
fn run(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().unwrap_or_else(|error| panic!("{program} (`cargo xtask setup` installs it): {error}"));
    assert!(output.status.success(), "{command:?}: {}", told(&output));
    told(&output)
}
