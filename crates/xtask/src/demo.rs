//! The main job, end to end, on real parts: a private Docker Engine, a private registry, and the daemon itself.

mod story;

use anyhow::Result;
use layerkeeper_core::Bytes;
use layerkeeper_testkit::chain::Chain;
use layerkeeper_testkit::{Auth, Engine, EngineKind, Registry};

use crate::command::{cargo, run as run_command};
use crate::server::{Server, Settings};
use crate::setup::{self, Part};

/// v1 is old, and goes, as soon as v2 is here.
const RUNTIME: &str =
    "prune_tags = [\"sha-*\"]\nkeep_last = 1\nkeep_min = 1\nmin_age = \"1s\"\ndownload_budget = \"300 MB\"";

/// Runs the story. `once`: ends by itself, else the page stays up until Ctrl-C.
///
/// # Errors
/// Anything that did not come out as told.
pub fn run(once: bool) -> Result<()> {
    setup::ensure(&[Part::Engine, Part::Registry, Part::Ci])?;
    title("Building layerkeeper");
    run_command(&mut cargo(&["build", "--package", "layerkeeper", "--bin", "layerkeeper"]))?;

    title("A private Docker Engine and a private registry");
    let engine = Engine::start(EngineKind::A)?;
    let registry = Registry::start(Auth::Open)?;
    println!("Docker Engine {} (overlay2), registry {}", engine.version()?, registry.host());

    title("A build chain in the registry: base, cache-python, cache-node, and two versions of the application");
    let chain = Chain::sized(Bytes(60_000_000))?.push(&registry)?;
    for image in [&chain.base, &chain.cache_python, &chain.cache_node, &chain.runtime_v1, &chain.runtime_v2] {
        println!("{:>8}  {}", image.layer_bytes().to_string(), image.name);
    }

    title("layerkeeper runs");
    let mut server = Server::prepare(&Settings {
        engine: &engine,
        registry: &registry.host(),
        kept: chain.kept().map(|image| &image.name).to_vec(),
        runtime: RUNTIME,
        more: "",
        profile: "debug",
    })?;
    println!("{}", server.configuration()?);
    server.spawn(None)?;
    println!("ready after {} ms; the page is at {}", server.until_ready()?.as_millis(), server.page());
    story::tell(&mut server, &engine, &registry, &chain)?;
    if !once {
        title(&format!("The page is at {} until Ctrl-C", server.page()));
        server.until_interrupted()?;
    }
    server.stop()?;
    println!("\nThe demo went as it should.");
    Ok(())
}

fn title(text: &str) {
    println!("\n\x1b[1m### {text}\x1b[0m");
}
