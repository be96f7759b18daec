//! From the arguments to a command, and from its end to the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::exit::Exit;
use super::output::{Output, is_closed};
use super::remote::Control;
use super::trouble::Trouble;
use super::{Cli, Command};
use super::{check_config, check_state, deploy, doctor, forget, history, notify, pin, plan, prewarm, prune, status};
use crate::run;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Run) {
        return run::run(&cli.config).into();
    }
    let mut output = Output::standard(cli.json);
    let exit = dispatch(&cli, &mut output).unwrap_or_else(|trouble| complain(&trouble));
    exit.into()
}

fn dispatch(cli: &Cli, output: &mut Output) -> Result<Exit, Trouble> {
    match &cli.command {
        Command::Run => Ok(run::run(&cli.config)),
        Command::CheckConfig => check_config::check_config(&cli.config, output),
        Command::CheckState(args) => check_state::check_state(cli, args, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "layerkeeper", &mut script);
            output.raw(&script)?;
            Ok(Exit::Done)
        }
        remote => {
            // one thread is enough to wait for one answer after the other
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(cli, remote, output))
        }
    }
}

async fn ask(cli: &Cli, command: &Command, output: &mut Output) -> Result<Exit, Trouble> {
    match command {
        Command::Status(args) => status::status(&Control::of(cli)?, args, output).await,
        Command::Deploy(args) => deploy::deploy(&Control::of(cli)?, args, output).await,
        Command::Prewarm(args) => prewarm::prewarm(&Control::of(cli)?, args, output).await,
        Command::Forget(args) => forget::forget(&Control::of(cli)?, args, output).await,
        Command::Pin(args) => pin::pin(cli, args, output).await,
        Command::Prune(args) => prune::prune(&Control::of(cli)?, args, output).await,
        Command::Plan(args) => plan::plan(cli, args, output).await,
        Command::History(args) => history::history(&Control::of(cli)?, args, output).await,
        Command::Doctor(args) => doctor::doctor(cli, args, output).await,
        Command::Notify(args) => notify::notify(args, output).await,
        Command::Run | Command::CheckConfig | Command::CheckState(_) | Command::Completions { .. } => Ok(Exit::Usage),
    }
}

/// Says what went wrong, a line per thing.
fn complain(trouble: &Trouble) -> Exit {
    if let Trouble::Output(error) = trouble
        && is_closed(error)
    {
        // the reader has seen enough
        return Exit::Done;
    }
    // where standard error is closed too, the exit code has to do
    let _ = writeln!(std::io::stderr(), "{}", lines(trouble));
    trouble.exit()
}

fn lines(trouble: &Trouble) -> String {
    match trouble {
        // these begin with the file's name, as compilers write it
        Trouble::Config(error) => error.to_string(),
        other => format!("layerkeeper: {other}"),
    }
}
