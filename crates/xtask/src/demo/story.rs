//! What the demo shows, and what must come out.

use std::time::Duration;

use anyhow::{Result, ensure};
use layerkeeper_testkit::chain::PushedChain;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Agent, Engine, Pushed, Registry};

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

/// Posts the webhook as CI does, follows it to its end, and returns the layer bytes that the registry sent.
fn deploy(server: &Server, registry: &Registry, image: &Pushed) -> Result<layerkeeper_core::Bytes> {
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
