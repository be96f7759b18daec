//! A deploy of v2 after v1 through layerkeeper, beside `docker pull` of the same on the same engine.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Agent, Auth, Chain, Engine, EngineKind, Image, Layer, Pushed, PushedChain, Registry};

use super::machine::Patience;
use super::report::Section;
use super::samples::Samples;
use super::title;
use crate::server::{Server, Settings};

/// The chain's first runtime; v1 and v2 stand on its cache-node and have a business layer of
/// [`BUSINESS`]: what a deploy moves where all goes well, under 300 MB.
const CHAIN: Bytes = Bytes(500_000_000);
const BUSINESS: Bytes = Bytes(290_000_000);

/// What one round took, in seconds.
struct Round {
    plain: f64,
    /// From the command to its end.
    ours: f64,
    /// By the job's record, started to finished.
    job: f64,
    /// What of that was no pull of layers.
    around: f64,
}

/// An engine that has v1, and a daemon on it.
struct Host<'a> {
    // before the engine that it talks to
    server: Server,
    engine: &'a Engine,
    registry: &'a Registry,
    v2: &'a Pushed,
    patience: Patience,
}

/// Measures on each of these engines.
pub fn measure(engines: &[EngineKind], rounds: usize, patience: Patience) -> Result<Section> {
    let registry = Registry::start(Auth::Open)?;
    let (chain, v1, v2) = push(&registry)?;
    let business = v2.layers.last().map(|layer| layer.size).unwrap_or_default();
    let mut section = Section::new("Deploy");
    let mut rows = Vec::new();
    for &kind in engines {
        let engine = Engine::start(kind)?;
        let name = title(&engine)?;
        eprintln!("bench: deploy on {name}");
        let host = Host::start(&engine, &registry, (&chain, &v1, &v2), patience)?;
        let rounds = host.rounds(rounds, business)?;
        let of = |value: fn(&Round) -> f64| Samples::new(rounds.iter().map(value)).context("nothing was measured");
        let (plain, ours, job) = (of(|r| r.plain)?, of(|r| r.ours)?, of(|r| r.job)?);
        let around = of(|r| r.around * 1e3)?;
        let ratio = ours.median() / plain.median();
        section.target(&format!("time of a deploy over `docker pull`, engine {name}"), ratio, 1.05, " ×", 3);
        let paired = of(|r| r.ours / r.plain)?;
        let more = of(|r| (r.ours - r.plain) * 1e3)?;
        let ratio = format!("{ratio:.3}");
        rows.push(vec![
            name,
            plain.shown(2),
            ours.shown(2),
            job.shown(2),
            ratio,
            paired.shown(3),
            more.shown(0),
            around.shown(0),
        ]);
    }
    section.text(format!(
        "v1 is here, v2 differs in its last layer ({business}, which no compression makes smaller, over a loopback \
         registry: what it takes is nearly all the engine's own extraction). {rounds} rounds each, which of the two goes \
         first alternating, v2 removed and the disk synced in between. A deploy is `layerkeeper deploy REF --follow` from \
         its start to its end: accepted durably, three kept images asked for at the registry, estimate, pull, verification, \
         report and prune plan. Both moved the same layer bytes in every round, by the registry's access log. Seconds:"
    ));
    let head = [
        "engine",
        "`docker pull`",
        "deploy",
        "by its record",
        "ratio of medians",
        "ratio round by round",
        "more, in ms",
        "by its record around the pull, in ms",
    ];
    section.table(&head, &rows);
    Ok(section)
}

fn push(registry: &Registry) -> Result<(PushedChain, Pushed, Pushed)> {
    let chain = Chain::sized(CHAIN)?;
    let runtime = |build: u64, tag: &str| -> Result<Pushed> {
        let layer = Layer::random_files("srv/app", 1000 + build, 300, BUSINESS)?;
        let image = Image::from(&chain.cache_node).layer(layer.created_by("COPY app /srv/app # buildkit"));
        Ok(image.push(registry, &format!("acme/app:sha-{tag}"))?)
    };
    let (v1, v2) = (runtime(1, "aaaaaaa")?, runtime(2, "bbbbbbb")?);
    Ok((chain.push(registry)?, v1, v2))
}

impl<'a> Host<'a> {
    fn start(
        engine: &'a Engine,
        registry: &'a Registry,
        (chain, v1, v2): (&PushedChain, &Pushed, &'a Pushed),
        patience: Patience,
    ) -> Result<Self> {
        let server = Server::start(&Settings {
            engine,
            registry: &registry.host(),
            kept: chain.kept().map(|image| &image.name).to_vec(),
            runtime: "prune_tags = [\"sha-*\"]",
            more: "",
            profile: "release",
        })?;
        server.facts(&["status", "--wait-idle"])?;
        server.facts(&["deploy", &v1.name.to_string(), "--follow"])?;
        Ok(Self { server, engine, registry, v2, patience })
    }

    fn rounds(&self, count: usize, business: Bytes) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        // the first one brings the registry's files into memory, and is thrown away
        for round in 0..=count {
            let (plain, (ours, job, around)) = if round % 2 == 0 {
                let plain = self.plain(business)?;
                (plain, self.ours(business)?)
            } else {
                let ours = self.ours(business)?;
                (self.plain(business)?, ours)
            };
            eprintln!(
                "bench: round {round}: docker pull {plain:.2} s, deploy {ours:.2} s, its job {job:.2} s, {around:.3} s around the pull"
            );
            rounds.push(Round { plain, ours, job, around });
        }
        Ok(rounds.split_off(1))
    }

    fn plain(&self, business: Bytes) -> Result<f64> {
        let name = self.v2.reference();
        let (time, _) = self.round(business, || Ok(self.engine.run_docker(["pull", "--quiet", &name])?))?;
        Ok(time.as_secs_f64())
    }

    /// Wall clock, and what the job's record says: in all, and around the pull.
    fn ours(&self, business: Bytes) -> Result<(f64, f64, f64)> {
        let name = self.v2.reference();
        let (time, record) = self.round(business, || self.server.facts(&["deploy", &name, "--follow"]))?;
        let at = |key: &str| record[key].as_i64().with_context(|| format!("the job's record has no {key}"));
        let (whole, job) = (time.as_secs_f64(), (at("finished")? - at("started")?) as f64 / 1e3);
        ensure!(
            job > whole / 2.0,
            "the deploy took {whole} s, and its own job only {job} s of them: another one pulled"
        );
        let pull = record["outcome"]["pull"]["duration_ms"].as_u64().context("the job's record has no report")?;
        Ok((whole, job, job - pull as f64 / 1e3))
    }

    /// Times `pull` of v2 from rest, looks which bytes it moved, and removes v2 again.
    fn round<T>(&self, business: Bytes, pull: impl Fn() -> Result<T>) -> Result<(Duration, T)> {
        ensure!(Command::new("sync").status()?.success(), "sync failed");
        self.patience.wait()?;
        let mark = self.registry.mark();
        let begun = Instant::now();
        let result = pull()?;
        let took = begun.elapsed();
        let moved = self.registry.bytes_of_layers(mark, &self.v2.layer_digests(), Agent::Engine);
        ensure!(moved == business, "{moved} of layers moved where the last layer has {business}");
        // or it would be brought back, and the next round would find it here or under way
        self.server.facts(&["forget", &self.v2.reference()])?;
        self.engine.run_docker(["rmi", &self.v2.reference()])?;
        // on the containerd store a row by digest stays behind and holds all the layers
        self.engine.docker(["rmi", &self.v2.by_digest().to_string()]).output()?;
        Ok((took, result))
    }
}
