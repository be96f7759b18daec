//! Measurements, side by side with the alternatives: medians of several rounds with their spread, as Markdown.

mod contents;
mod deploy;
mod estimate;
mod idle;
mod machine;
mod page;
mod plan;
mod report;
mod samples;
mod transfer;
mod webhook;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use layerkeeper_core::ImageName;
use layerkeeper_testkit::{Auth, Chain, Engine, EngineKind, PushedChain, Registry};

use crate::command::{cargo, run as run_command, top};
use crate::server::{Server, Settings};
use crate::setup::{self, Part};
use machine::Patience;
use report::Section;

const PAGE: &str = "docs/performance.md";
const NAMES: [&str; 7] = ["deploy", "webhook", "idle", "plan", "estimate", "contents", TRANSFER];
/// Takes hours, so it is measured only where it is named.
const TRANSFER: &str = "transfer";

/// What is to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    names: Vec<&'static str>,
    rounds: usize,
    engines: Vec<EngineKind>,
    write: bool,
    quick: bool,
    relay: bool,
    targets: bool,
    /// Only links whose name has this in it.
    links: Option<String>,
    patience: Patience,
}

/// Measures what the arguments name; everything but what takes hours where they name nothing.
///
/// # Errors
/// Something could not be measured, or did not do what it was measured at. A missed target is told, and is no error.
pub fn run(args: &[&str]) -> Result<()> {
    let options = Options::read(args)?;
    let mut parts = vec![Part::Engine, Part::Registry, Part::Bench];
    if options.names.contains(&TRANSFER) {
        parts.extend([Part::Nginx, Part::Network]);
    }
    if options.engines != [EngineKind::A] {
        parts.push(Part::LaterEngines);
    }
    setup::ensure(&parts)?;
    run_command(&mut cargo(&["build", "--release", "--package", "layerkeeper", "--bin", "layerkeeper"]))?;
    let command = format!("cargo xtask bench {}", args.join(" "));
    println!("{}", machine::machine()?);
    let (mut sections, mut missed) = (Vec::new(), Vec::new());
    for name in &options.names {
        let stolen = machine::Stolen::begin()?;
        let mut section = options.measure(name)?;
        section.text(format!(
            "Meanwhile the host of this virtual machine gave {:.0} % of the time that these cores were wanted to others (steal); \
             at the end, the load average of its last minutes was {}.",
            stolen.share()?,
            machine::load()?
        ));
        println!("{}", section.markdown());
        missed.append(&mut section.missed);
        sections.push(section);
    }
    if options.write {
        write(&command, sections)?;
    }
    match missed.as_slice() {
        _ if options.quick => println!("a quick look: nothing was judged"),
        [] => println!("every target was met"),
        missed => println!("missed: {}", missed.join("; ")),
    }
    Ok(())
}

/// Writes the page; where not everything was measured, only these sections of it, each with its own command.
fn write(command: &str, mut sections: Vec<Section>) -> Result<()> {
    let path = top().join(PAGE);
    let mut page = machine::describe(command)?;
    let everything = NAMES.iter().filter(|name| **name != TRANSFER).count();
    if sections.len() >= everything {
        // what is measured apart stays
        let before = fs::read_to_string(&path).unwrap_or_default();
        for (title, transfer) in page::sections(&before, "Transfer") {
            page = page::put(&page, title, transfer);
        }
    } else {
        page =
            fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}; without a name all is measured"))?;
        let (command, machine) = (command.trim(), machine::machine()?);
        let told = format!("Measured apart from the rest, by `{command}` on {}. {machine}", machine::today()?);
        sections.iter_mut().for_each(|section| section.text(told.clone()));
    }
    for section in &sections {
        page = page::put(&page, section.title(), &section.markdown());
    }
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

/// By their letters: `BC`.
fn engines(letters: &str) -> Result<Vec<EngineKind>> {
    let engine = |letter: char| {
        let named = |kind: &EngineKind| format!("{kind:?}") == letter.to_string();
        EngineKind::ALL
            .into_iter()
            .find(named)
            .with_context(|| format!("there is no engine {letter}; there are A, B and C"))
    };
    let engines: Vec<EngineKind> = letters.chars().map(engine).collect::<Result<_>>()?;
    ensure!(!engines.is_empty(), "--engines takes the letters of engines, such as BC");
    Ok(engines)
}

impl Options {
    fn read(args: &[&str]) -> Result<Self> {
        let mut options = Self {
            names: Vec::new(),
            rounds: 7,
            engines: vec![EngineKind::A],
            write: false,
            quick: false,
            relay: false,
            targets: false,
            links: None,
            patience: Patience(Duration::from_secs(600)),
        };
        let mut args = args.iter().copied();
        while let Some(arg) = args.next() {
            match arg {
                "--write" => options.write = true,
                "--quick" => options.quick = true,
                "--relay" => options.relay = true,
                "--targets" => options.targets = true,
                "--links" => {
                    let links = args.next().map(str::to_owned);
                    options.links = Some(links.context("--links takes a part of a link's name, such as \"ms\"")?);
                }
                "--now" => options.patience = Patience(Duration::ZERO),
                "--all-engines" => options.engines = EngineKind::ALL.to_vec(),
                "--engines" => options.engines = engines(args.next().unwrap_or_default())?,
                "--rounds" => {
                    let rounds = args.next().and_then(|text| text.parse().ok()).filter(|rounds| *rounds > 0);
                    options.rounds = rounds.context("--rounds takes a number of rounds")?;
                }
                other => match NAMES.iter().find(|name| **name == other) {
                    Some(name) => options.names.push(name),
                    None => bail!("there is no {other} to measure; there are {}", NAMES.join(", ")),
                },
            }
        }
        if options.names.is_empty() {
            options.names = NAMES.into_iter().filter(|name| *name != TRANSFER).collect();
        }
        let apart = options.quick || options.relay || options.targets || options.links.is_some();
        ensure!(
            !apart || options.names == [TRANSFER],
            "--quick, --targets, --links and --relay are for `bench transfer` alone"
        );
        ensure!(!(options.quick && options.targets), "a quick look judges no target");
        ensure!(!(options.quick && options.write), "a quick look is nothing to write down");
        Ok(options)
    }

    fn transfer(&self) -> transfer::Wish<'_> {
        let extent = match (self.quick, self.targets) {
            (true, _) => transfer::Extent::Quick,
            (_, true) => transfer::Extent::Targets,
            _ => transfer::Extent::All,
        };
        let mode = if self.relay { "relay" } else { "auto" };
        transfer::Wish { extent, mode, only: self.links.as_deref() }
    }

    fn measure(&self, name: &str) -> Result<Section> {
        match name {
            "deploy" => deploy::measure(&self.engines, self.rounds, self.patience),
            "webhook" => webhook::measure(self.rounds.div_ceil(2), self.patience),
            "idle" => idle::measure(self.patience),
            "estimate" => estimate::measure(&self.engines, self.rounds, self.patience),
            "contents" => contents::measure(&self.engines, self.rounds, self.patience),
            TRANSFER => transfer::measure(&self.engines, self.rounds, self.transfer(), self.patience),
            _ => plan::measure(self.patience),
        }
    }
}

/// An engine as the tables name it.
fn title(engine: &Engine) -> Result<String> {
    let kind = engine.kind();
    let store = if kind == EngineKind::C { "containerd store" } else { "overlay2" };
    Ok(format!("{kind:?}: {}, {store}", engine.version()?))
}

/// The parts around a daemon that has little to do: engine, registry, and a small chain that is kept.
struct Ground {
    // before the engine that it talks to
    server: Server,
    engine: Engine,
    registry: Registry,
    _chain: PushedChain,
}

impl Ground {
    /// Starts all but the daemon.
    fn prepare() -> Result<Self> {
        let engine = Engine::start(EngineKind::A)?;
        let registry = Registry::start(Auth::Open)?;
        let chain = Chain::small()?.push(&registry)?;
        let kept: Vec<&ImageName> = chain.kept().map(|image| &image.name).to_vec();
        let server = Server::prepare(&Settings {
            engine: &engine,
            registry: &registry.host(),
            kept,
            runtime: "prune_tags = [\"sha-*\"]",
            // with its limit on one sender only the limit would be measured; tags that nobody pushed are given up at once
            more: "\n[limits]\nwebhook_rate = 0\nnot_yet_timeout = \"1s\"\n",
            profile: "release",
        })?;
        Ok(Self { server, engine, registry, _chain: chain })
    }

    /// Starts the daemon and waits until the kept images are here.
    fn start(&mut self) -> Result<()> {
        self.server.spawn(None)?;
        self.server.until_ready()?;
        self.server.facts(&["status", "--wait-idle"])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_measured_unless_something_is_named_but_what_takes_hours() {
        assert_eq!(Options::read(&[]).unwrap().names, NAMES[..6]);
        let options = Options::read(&["transfer", "--quick"]).unwrap();
        assert_eq!((options.names, options.quick), (vec![TRANSFER], true));
        let options = Options::read(&["idle", "--rounds", "3", "--all-engines"]).unwrap();
        assert_eq!((options.names, options.rounds, options.engines.len()), (vec!["idle"], 3, 3));
        let options = Options::read(&["--engines", "CB"]).unwrap();
        assert_eq!(options.engines, [EngineKind::C, EngineKind::B]);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        assert!(Options::read(&["idle", "--write"]).unwrap().write);
        for wrong in [
            &["idel"][..],
            &["--rounds"],
            &["--rounds", "0"],
            &["--engines"],
            &["--engines", "AD"],
            &["idle", "--quick"],
            &["transfer", "--quick", "--write"],
        ] {
            assert!(Options::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
