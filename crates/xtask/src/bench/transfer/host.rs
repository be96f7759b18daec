//! An engine with a daemon on it, at one end of a link: `docker pull` and layerkeeper in turn.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use layerkeeper_testkit::{Engine, Pushed, Registry};

use super::images::{Images, Kind};
use super::link::{Link, Road};
use crate::bench::machine::Patience;
use crate::server::{Server, Settings};
use crate::usage::{Memory, forget_peak, processor_time};

/// One pull.
#[derive(Debug, Clone, Copy)]
pub struct Pull {
    pub seconds: f64,
    /// As nginx wrote them.
    pub bytes: u64,
}

/// One pull by layerkeeper.
#[derive(Debug, Clone)]
pub struct Ours {
    pub pull: Pull,
    /// Of the daemon's own processor time, in seconds.
    pub processor: f64,
    /// The daemon's peak meanwhile.
    pub peak_mib: f64,
    /// `engine` or `relay`, as its record says.
    pub way: String,
    /// How many it found to be worth it.
    pub connections: Option<u64>,
    pub fell_back: Option<String>,
    /// Why this way, in the daemon's words.
    pub reason: String,
}

/// What came of one image over one link.
#[derive(Debug)]
pub struct Case {
    pub link: Link,
    pub kind: Kind,
    /// Bytes of layers that were to come.
    pub missing: u64,
    /// As the page shows it.
    pub image: String,
    /// `docker pull`, layerkeeper; round by round.
    pub rounds: Vec<(Pull, Ours)>,
    /// Bytes of the pull of it by which the daemon had learnt the link.
    pub learnt_by: Option<u64>,
}

/// Both ends of a link.
pub struct Host<'a> {
    // before the engine that it talks to
    server: Server,
    road: Road,
    engine: &'a Engine,
    registry: &'a Registry,
    images: &'a Images,
    link: Link,
    patience: Patience,
    /// Bytes of the pull by which the daemon learnt the link.
    learnt_by: u64,
}

impl<'a> Host<'a> {
    /// Lays the link, starts a daemon that knows nothing of it, and lets it learn it by a pull whose time does not count.
    pub fn start(
        (link, mode): (Link, &str),
        engine: &'a Engine,
        registry: &'a Registry,
        images: &'a Images,
        patience: Patience,
    ) -> Result<Self> {
        let road = link.lay(registry)?;
        let host = road.host();
        let server = Server::start(&Settings {
            engine,
            registry: &host,
            kept: Vec::new(),
            runtime: "prune_tags = [\"sha-*\"]",
            more: &format!("\n[registry]\ninsecure = [\"{host}\"]\n\n[pull]\ntransfer = \"{mode}\"\n"),
            profile: "release",
        })?;
        let mut host = Self { server, road, engine, registry, images, link, patience, learnt_by: 0 };
        let first = host.ours(Kind::Cold)?;
        host.learnt_by = first.pull.bytes;
        eprintln!(
            "bench: {}: the first pull took {:.1} s by {}: {}",
            link.named(),
            first.pull.seconds,
            first.way,
            first.reason
        );
        Ok(host)
    }

    /// Both in turn, so many times; which of them goes first alternates.
    pub fn case(&self, kind: Kind, rounds: usize) -> Result<Case> {
        if kind == Kind::Next {
            // by another name, which the daemon does not take for its own
            self.engine.run_docker(["pull", "--quiet", &self.before()?.reference()])?;
        }
        let mut measured = Vec::new();
        for round in 0..rounds {
            let (plain, ours) = if round % 2 == 0 {
                let plain = self.plain(kind)?;
                (plain, self.ours(kind)?)
            } else {
                let ours = self.ours(kind)?;
                (self.plain(kind)?, ours)
            };
            eprintln!(
                "bench: {}, {kind:?}: docker pull {:.2} s, layerkeeper {:.2} s by {} ({} connections), {:.2} s of processor, \
                 {:.1} MiB; {}{}",
                self.link.named(),
                plain.seconds,
                ours.pull.seconds,
                ours.way,
                ours.connections.unwrap_or_default(),
                ours.processor,
                ours.peak_mib,
                ours.reason,
                ours.fell_back.as_ref().map(|why| format!(", fell back: {why}")).unwrap_or_default(),
            );
            measured.push((plain, ours));
        }
        if kind == Kind::Next {
            self.remove(&self.before()?)?;
        }
        let missing = self.images.missing(kind).0;
        let learnt_by = (kind == Kind::Cold).then_some(self.learnt_by);
        Ok(Case { link: self.link, kind, missing, image: self.images.named(kind), rounds: measured, learnt_by })
    }

    /// The version before the next, by the registry's own address.
    fn before(&self) -> Result<Pushed> {
        Ok(self.images.of(Kind::Cold).via(&self.registry.host())?)
    }

    fn plain(&self, kind: Kind) -> Result<Pull> {
        let (pull, _) = self.round(kind, |name| Ok(self.engine.run_docker(["pull", "--quiet", name])?))?;
        Ok(pull)
    }

    fn ours(&self, kind: Kind) -> Result<Ours> {
        let pid = self.server.pid()?;
        forget_peak(pid)?;
        let (pull, (record, processor, peak_mib)) = self.round(kind, |name| {
            let before = processor_time(pid)?;
            let record = self.server.facts(&["deploy", name, "--follow"])?;
            Ok((record, processor_time(pid)? - before, Memory::of(pid)?.peak))
        })?;
        let transfer = &record["outcome"]["pull"]["transfer"];
        let way = transfer["way"].as_str().with_context(|| format!("the record says no way: {record}"))?;
        Ok(Ours {
            pull,
            processor,
            peak_mib,
            way: way.to_owned(),
            connections: transfer["connections"].as_u64(),
            fell_back: transfer["fallback"].as_str().map(str::to_owned),
            reason: transfer["reason"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Times `pull` from rest, looks how much came, and removes the image again.
    fn round<T>(&self, kind: Kind, pull: impl Fn(&str) -> Result<T>) -> Result<(Pull, T)> {
        let image = self.images.of(kind).via(&self.road.host())?;
        ensure!(Command::new("sync").status()?.success(), "sync failed");
        self.patience.wait()?;
        let mark = self.road.front.mark()?;
        let begun = Instant::now();
        let result = pull(&image.reference())?;
        let seconds = begun.elapsed().as_secs_f64();
        let bytes = self.road.front.sent(mark)?;
        let missing = self.images.missing(kind).0;
        ensure!(bytes >= missing, "only {bytes} bytes came where {missing} were missing: the engine was not cold");
        // or it would be brought back, and the next round would find it here or under way
        self.server.facts(&["forget", &image.reference()])?;
        self.remove(&image)?;
        Ok((Pull { seconds, bytes }, result))
    }

    fn remove(&self, image: &Pushed) -> Result<()> {
        self.engine.run_docker(["rmi", &image.reference()])?;
        // on the containerd store a row by digest stays behind and holds all the layers
        self.engine.docker(["rmi", &image.by_digest().to_string()]).output()?;
        Ok(())
    }
}
