//! A server's life on a slow link, for hours: a deploy a minute, and every so often something goes wrong. Prints what became
//! of it over time, and fails when anything that was accepted got lost or did not end.

mod look;
mod story;
mod trouble;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use layerkeeper_core::{Bytes, ImageName};
use layerkeeper_testkit::{Auth, Chain, Engine, EngineKind, Image, Layer, Proxy, Pushed, Registry};

use crate::command::{cargo, run as run_command};
use crate::server::{Server, Settings};
use crate::setup;
use look::Looks;
use story::Random;
use trouble::Trouble;

const DEPLOY_EVERY: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The link; what a deploy moves takes seconds on it, so that things go wrong in the middle of a pull.
const LINK: Bytes = Bytes(4_000_000);
/// The chain; and what each build has of its own.
const CHAIN: Bytes = Bytes(40_000_000);
const BUSINESS: Bytes = Bytes(12_000_000);
/// So long the last jobs may take when nobody is in the way any more.
const END: Duration = Duration::from_secs(600);
const RUNTIME: &str = "prune_tags = [\"sha-*\"]\nkeep_last = 2\nkeep_min = 1\nmin_age = \"1m\"";
/// A pull that stands still is not waited for as long as on a real link.
const LIMITS: &str = "\n[limits]\nstall_timeout = \"30s\"\nwebhook_rate = 0\nlook_every = \"20s\"\n";

/// What is wanted.
struct Options {
    time: Duration,
    engine: EngineKind,
    seed: u64,
}

/// The server and all around it.
pub(crate) struct Ground {
    // before the engine that it talks to
    pub server: Server,
    pub engine: Engine,
    pub proxy: Proxy,
    pub kept: Vec<ImageName>,
    registry: Registry,
    chain: Chain,
    /// What was accepted: its job, and the image.
    pub accepted: Vec<(String, ImageName)>,
    builds: u64,
}

/// Lives through it.
///
/// # Errors
/// A job that was accepted and did not end, a kept image that does not come back, memory or open files that grow.
pub fn run(args: &[&str]) -> Result<()> {
    let options = Options::read(args)?;
    setup::ensure(&[setup::Part::Engine, setup::Part::LaterEngines, setup::Part::Registry])?;
    run_command(&mut cargo(&["build", "--release", "--package", "layerkeeper", "--bin", "layerkeeper"]))?;
    let mut ground = Ground::prepare(&options)?;
    println!(
        "{:?} on engine {:?} ({}), seed {}: a deploy of {BUSINESS} a minute over a link of {LINK}/s, and something goes wrong \
         about twice a minute.\n",
        options.time,
        options.engine,
        ground.engine.version()?,
        options.seed
    );
    let mut looks = Looks::begin();
    let mut story = story::Story::new(Random(options.seed));
    let begun = Instant::now();
    let (mut deploy_at, mut look_at) = (Duration::ZERO, LOOK_EVERY);
    while begun.elapsed() < options.time {
        let now = begun.elapsed();
        if now >= deploy_at {
            deploy_at += DEPLOY_EVERY;
            ground.deploy()?;
            story.deployed(now);
        }
        story.go_on(&mut ground, &mut looks, now)?;
        if now >= look_at {
            look_at += LOOK_EVERY;
            looks.look(&ground, now)?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    story.end(&mut ground)?;
    ground.proxy.throttle(None);
    println!("\nNobody is in the way any more; one deploy more, and all has to come to its end.");
    ground.deploy()?;
    until_idle(&ground)?;
    looks.look(&ground, begun.elapsed())?;
    looks.summary(&ground)?;
    verdict(&ground, &looks)?;
    ground.server.stop()?;
    println!(
        "\nAll {} accepted deploys came to their end, and everything that should be here is here.",
        ground.accepted.len()
    );
    Ok(())
}

impl Options {
    fn read(args: &[&str]) -> Result<Self> {
        let mut options = Self { time: Duration::from_secs(3600), engine: EngineKind::A, seed: 1 };
        let mut args = args.iter().copied();
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} takes a value"))?;
            match arg {
                "--hours" => {
                    let hours: Option<f64> = value.parse().ok().filter(|hours| (0.01..=1000.0).contains(hours));
                    let hours = hours.context("--hours takes 0.01 to 1000")?;
                    options.time = Duration::from_secs_f64(hours * 3600.0);
                }
                "--engine" => {
                    let named = EngineKind::ALL.into_iter().find(|kind| format!("{kind:?}") == value);
                    options.engine = named.context("--engine takes A, B or C")?;
                }
                "--seed" => options.seed = value.parse().context("--seed takes a number")?,
                other => bail!("soak does not know {other}; it takes --hours, --engine and --seed"),
            }
        }
        Ok(options)
    }
}

impl Ground {
    fn prepare(options: &Options) -> Result<Self> {
        let engine = Engine::start(options.engine)?;
        let registry = Registry::start(Auth::Open)?;
        let proxy = Proxy::start(&registry.host())?;
        let chain = Chain::sized(CHAIN)?;
        let pushed = chain.push(&registry)?;
        let kept = pushed.kept().into_iter().map(|image| Ok(image.via(&proxy.host())?.name));
        let kept = kept.collect::<Result<Vec<ImageName>>>()?;
        let server = Server::start(&Settings {
            engine: &engine,
            registry: &proxy.host(),
            kept: kept.iter().collect(),
            runtime: RUNTIME,
            more: LIMITS,
            profile: "release",
        })?;
        proxy.throttle(Some(LINK));
        Ok(Self { server, engine, proxy, kept, registry, chain, accepted: Vec::new(), builds: 0 })
    }

    /// CI builds the next version, pushes it, and posts the webhook; it is answered also while engine and registry are away.
    fn deploy(&mut self) -> Result<()> {
        self.builds += 1;
        let layer = Layer::random_files("srv/app", 10_000 + self.builds, 20, BUSINESS)?;
        let image = Image::from(&self.chain.cache_node).layer(layer.created_by("COPY app /srv/app # buildkit"));
        let pushed: Pushed = image.push(&self.registry, &format!("acme/app:sha-{:07}", self.builds))?;
        let name = pushed.via(&self.proxy.host())?.name;
        let (url, secret) = (format!("http://{}", self.server.webhook()), self.server.secret().display().to_string());
        let accepted = self.server.facts(&["notify", &name.to_string(), "--url", &url, "--secret-file", &secret])?;
        let id = accepted["id"].as_str().context("the webhook's answer names no job")?;
        self.accepted.push((id.to_owned(), name));
        Ok(())
    }

    /// The newest version.
    pub fn newest(&self) -> Option<&ImageName> {
        self.accepted.last().map(|(_, name)| name)
    }
}

fn until_idle(ground: &Ground) -> Result<()> {
    let begun = Instant::now();
    loop {
        let status = ground.server.local().get("/v1/status")?.json()?;
        let losses = status["losses"].as_array().map_or(0, Vec::len);
        if status["queued"] == 0 && status["running"].is_null() && losses == 0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < END, "not all came to an end within {END:?}: {status:#}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What must be true at the end, whatever happened.
fn verdict(ground: &Ground, looks: &Looks) -> Result<()> {
    let mut wrong = looks.wrong();
    for (id, name) in &ground.accepted {
        match looks.state_of(id) {
            Some("succeeded" | "superseded") => {}
            // the engine or the registry was away for longer than a job tries: said, not lost
            Some("failed") if ground.newest() != Some(name) => {}
            state => wrong.push(format!("the deploy of {name} is {}", state.unwrap_or("not known any more"))),
        }
    }
    for name in ground.kept.iter().chain(ground.newest()) {
        if ground.engine.run_docker(["image", "inspect", &name.to_string()]).is_err() {
            wrong.push(format!("{name} is not here"));
        }
    }
    if ground.server.log()?.contains("panicked") {
        wrong.push("the daemon panicked; see its log".to_owned());
    }
    ensure!(wrong.is_empty(), "{}\n\n{}", wrong.join("\n"), tail(&ground.server.log()?));
    Ok(())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_and_what_nobody_knows_is_refused() {
        let options = Options::read(&["--hours", "0.5", "--engine", "C", "--seed", "7"]).unwrap();
        assert_eq!((options.time, options.engine, options.seed), (Duration::from_secs(1800), EngineKind::C, 7));
        for wrong in [&["--hours"][..], &["--hours", "0"], &["--hours", "long"], &["--engine", "D"], &["--days", "1"]] {
            assert!(Options::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
