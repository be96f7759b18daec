//! `layerkeeper check-state`

use std::path::{Path, PathBuf};

use layerkeeper_store::inspect;

use super::exit::Exit;
use super::output::Output;
use super::remote::configuration;
use super::trouble::Trouble;
use super::{CheckStateArgs, Cli, history};
use crate::{config, render};

/// Tells what is in the state, whole or not. Needs no daemon, and changes nothing under one that runs.
pub fn check_state(cli: &Cli, args: &CheckStateArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let dir = match &args.state {
        Some(dir) => dir.clone(),
        None => dir_of(&cli.config)?,
    };
    let summary = inspect(&dir);
    output.facts(&summary, |summary, width| render::state::state(summary, history::now(), width))?;
    Ok(if summary.is_good() { Exit::Done } else { Exit::Failed })
}

fn dir_of(file: &Path) -> Result<PathBuf, Trouble> {
    Ok(config::state_dir(&configuration(file)?))
}
