//! `layerkeeper doctor`

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::exit::Exit;
use super::output::Output;
use super::remote::Control;
use super::trouble::Trouble;
use super::{Cli, DoctorArgs};
use crate::config::{Config, Environment};
use crate::doctor::{self, Root};
use crate::render;

/// Looks at everything and tells it. Needs no daemon, and changes nothing; a container by which an image with `expect` is read
/// is made, never started and removed.
pub async fn doctor(cli: &Cli, args: &DoctorArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let root = Root::new(&args.root);
    let missing = doctor::missing(&root, |name| std::env::var_os(name).is_some());
    if !missing.is_empty() {
        return Err(again(missing));
    }
    let environment = Environment::of_process();
    let config = Config::read(&cli.config, &environment)?;
    let control = Control::of(cli)?;
    let seen = doctor::look(&config, &environment, &control.0, &root).await;
    let diagnosis = doctor::judge(&seen.map_err(|error| Trouble::Failed(format!("{error:#}")))?);
    output.facts(&diagnosis, render::doctor::doctor)?;
    Ok(if diagnosis.is_good() { Exit::Done } else { Exit::Failed })
}

/// The same once more, with the daemon's environment, in place of this process. Returns only where that fails.
fn again(environment: Vec<(&str, String)>) -> Trouble {
    let error = match std::env::current_exe() {
        Ok(program) => Command::new(program).args(std::env::args_os().skip(1)).envs(environment).exec(),
        Err(error) => error,
    };
    Trouble::Failed(format!("the daemon's environment cannot be taken on: {error}"))
}
