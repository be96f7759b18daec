//! `layerkeeper doctor`

use super::exit::Exit;
use super::output::Output;
use super::remote::Control;
use super::trouble::Trouble;
use super::{Cli, DoctorArgs};
use crate::config::{Config, Environment};
use crate::doctor::{self, Root};
use crate::render;

/// Looks at everything and tells it. Needs no daemon, and changes nothing.
pub async fn doctor(cli: &Cli, args: &DoctorArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let environment = Environment::of_process();
    let config = Config::read(&cli.config, &environment)?;
    let control = Control::of(cli)?;
    let seen = doctor::look(&config, &environment, &control.0, &Root::new(&args.root)).await;
    let diagnosis = doctor::judge(&seen.map_err(|error| Trouble::Failed(format!("{error:#}")))?);
    output.facts(&diagnosis, render::doctor::doctor)?;
    Ok(if diagnosis.is_good() { Exit::Done } else { Exit::Failed })
}
