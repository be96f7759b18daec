//! Fuzzes what reads what strangers send, every target for a minute, on stable Rust: how often it ran, and how far it
//! got. What a target promises is in `fuzz/checks/`; `cargo test` replays seeds and corpora without any of this.

mod output;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{built, run as run_command, top};
use crate::{setup, tool};
use output::Told;

/// What is wanted.
struct Options {
    seconds: u32,
    keep: bool,
    target: Option<String>,
}

/// How far a target got, in edges of its code.
struct Reached {
    target: String,
    executions: u64,
    seeds: u64,
    corpus: u64,
    end: u64,
}

/// Runs one target or all of them.
///
/// # Errors
/// An input that breaks a promise, or a target that got no further than its seeds.
pub fn run(args: &[&str]) -> Result<()> {
    let options = read(args)?;
    let targets = targets()?;
    let wanted: Vec<&String> =
        targets.iter().filter(|name| options.target.as_ref().is_none_or(|t| t == *name)).collect();
    ensure!(!wanted.is_empty(), "no such target; there are {}", targets.join(", "));
    if !has_cpp() {
        // libfuzzer-sys builds libFuzzer
        setup::ensure(&[setup::Part::Cpp])?;
    }
    let cargo_fuzz = tool::ensure("cargo-fuzz", &[])?;
    let fuzzer = Fuzzer { cargo_fuzz, built: built().join("fuzz") };
    fuzzer.build()?;
    let (mut reached, mut failed) = (Vec::new(), Vec::new());
    for target in wanted {
        println!("== {target}, {} s", options.seconds);
        match fuzzer.one(target, &options) {
            Ok(one) => reached.push(one),
            Err(error) => {
                eprintln!("{error:#}");
                failed.push(target.as_str());
            }
        }
    }
    print!("{}", table(&reached));
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// cargo-fuzz and what it built.
struct Fuzzer {
    cargo_fuzz: PathBuf,
    built: PathBuf,
}

impl Fuzzer {
    /// The sanitizers are flags of a nightly compiler, which RUSTC_BOOTSTRAP lets a stable one take.
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.cargo_fuzz);
        command.args(["fuzz", verb, "--target-dir"]).arg(&self.built).env("RUSTC_BOOTSTRAP", "1").current_dir(top());
        command
    }

    fn build(&self) -> Result<()> {
        println!("building the targets");
        run_command(&mut self.command("build"))
    }

    fn one(&self, target: &str, options: &Options) -> Result<Reached> {
        let fuzz = top().join("fuzz");
        let (seeds, corpus) = (fuzz.join("seeds").join(target), fuzz.join("corpus").join(target));
        // new inputs go here, so that a run leaves the checkout as it was
        let found = self.built.join("found").join(target);
        let artifacts = fuzz.join("artifacts").join(target);
        for folder in [&seeds, &corpus, &found, &artifacts] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let only_seeds = self.run(target, &[&seeds], &["-runs=0".to_owned()])?;
        let only_corpus = self.run(target, &[&corpus, &seeds], &["-runs=0".to_owned()])?;
        let told = self.run(
            target,
            &[&found, &corpus, &seeds],
            &[
                format!("-max_total_time={}", options.seconds),
                format!("-dict={}", fuzz.join("dictionaries").join(format!("{target}.dict")).display()),
                format!("-artifact_prefix={}/", artifacts.display()),
                "-max_len=8192".to_owned(),
                "-timeout=10".to_owned(),
                "-rss_limit_mb=2048".to_owned(),
                "-print_final_stats=1".to_owned(),
            ],
        )?;
        let reached = Reached {
            target: target.to_owned(),
            executions: told.executions,
            seeds: only_seeds.edges,
            corpus: only_corpus.edges,
            end: told.edges,
        };
        ensure!(reached.end > reached.seeds, "{target} got no further than its {} edges of the seeds", reached.seeds);
        if options.keep {
            self.keep(target, &found, &corpus)?;
        }
        Ok(reached)
    }

    fn run(&self, target: &str, folders: &[&Path], flags: &[String]) -> Result<Told> {
        let program = program(&self.built, target)?;
        let output = Command::new(program)
            .args(flags)
            .args(folders)
            .current_dir(top())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {target}"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!(
                "{}\n{target} ended with {}: copy the input into fuzz/seeds/{target}/, mend what it shows, and write a test for it",
                output::end_of(&text),
                output.status
            );
        }
        output::read(&text)
            .with_context(|| format!("{target} told nothing that can be read:\n{}", output::end_of(&text)))
    }

    /// Takes what was found over into the corpus, as few inputs as reach all of it.
    fn keep(&self, target: &str, found: &Path, corpus: &Path) -> Result<()> {
        for entry in fs::read_dir(found)? {
            let path = entry?.path();
            fs::copy(&path, corpus.join(path.file_name().unwrap_or_default()))?;
        }
        // by edges alone: by how often each was taken it would be thousands of inputs
        run_command(self.command("cmin").arg(target).arg(corpus).args(["--", "-use_counters=0"]))
    }
}

fn read(args: &[&str]) -> Result<Options> {
    let mut options = Options { seconds: 60, keep: false, target: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--seconds" => {
                let number = args.next().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
                options.seconds = number.context("--seconds takes a whole number above zero")?;
            }
            "--keep" => options.keep = true,
            flag if flag.starts_with('-') => bail!("there is no option {flag}"),
            name => options.target = Some(name.to_owned()),
        }
    }
    Ok(options)
}

/// Every target has a file of its own.
fn targets() -> Result<Vec<String>> {
    let folder = top().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// cargo-fuzz builds below the target's triple.
fn program(built: &Path, target: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(built).with_context(|| format!("cannot list {}", built.display()))?;
    let mut programs = entries.flatten().map(|entry| entry.path().join("release").join(target));
    programs.find(|path| path.is_file()).with_context(|| format!("{target} was not built"))
}

fn has_cpp() -> bool {
    let version = Command::new("c++").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn table(reached: &[Reached]) -> String {
    let mut text = format!(
        "{:<20} {:>12} {:>12} {:>13} {:>10}\n",
        "target", "executions", "edges: seeds", "kept corpus", "at the end"
    );
    for Reached { target, executions, seeds, corpus, end } in reached {
        text.push_str(&format!("{target:<20} {executions:>12} {seeds:>12} {corpus:>13} {end:>10}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_and_what_nobody_knows_is_refused() {
        let options = read(&["--seconds", "5", "webhook", "--keep"]).unwrap();
        assert_eq!((options.seconds, options.keep, options.target.as_deref()), (5, true, Some("webhook")));
        assert_eq!(read(&[]).unwrap().seconds, 60);
        assert!(read(&["--seconds"]).is_err() && read(&["--seconds", "0"]).is_err() && read(&["--fast"]).is_err());
    }

    #[test]
    fn every_target_has_its_check_its_seeds_and_its_dictionary() {
        let targets = targets().unwrap();
        assert!(targets.len() >= 6, "{targets:?}");
        let fuzz = top().join("fuzz");
        for name in targets {
            assert!(fs::read_dir(fuzz.join(format!("seeds/{name}"))).unwrap().next().is_some(), "{name}");
            assert!(fuzz.join(format!("checks/{name}.rs")).exists(), "{name}");
            assert!(fuzz.join(format!("dictionaries/{name}.dict")).exists(), "{name}");
        }
    }
}
