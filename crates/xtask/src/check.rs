//! The house checks. All of them run, and all failures are told.

mod corridor;
mod deny;
mod dependencies;
mod guards;
mod links;
mod size;

use anyhow::{Result, bail};

use crate::command::{cargo, run as run_command};
use crate::docs;

type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 10] = [
    ("rustfmt", rustfmt),
    ("clippy", clippy),
    ("rustdoc", rustdoc),
    ("cargo-deny", deny::check),
    ("dependencies", dependencies::check),
    ("corridor", corridor::check),
    ("sizes", size::check),
    ("documents", docs::check),
    ("links", links::check),
    ("guards", guards::check),
];

/// Runs every check.
pub fn run() -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        println!("== {name}");
        if let Err(error) = check() {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
    println!("all {} checks passed", CHECKS.len());
    Ok(())
}

fn rustfmt() -> Result<()> {
    run_command(&mut cargo(&["fmt", "--all", "--check"]))?;
    // a workspace of its own
    run_command(&mut cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn clippy() -> Result<()> {
    run_command(&mut cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

fn rustdoc() -> Result<()> {
    run_command(cargo(&["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"))
}
