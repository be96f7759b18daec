//! Sets up everything that the tests need, and runs all of them.

use anyhow::Result;

use crate::command::{cargo, run as run_command};
use crate::setup;

/// Runs the workspace's tests, or those that a filter names.
pub fn run(filter: &[&str]) -> Result<()> {
    setup::ensure(setup::ALL)?;
    // the binary that the end-to-end tests start
    run_command(&mut cargo(&["build", "--quiet", "--package", "layerkeeper", "--bin", "layerkeeper"]))?;
    let mut args = vec!["test", "--workspace", "--no-fail-fast"];
    if !filter.is_empty() {
        args.push("--");
        args.extend(filter);
    }
    run_command(&mut cargo(&args))
}
