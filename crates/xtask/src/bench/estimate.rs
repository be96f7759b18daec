//! What an operator waits for `layerkeeper plan`: an image of 60 layers, on a host with 200 images.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use layerkeeper_core::{Bytes, ImageName};
use layerkeeper_testkit::{Auth, Engine, EngineKind, Image, Layer, Proxy, Pushed, Registry};

use super::machine::Patience;
use super::report::Section;
use super::samples::Samples;
use super::title;
use crate::server::{Server, Settings};

const IMAGES: usize = 200;
/// Images of one team stand on one base.
const TEAM: usize = 10;
const CONTAINERS: usize = 20;
const LAYERS: usize = 60;
/// So many of a new build's layers are those of the build that is here, so many are in other teams' images, at another place
/// of the chain, and the rest is new.
const SAME: usize = 50;
const ELSEWHERE: usize = 5;
/// How often the same is asked within a round.
const AGAIN: usize = 10;
/// From the manifest on.
const TARGET_MS: f64 = 150.0;

/// What the registry holds: images of others, and builds of ours.
struct Pool {
    registry: Registry,
    foreign: Vec<Pushed>,
    kept: [Pushed; 2],
    here: Pushed,
    builds: Vec<Pushed>,
}

/// Milliseconds of one kind of question.
#[derive(Default)]
struct Times {
    /// The first question after a deploy: the engine is looked at anew.
    look: Vec<f64>,
    /// A build that nobody asked about yet: in all, and from its config's last byte on.
    first: Vec<f64>,
    first_after: Vec<f64>,
    /// The tag of a known build: one HEAD to the registry.
    tag: Vec<f64>,
    /// A known digest: the registry is not asked at all.
    digest: Vec<f64>,
    /// `layerkeeper plan TAG`, from the start of the program to its end.
    command: Vec<f64>,
}

/// Measures on each of these engines.
pub fn measure(engines: &[EngineKind], rounds: usize, patience: Patience) -> Result<Section> {
    let pool = Pool::push(rounds)?;
    let mut section = Section::new("Estimate");
    let mut rows = Vec::new();
    for &kind in engines {
        let engine = Engine::start(kind)?;
        let name = title(&engine)?;
        eprintln!("bench: estimate on {name}");
        let times = ask(&engine, &pool, patience)?;
        let of = |values: &[f64]| Samples::new(values.iter().copied()).context("nothing was measured");
        let (after, digest) = (of(&times.first_after)?, of(&times.digest)?);
        let what = |part: &str| format!("a plan from its manifest on, {part}, engine {name}");
        section.target(&what("first time, median"), after.median(), TARGET_MS, " ms", 1);
        section.target(&what("known, 95 of 100"), digest.quantile(0.95), TARGET_MS, " ms", 1);
        let columns = [of(&times.look)?, of(&times.first)?, after, of(&times.tag)?, digest, of(&times.command)?];
        rows.push(std::iter::once(name).chain(columns.iter().map(|samples| samples.shown(1))).collect());
    }
    section.text(format!(
        "A new build of {LAYERS} layers, causes and all, on an engine that holds {IMAGES} images of 11 layers in {} families, \
         which others pulled, and {CONTAINERS} containers, besides two kept images and the build before. {SAME} of the new \
         one's layers are the old one's, {ELSEWHERE} stand in others' images at another place of the chain, the rest is new. \
         {rounds} rounds with a build each. Asked over the control socket (`GET /v1/plan?image=`): right after the old \
         build's deploy once for that, when the engine must be looked at anew; once for each new build when nobody knows it: in all, and from the last byte of its config on, for which the daemon looks up others' manifests at the \
         registry (loopback). Then {AGAIN} times by its tag, which is one HEAD, and {AGAIN} times by its digest, with no \
         word to the registry: there all of it, the look at the engine too, counts as after the manifest. Last the command \
         itself, `layerkeeper plan TAG`. Milliseconds:",
        IMAGES / TEAM
    ));
    let head = [
        "engine",
        "right after a deploy",
        "first time",
        "of it after the manifest",
        "again, by tag",
        "again, by digest",
        "`layerkeeper plan TAG`",
    ];
    section.table(&head, &rows);
    Ok(section)
}

fn ask(engine: &Engine, pool: &Pool, patience: Patience) -> Result<Times> {
    let proxy = Proxy::start(&pool.registry.host())?;
    // only the builds are asked for by way of the proxy, which takes down when an answer has gone
    let via = |pushed: &Pushed| Ok::<_, anyhow::Error>(pushed.via(&proxy.host())?.name);
    pull(engine, &pool.foreign)?;
    for at in 0..CONTAINERS {
        engine.run_docker(["create", &pool.foreign[at * IMAGES / CONTAINERS].reference(), "never"])?;
    }
    let kept: Vec<ImageName> = pool.kept.iter().map(via).collect::<Result<_>>()?;
    let server = Server::start(&Settings {
        engine,
        registry: &proxy.host(),
        kept: kept.iter().collect(),
        runtime: "prune_tags = [\"sha-*\"]",
        more: "",
        profile: "release",
    })?;
    server.facts(&["status", "--wait-idle"])?;
    server.facts(&["deploy", &via(&pool.here)?.to_string(), "--follow"])?;
    let images = engine.run_docker(["images", "--quiet", "--no-trunc"])?;
    let images: std::collections::HashSet<&str> = images.lines().collect();
    ensure!(images.len() >= IMAGES + 3, "the engine holds only {} images", images.len());
    patience.wait()?;
    let first = plan(&server, &via(&pool.here)?.to_string())?.0;
    eprintln!("bench: the first question after the deploy takes {:.1} ms", ms(first));
    let mut times = Times { look: vec![ms(first)], ..Times::default() };
    for build in &pool.builds {
        patience.wait()?;
        let (name, repository) = (via(build)?, via(build)?.repository);
        let (whole, ended) = plan(&server, &name.to_string())?;
        let config = format!("/blobs/{}", build.config.digest);
        let passed = proxy.passed();
        let config =
            passed.iter().rfind(|passed| passed.path.contains(&config)).context("nobody asked for the config")?;
        times.first.push(ms(whole));
        times.first_after.push(ms(ended - config.last));
        for _ in 0..AGAIN {
            times.tag.push(ms(plan(&server, &name.to_string())?.0));
        }
        let before = proxy.passed().len();
        for _ in 0..AGAIN {
            times.digest.push(ms(plan(&server, &repository.by_digest(build.digest).to_string())?.0));
        }
        ensure!(proxy.passed().len() == before, "a known digest was asked for at the registry");
        for _ in 0..AGAIN {
            times.command.push(ms(server.timed(&["plan", &name.to_string()])?));
        }
        eprintln!("bench: first {:.1} ms, of it {:.1} after the manifest", ms(whole), ms(ended - config.last));
    }
    Ok(times)
}

/// How long an answer took, and when it was there; it must say what it should.
fn plan(server: &Server, reference: &str) -> Result<(Duration, Instant)> {
    let begun = Instant::now();
    let answer = server.control().get(&format!("/v1/plan?image={reference}"))?;
    let ended = Instant::now();
    let plan = answer.expect(&[200])?.json()?;
    let layers = plan["estimate"]["layers"].as_array().context("a plan without layers")?;
    let here = layers.iter().filter(|layer| layer["presence"] == "here").count();
    ensure!(layers.len() == LAYERS && here >= SAME, "{here} of {} layers are here: {plan}", layers.len());
    Ok((ended - begun, ended))
}

/// Four at a time, as a host that others fill.
fn pull(engine: &Engine, images: &[Pushed]) -> Result<()> {
    let some = |images: &[Pushed]| -> Result<()> {
        images.iter().try_for_each(|image| Ok(engine.run_docker(["pull", "--quiet", &image.reference()]).map(drop)?))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            images.chunks(images.len().div_ceil(4)).map(|images| scope.spawn(move || some(images))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a pull died"))?)
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Pool {
    fn push(builds: usize) -> Result<Self> {
        let registry = Registry::start(Auth::Open)?;
        let layer = |group: usize, at: usize, instruction: String| -> Result<Layer> {
            let seed = (group * 1000 + at) as u64;
            Ok(Layer::random(seed, Bytes(4_000 + seed % 5_000))?.created_by(&instruction))
        };
        let run = |group: usize, at: usize| layer(group, at, format!("RUN apt-get install -y package-{group}-{at}"));
        let stack = |image: Image, group: usize, from: usize, to: usize| {
            (from..to).try_fold(image, |image, at| Ok::<_, anyhow::Error>(image.layer(run(group, at)?)))
        };
        // groups 0.. are the teams' bases, 1000.. the images' own layers, 5000 ours, 6000.. the builds'
        let own = |image: usize| 1000 + image;
        let mut foreign = Vec::new();
        for image in 0..IMAGES {
            let team = image / TEAM;
            let base = stack(Image::new(), team, 0, 8)?;
            let name = format!("team-{team}/app:{image}");
            foreign.push(stack(base, own(image), 0, 3)?.push(&registry, &name)?);
        }
        let base = stack(Image::new(), 5000, 0, SAME * 2 / 5)?;
        let python = stack(base.clone(), 5000, SAME * 2 / 5, SAME * 4 / 5)?;
        let below = stack(python.clone(), 5000, SAME * 4 / 5, SAME)?;
        let copy = |group: usize, at: usize| {
            layer(group, at, format!("COPY --from=stage-{at} /opt/part-{at} /opt/part-{at} # buildkit"))
        };
        let build = |number: usize| -> Result<Image> {
            let mut image = below.clone();
            for at in 0..ELSEWHERE {
                image = image.layer(run(own((number * ELSEWHERE + at) * 7 % IMAGES), 1)?);
            }
            (SAME + ELSEWHERE..LAYERS).try_fold(image, |image, at| Ok(image.layer(copy(6000 + number, at)?)))
        };
        let here = build(0)?.push(&registry, "acme/app:sha-0")?;
        let builds = (1..=builds).map(|n| Ok(build(n)?.push(&registry, &format!("acme/app:sha-{n}"))?));
        let builds = builds.collect::<Result<_>>()?;
        let kept = [base.push(&registry, "acme/base:1")?, python.push(&registry, "acme/cache-python:1")?];
        Ok(Self { registry, foreign, kept, here, builds })
    }
}
