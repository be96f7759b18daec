//! Programs from crates.io that some commands need, below the checkout's cache.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cargo, run, top};

/// The program, installed first where it is missing.
pub fn ensure(name: &str, options: &[&str]) -> Result<PathBuf> {
    let tools = top().join(".cache/tools");
    let program = tools.join("bin").join(name);
    if !program.exists() {
        println!("installing {name} (once)");
        let root = tools.to_string_lossy().into_owned();
        // unoptimised: it takes a third of the time to build, and no time that matters to run
        let mut install = cargo(&["install", "--quiet", "--locked", "--debug", "--root", &root]);
        run(install.args(options).arg(name))?;
    }
    Ok(program)
}
