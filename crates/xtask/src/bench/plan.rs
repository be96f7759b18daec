//! How long a plan takes as the host grows: the core's own example, in this report.

use anyhow::{Context, Result};

use super::machine::Patience;
use super::report::Section;
use crate::command::{cargo, run as run_command};

const EXAMPLE: [&str; 5] = ["--release", "--package", "layerkeeper-core", "--example", "plan_bench"];

/// Runs it.
pub fn measure(patience: Patience) -> Result<Section> {
    run_command(cargo(&["build"]).args(EXAMPLE))?;
    patience.wait()?;
    let output = cargo(&["run", "--quiet"]).args(EXAMPLE).output().context("cannot run plan_bench")?;
    let text = String::from_utf8(output.stdout)?;
    let mut section = Section::new("Plan");
    let of_5000 =
        text.lines().find_map(|line| line.trim().strip_prefix("5000 ")?.split_whitespace().next()?.parse().ok());
    let of_5000 = of_5000.with_context(|| format!("plan_bench says nothing of 5000 images: {text}"))?;
    section.target("a plan over 5,000 images and 200 containers", of_5000, 50.0, " ms", 2);
    section.text(format!("```\n{}\n```", text.trim_end()));
    Ok(section)
}
