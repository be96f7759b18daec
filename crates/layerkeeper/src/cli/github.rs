//! Leaves a job's report where a step of GitHub Actions leaves such things. Elsewhere the two variables are not set, and
//! nothing is written.

use std::fs::OpenOptions;
use std::io::Write as _;

use layerkeeper_http::wire::PublicJob;

use super::trouble::Trouble;
use crate::render::markdown;
use crate::render::servers::{self, ServerTold};

/// Appends the table to the file `$GITHUB_STEP_SUMMARY`, and the outputs to `$GITHUB_OUTPUT`.
///
/// # Errors
/// A file that is named and cannot be written.
pub fn leave(job: &PublicJob) -> Result<(), Trouble> {
    append("GITHUB_STEP_SUMMARY", &markdown::summary(job))?;
    append("GITHUB_OUTPUT", &markdown::outputs(job))
}

/// The same for a deploy to many servers.
///
/// # Errors
/// As above.
pub fn leave_all(image: &str, servers: &[ServerTold]) -> Result<(), Trouble> {
    append("GITHUB_STEP_SUMMARY", &servers::summary(image, servers))?;
    append("GITHUB_OUTPUT", &servers::outputs(servers))
}

fn append(variable: &str, text: &str) -> Result<(), Trouble> {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else { return Ok(()) };
    let written =
        OpenOptions::new().create(true).append(true).open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|cause| Trouble::Failed(format!("${variable} ({}) cannot be written: {cause}", path.display())))
}
