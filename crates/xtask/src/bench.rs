//! Measurements, side by side with the alternatives.

use anyhow::{Result, bail};

/// Runs them.
pub fn run(_args: &[&str]) -> Result<()> {
    bail!("no benchmark is here yet")
}
