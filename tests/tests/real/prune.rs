//! Old tags go, with everything that our own pulls left of them, and nothing else does.

use std::path::Path;
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_engine::Engine as _;
use layerkeeper_store::record::{PruneRecord, RemovalRecord};
use layerkeeper_testkit::{Auth, Engine, EngineKind, EngineOptions, Image, Layer, Pushed, Registry};
use layerkeeper_tests::chain::{Chain, layer};
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

const LONG: Duration = Duration::from_secs(7200);

async fn bare(engine: &Engine, registry: &Registry) -> Host {
    Host::new(engine, &registry.host(), |policy, _| policy.keep.clear()).await
}

/// Version `n`, with a base of its own test.
fn version(test: u64, engine: u64, n: u64) -> Image {
    Image::new().layer(layer(test, engine, 0, Bytes(300_000))).layer(layer(test, engine, n, Bytes(400_000)))
}

fn removal<'a>(prune: &'a PruneRecord, name: &str) -> &'a RemovalRecord {
    prune.removals.iter().find(|r| r.name.ends_with(name)).unwrap_or_else(|| panic!("{name} stays: {prune:?}"))
}

fn kept<'a>(prune: &'a PruneRecord, name: &str) -> (&'a str, &'a str) {
    let kept = prune.kept.iter().find(|k| k.name.ends_with(name)).unwrap_or_else(|| panic!("{name} goes: {prune:?}"));
    (&kept.class, &kept.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_tag_goes_with_its_last_layer_and_the_kept_images_stay() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(4000 + number, 1).unwrap();
        chain.push_kept(&registry).unwrap();
        let host = Host::plain(engine, &registry).await;
        let mut old: Option<Pushed> = None;
        for version in [1, 2] {
            let runtime = chain.runtime(version, Bytes(700_000)).unwrap();
            let pushed = runtime.push(&registry, &format!("acme/app:sha-{version}")).unwrap();
            host.ship(&format!("sha-{version}"), None).await;
            old.get_or_insert(pushed);
        }
        host.wind(LONG);
        let planned = host.keeper.plan_prune(false).await.unwrap();
        let prune = host.ship("sha-2", None).await.prune.unwrap();
        let inventory = host.engine.inventory().await.unwrap();
        assert!(inventory.find(&old.unwrap().by_digest()).is_none(), "nothing is left: {prune:?}");
        assert!(!host.has("app:sha-1").await);
        for kept in ["base:1", "cache-python:1", "cache-node:1", "app:sha-2"] {
            assert!(host.has(kept).await, "{kept} is gone");
        }
        assert!((600_000..4_000_000).contains(&prune.freed_bytes), "{prune:?}");
        let names = |prune: &PruneRecord| prune.removals.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&planned), names(&prune), "a dry run prints the very plan");
        assert!(planned.removals.iter().all(|removal| removal.outcome == "planned"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_in_any_state_holds_its_image() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let tini = std::fs::read("/usr/bin/tini-static").unwrap();
        let runs = Layer::files([("bin/app", tini.as_slice())]).unwrap();
        let host = bare(engine, &registry).await;
        for n in 1..=3 {
            let image = version(50, number, n).layer(runs.clone()).command(&["/bin/app", "--version"]);
            image.push(&registry, &format!("acme/app:sha-{n}")).unwrap();
            host.ship(&format!("sha-{n}"), None).await;
        }
        let name = |n: u64| host.name(&format!("app:sha-{n}")).to_string();
        let (created, exited) = (format!("created-{number}"), format!("exited-{number}"));
        engine.run_docker(["create", "--network", "none", "--name", &created, &name(1)]).unwrap();
        let run = ["run", "--network", "none", "--log-driver", "none", "--name", &exited, &name(2)];
        // where no container can be started, it stays as created, and holds all the same
        let started = engine.run_docker(run).is_ok();
        if started {
            engine.run_docker(["wait", &exited]).unwrap();
        }
        host.wind(LONG);
        let prune = host.prune(false).await;
        assert_eq!(kept(&prune, "sha-1"), ("held", &*format!("held by container {created} (created)")));
        let state = if started { "exited" } else { "created" };
        assert_eq!(kept(&prune, "sha-2"), ("held", &*format!("held by container {exited} ({state})")));
        assert!(prune.removals.is_empty(), "{prune:?}");
        engine.run_docker(["rm", &created, &exited]).unwrap();
        host.wind(LONG);
        let prune = host.prune(false).await;
        assert_eq!(removal(&prune, "sha-1").outcome, "removed");
        assert_eq!(removal(&prune, "sha-2").outcome, "removed");
        assert!(host.has("app:sha-3").await && !host.has("app:sha-1").await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tags_of_one_image_go_together_and_free_it_once() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry).await;
        for tag in ["sha-1a", "sha-1b"] {
            version(51, number, 1).push(&registry, &format!("acme/app:{tag}")).unwrap();
            host.ship(tag, None).await;
        }
        version(51, number, 2).push(&registry, "acme/app:sha-2").unwrap();
        host.ship("sha-2", None).await;
        host.wind(LONG);
        let prune = host.prune(false).await;
        let outcomes = ["sha-1a", "sha-1b"].map(|tag| removal(&prune, tag).outcome.as_str());
        assert_eq!(outcomes, ["untagged", "removed"]);
        let freed = prune.removals.iter().map(|removal| removal.freed_bytes).filter(|bytes| *bytes > 0).count();
        assert_eq!(freed, 1, "{prune:?}");
        assert!((400_000..1_300_000).contains(&prune.freed_bytes), "its last layer only: {prune:?}");
        assert!(!host.has("app:sha-1a").await && !host.has("app:sha-1b").await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_a_foreign_name_is_only_untagged() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry).await;
        for n in 1..=2 {
            version(52, number, n).push(&registry, &format!("acme/app:sha-{n}")).unwrap();
            host.ship(&format!("sha-{n}"), None).await;
        }
        // names that look alike: another repository's sha-*, and a tag of ours that no pattern allows to go
        let foreign = host.name("other:sha-0").to_string();
        engine.run_docker(["tag", &host.name("app:sha-1").to_string(), &foreign]).unwrap();
        version(52, number, 3).push(&registry, "acme/app:latest").unwrap();
        engine.run_docker(["pull", "--quiet", &host.name("app:latest").to_string()]).unwrap();
        host.keeper.plan_prune(false).await.unwrap();
        host.wind(LONG);
        let prune = host.prune(false).await;
        let untagged = removal(&prune, "app:sha-1");
        assert_eq!((untagged.outcome.as_str(), untagged.freed_bytes), ("untagged", 0), "{prune:?}");
        assert!(untagged.reason.contains(&foreign), "the holder is named: {untagged:?}");
        assert_eq!((prune.freed_bytes, kept(&prune, "app:latest").0), (0, "not_prunable"));
        assert!(host.has("other:sha-0").await && host.has("app:latest").await && !host.has("app:sha-1").await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn superseded_digests_are_listed_and_go_only_on_the_operators_word() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = Host::new(engine, &registry.host(), |policy, _| policy.keep.truncate(1)).await;
        let old = version(53, number, 1).push(&registry, "acme/base:1").unwrap();
        host.prewarm().await;
        let new = version(53, number, 2).push(&registry, "acme/base:1").unwrap();
        host.prewarm().await;
        version(53, number, 3).push(&registry, "acme/app:sha-1").unwrap();
        host.ship("sha-1", None).await;
        let status = host.keeper.status().await;
        let listed: Vec<_> = status.superseded.iter().map(|old| old.reference.clone()).collect();
        assert_eq!(listed, [old.by_digest().to_string()]);
        let size = status.superseded[0].size.unwrap();
        assert!((350_000..1_300_000).contains(&size), "its own layer only: {size}");

        let prune = host.prune(false).await;
        assert_eq!(kept(&prune, &old.digest.to_string()).0, "superseded");
        let prune = host.prune(true).await;
        assert_eq!(removal(&prune, &old.digest.to_string()).outcome, "removed", "{prune:?}");
        assert!(prune.freed_bytes >= size, "{prune:?}");
        let inventory = host.engine.inventory().await.unwrap();
        assert!(inventory.find(&old.by_digest()).is_none());
        assert!(host.here("base:1").await.unwrap().has_digest(&new.name.repository, new.digest));
        assert!(host.keeper.status().await.superseded.is_empty());
    })
    .await;
}

/// On an engine of its own: what a prune says it freed is what the disk got back, and nothing was ever forced.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_freed_is_what_the_disk_gets_back_and_nothing_is_forced() {
    let options = EngineOptions { args: vec!["--debug".into()], ..EngineOptions::default() };
    let engine = Engine::with(EngineKind::B, &options).unwrap();
    let registry = Registry::start(Auth::Open).unwrap();
    let host = bare(&engine, &registry).await;
    for n in 1..=3 {
        let image = version(54, 9, n).layer(layer(54, 9, 10 + n, Bytes(5_000_000)));
        image.push(&registry, &format!("acme/app:sha-{n}")).unwrap();
        host.ship(&format!("sha-{n}"), None).await;
    }
    host.wind(LONG);
    let before = used(&engine.data_root().join("overlay2"));
    let prune = host.prune(false).await;
    assert_eq!(prune.removals.len(), 2, "{prune:?}");
    let freed = before - used(&engine.data_root().join("overlay2"));
    let off = freed.abs_diff(prune.freed_bytes);
    assert!(off * 50 < freed, "{freed} by the disk, {} by the report", prune.freed_bytes);
    let log = engine.log();
    let deletes: Vec<_> = log.lines().filter(|line| line.contains("Calling DELETE")).collect();
    assert_eq!(deletes.len(), 2, "{deletes:?}");
    for call in deletes {
        assert!(!call.contains("force=1") && !call.contains("force=true") && call.contains("acme/app:sha-"), "{call}");
    }
    let prunes = log.lines().filter(|line| line.contains("Calling POST") && line.contains("/prune")).count();
    assert_eq!(prunes, 0, "never the engine's own prune");
}

/// What files take below a directory, by their blocks.
fn used(dir: &Path) -> u64 {
    let output = std::process::Command::new("du").args(["-s", "-x", "--block-size=1"]).arg(dir).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}
