//! What the demo shows, and what must come out.

use std::time::Duration;

use anyhow::{Result, ensure};
use layerkeeper_core::Bytes;
use layerkeeper_testkit::chain::PushedChain;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Agent, Engine, Pushed, Registry};
use serde_json::Value;

use super::title;
use crate::server::Server;

/// Tells the whole story.
pub fn tell(server: &mut Server, engine: &Engine, registry: &Registry, chain: &PushedChain) -> Result<()> {
    title("The kept images are pulled at start, base first");
    server.cli(&["status", "--wait-idle"])?;

    title("What would a deploy of v1 move?");
    server.cli(&["plan", &chain.runtime_v1.name.to_string()])?;

    title("CI posts a signed webhook for v1, and follows");
    deploy(server, registry, &chain.runtime_v1)?;

    title("Then v2, which differs in its last layer; v1 is old by then and is pruned");
    std::thread::sleep(Duration::from_secs(2));
    let moved = deploy(server, registry, &chain.runtime_v2)?;
    let last = chain.runtime_v2.layers.last().map(|layer| layer.size).unwrap_or_default();
    ensure!(moved == last, "v2 moved {moved} where its last layer has {last}");
    println!("\nThe registry's own access log agrees: {moved} of layers were sent, the last layer's size.");
    let tags = engine.run_docker(["images", "--format", "{{.Tag}}"])?;
    let old = chain.runtime_v1.name.tag.as_str();
    ensure!(!tags.lines().any(|tag| tag == old), "{old} should have been pruned: {tags}");

    title("What would a prune do now, and why?");
    server.cli(&["prune", "--dry-run"])?;

    title("Somebody removes a kept image by hand; it comes back by itself");
    let python = chain.cache_python.name.to_string();
    println!("$ docker rmi {python}");
    print!("{}", engine.run_docker(["rmi", &python])?);
    eventually_blocking(Duration::from_secs(20), || {
        engine.run_docker(["image", "inspect", &python]).map_err(|error| error.to_string())
    });
    server.cli(&["status", "--wait-idle"])?;
    server.cli(&["history", &python])?;

    copied(server, engine, registry, chain)?;

    title("History, and what Prometheus scrapes");
    server.cli(&["history"])?;
    let metrics = server.local().get("/metrics")?.text();
    for line in metrics.lines().filter(|line| line.starts_with("layerkeeper_pull") || line.contains("_present")) {
        if !line.contains("_bucket") {
            println!("{line}");
        }
    }
    title("Why, in the daemon's log");
    let log = server.log()?;
    let about = |word: &'static str| log.lines().filter(move |line| line.contains(word));
    let here: Vec<&str> = about("is here").collect();
    for line in about("goes").chain(here.into_iter().rev().take(2)) {
        println!("{line}");
    }
    Ok(())
}

/// The runtime takes Python's packages out of a build stage, which makes a layer of its own: what that repeats is measured
/// while nothing else is to be done, and the next plan says it.
fn copied(server: &Server, engine: &Engine, registry: &Registry, chain: &PushedChain) -> Result<()> {
    title(
        "cache-python is here; this build has FROM base and COPY --from=python-deps /opt/venv, and moves it all again",
    );
    let [base, first, next] = [&chain.base, &chain.copied_v1, &chain.copied_v2];
    let own = &first.layers[base.layers.len()..];
    let moved = deploy(server, registry, first)?;
    ensure!(moved == own.iter().map(|layer| layer.size).sum(), "{moved} moved where all but the base's layers should");

    title("Nothing else is to be done, so both images are read and compared, file by file; the daemon's log says");
    let measured = eventually_blocking(Duration::from_secs(20), || {
        let log = server.log().map_err(|error| error.to_string())?;
        log.lines()
            .find(|line| line.contains("once more"))
            .map(str::to_owned)
            .ok_or_else(|| "nothing was measured yet".to_owned())
    });
    println!("{measured}");

    title("The next build, before anything of it is pulled: what it will repeat, and what to do about it");
    let (mark, name) = (registry.mark(), next.name.to_string());
    server.cli(&["plan", &name])?;
    let plan = server.facts(&["plan", &name])?;
    let causes = plan["estimate"]["layers"][base.layers.len()]["causes"].as_array();
    let says = |cause: &Value| {
        let python = chain.cache_python.name.to_string();
        cause["cause"] == "repeats files" && cause["why"].as_str().is_some_and(|why| why.contains(&python))
    };
    ensure!(causes.is_some_and(|causes| causes.iter().any(says)), "the plan should say what the copy repeats: {plan}");
    let pulled = registry.bytes_of_layers(mark, &next.layer_digests(), Agent::Engine);
    ensure!(pulled == Bytes::ZERO, "a plan pulled {pulled}");
    let left = engine.run_docker(["ps", "--all", "--quiet"])?;
    ensure!(left.is_empty(), "a container was left behind: {left}");
    Ok(())
}

/// Posts the webhook as CI does, follows it to its end, and returns the layer bytes that the registry sent.
fn deploy(server: &Server, registry: &Registry, image: &Pushed) -> Result<Bytes> {
    let mark = registry.mark();
    let secret = server.secret().display().to_string();
    server.cli(&[
        "notify",
        &image.name.to_string(),
        "--url",
        &format!("http://{}", server.webhook()),
        "--secret-file",
        &secret,
        "--follow",
    ])?;
    Ok(registry.bytes_of_layers(mark, &image.layer_digests(), Agent::Engine))
}
