//! `cargo xtask`: the commands of this project.
#![allow(clippy::print_stdout, reason = "these commands talk to whoever runs them")]

mod bench;
mod check;
mod command;
mod demo;
mod docs;
mod fuzz;
mod server;
mod setup;
mod soak;
mod test;
mod tool;
mod usage;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--once]   set up private parts and show the main job end to end; leaves the page up until Ctrl-C
  test [FILTER]   install what the tests need, and run them all
  check           house checks: rustfmt, clippy, rustdoc, cargo-deny, dependencies, sizes, generated documents
  docs [--check]  write the generated reference pages, or say which are stale
  fuzz [TARGET] [--seconds N] [--keep]
                  fuzz what reads what strangers send, each target for a minute; --keep takes what was found over
                  into fuzz/corpus
  bench [NAME…] [--write] [--all-engines | --engines BC] [--rounds N] [--now] [--quick] [--targets]
        [--links TEXT] [--relay]
                  measure, side by side with the alternatives, when the machine is at rest (--now: at once);
                  NAME is deploy, webhook, idle, plan, estimate or contents, or transfer, which takes hours and is
                  measured only where it is named (--quick: a few minutes, small images, for a look;
                  --targets: half an hour, only what the targets are of; with fewer than 5 rounds a quarter of an
                  hour, and not what takes longest;
                  --links: only links whose name has this in it, such as ms;
                  --relay: always through the relay);
                  --write puts the tables into docs/performance.md
  soak [--hours N] [--engine A|B|C] [--seed N]
                  an hour (or N, such as 0.5) of a server's life on a slow link: a deploy a minute, and something goes
                  wrong twice a minute; prints jobs, failures by cause, memory and open files over time
  setup           only install what tests and demo need
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["demo"] => demo::run(false),
        ["demo", "--once"] => demo::run(true),
        ["test", rest @ ..] => test::run(rest),
        ["check"] => check::run(),
        ["docs"] => docs::write(),
        ["docs", "--check"] => docs::check(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["soak", rest @ ..] => soak::run(rest),
        ["setup"] => setup::ensure(setup::ALL),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
