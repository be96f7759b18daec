//! Pulls through the relay: what the engine has afterwards is what a plain pull leaves, and whatever goes wrong costs time,
//! not the deploy.

use std::time::Duration;

use layerkeeper_core::plan::{Link, TransferMode};
use layerkeeper_core::{Bytes, JobState};
use layerkeeper_keeper::{Endpoint, Mirror};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Agent, Auth, Engine, EngineKind, Fault, Image, Index, Proxy, Registry, Scratch, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use crate::reuse::layers;

const MB: u64 = 1_000_000;

/// A keeper that keeps nothing, and pulls through the relay wherever it can.
pub(crate) async fn relaying(engine: &Engine, registry: &str) -> Host {
    let store = Store::open_in_memory(Options::default()).unwrap();
    Host::over(engine, registry, store, |settings, _| {
        settings.policy.keep.clear();
        settings.policy.runtime[0].keep_last = 9;
        settings.max_attempts = 20;
        settings.transfer.mode = TransferMode::Relay;
    })
    .await
}

/// The base with the application's layer of this version on top.
pub(crate) fn version(number: u64, version: u64) -> Image {
    let base = |at, size| layer(230, number, at, Bytes(size)).created_by("RUN apt-get install cuda");
    Image::new()
        .layer(base(1, 3 * MB))
        .layer(base(2, 200_000))
        .layer(base(3, 5 * MB))
        .layer(layer(250, number, version, Bytes(700_000)).created_by("COPY app /app"))
}

/// What the engine's API shows of an image, but for when it came.
fn shown(engine: &Engine, name: &str) -> serde_json::Value {
    let text = engine.run_docker(["image", "inspect", name]).unwrap();
    let mut shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    // where the engine put it is new each time
    shown[0]["GraphDriver"]["Data"] = serde_json::Value::Null;
    shown[0]["Metadata"] = serde_json::Value::Null;
    shown
}

/// Every row that the engine lists for this repository path, at whatever host.
pub(crate) fn rows(engine: &Engine, path: &str) -> Vec<String> {
    let listed =
        engine.list_images(&["--digests", "--no-trunc", "--format", "{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}"]);
    let mut rows: Vec<String> = listed.unwrap().lines().filter(|row| row.contains(path)).map(str::to_owned).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_has_what_a_plain_pull_leaves_and_a_later_plain_pull_moves_only_the_new_layer() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let pushed = version(number, 1).push(&registry, "acme/app:sha-1").unwrap();
        let host = relaying(engine, &registry.host()).await;
        let path = format!("{}/acme/app", registry.host());

        let mark = registry.mark();
        let outcome = host.ship("sha-1", None).await;
        let pull = outcome.pull.unwrap();
        let way = pull.transfer.clone().unwrap();
        assert_eq!((way.way.as_str(), &way.fallback), ("relay", &None), "{way:?}");
        assert_eq!(registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Engine), Bytes::ZERO);
        let logged = registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Layerkeeper);
        assert_eq!((logged, Bytes(pull.downloaded_bytes)), (pushed.layer_bytes(), pushed.layer_bytes()));
        assert_eq!((pull.certainty.as_str(), pull.wasted_bytes), ("exact", 0), "{:?}", pull.doubts);
        assert_eq!(host.spooled(), Bytes::ZERO);
        let relayed = (shown(engine, &format!("{path}:sha-1")), rows(engine, "/acme/app"));
        let mine = |rows: &[String]| rows.iter().filter(|row| row.starts_with(&path)).cloned().collect::<Vec<_>>();
        assert!(
            relayed.1.iter().all(|row| !row.starts_with("127.0.0.1")
                || row.starts_with(&path)
                || !row.contains(&pushed.digest.to_string())),
            "the relay's name is gone: {:?}",
            relayed.1
        );

        engine.run_docker(["rmi", &format!("{path}:sha-1")]).unwrap();
        host.set_transfer(TransferMode::Engine);
        host.ship("sha-1", None).await;
        let plain = (shown(engine, &format!("{path}:sha-1")), rows(engine, "/acme/app"));
        assert_eq!(relayed.0, plain.0);
        assert_eq!(mine(&relayed.1), mine(&plain.1));

        // and once more the other way round, with the next version on top of it
        engine.run_docker(["rmi", &format!("{path}:sha-1")]).unwrap();
        host.set_transfer(TransferMode::Relay);
        host.ship("sha-1", None).await;
        host.set_transfer(TransferMode::Engine);
        let next = version(number, 2).push(&registry, "acme/app:sha-2").unwrap();
        let mark = registry.mark();
        let pull = host.ship("sha-2", None).await.pull.unwrap();
        let logged = registry.bytes_of_layers(mark, &layers(&[&next]), Agent::Engine);
        assert_eq!((logged, Bytes(pull.downloaded_bytes)), (next.layers[3].size, next.layers[3].size));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_version_through_the_relay_moves_its_last_layer_alone() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        version(number + 10, 1).push(&registry, "acme/app:sha-1").unwrap();
        let next = version(number + 10, 2).push(&registry, "acme/app:sha-2").unwrap();
        let host = relaying(engine, &registry.host()).await;
        host.set_transfer(TransferMode::Engine);
        host.ship("sha-1", None).await;
        host.set_transfer(TransferMode::Relay);
        let mark = registry.mark();
        let pull = host.ship("sha-2", None).await.pull.unwrap();
        assert_eq!(pull.transfer.unwrap().way, "relay");
        let logged = registry.bytes_of_layers(mark, &layers(&[&next]), Agent::Layerkeeper);
        assert_eq!((logged, Bytes(pull.downloaded_bytes)), (next.layers[3].size, next.layers[3].size));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_with_attestations_and_a_registry_that_wants_a_token() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Token).unwrap();
        let image = version(number + 20, 1);
        Index::of([image]).attested().push(&registry, "acme/app:sha-1").unwrap();
        let host = relaying(engine, &registry.host()).await;
        let pull = host.ship("sha-1", None).await.pull.unwrap();
        assert_eq!(pull.transfer.unwrap().way, "relay");
        let here = host.here("app:sha-1").await.unwrap();
        assert!(here.has_digest(&host.name("app:sha-1").repository, pull.digest.unwrap().parse().unwrap()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_relay_gets_nothing_the_engine_pulls_by_itself_and_the_deploy_succeeds() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let pushed = version(number + 30, 1).push(&registry, "acme/app:sha-1").unwrap();
        let ours = |head: &layerkeeper_testkit::http::Head| {
            head.get("user-agent").is_some_and(|agent| agent.starts_with("layerkeeper/"))
        };
        let large = pushed.layers[2].blob.to_string();
        proxy.add(Fault::answer(403).on_path(&large).when(ours));
        let host = relaying(engine, &proxy.host()).await;
        let outcome = host.ship("sha-1", None).await;
        let pull = outcome.pull.unwrap();
        let way = pull.transfer.clone().unwrap();
        assert_eq!(way.way, "engine");
        assert!(way.fallback.clone().unwrap().contains("no source is left"), "{way:?}");
        assert!(outcome.warnings[0].contains("the relay was given up"), "{:?}", outcome.warnings);
        // the containerd store keeps what it had from the relay by then, and goes on from there
        let whole = Bytes(pull.downloaded_bytes) == pushed.layer_bytes();
        assert!(whole || engine.kind() == EngineKind::C, "{pull:?}");
        assert_eq!(pull.attempts.len(), 2, "{pull:?}");
        assert_eq!(host.spooled(), Bytes::ZERO);
        let metrics = host.keeper.metrics_text().await;
        assert!(metrics.contains("layerkeeper_transfer_fallback_total{reason=\"source\"} 1"), "{metrics}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_mid_pull_loses_nothing_that_came_through_the_relay() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let pushed = version(number + 40, 1).push(&registry, "acme/app:sha-1").unwrap();
        let dir = Scratch::new("state").unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let host = Host::over(engine, &proxy.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.transfer.mode = TransferMode::Relay;
        })
        .await;
        proxy.hold_after(Bytes(6 * MB));
        let mark = registry.mark();
        let job = host.ask("sha-1", None).await.job.id;
        eventually(Duration::from_secs(60), async || proxy.is_holding()).await;
        let settings = host.settings();
        let host = host.killed(engine, dir.path(), &settings).await;
        proxy.release();
        let row = host.end(&job).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let pull = row.outcome.pull.unwrap();
        let way = pull.transfer.clone().unwrap();
        // the containerd store may have had whole, by its own means, all that had come
        let resumed = way.resumed_bytes >= MB || engine.kind() == EngineKind::C;
        assert!(way.way == "relay" && resumed, "{way:?}");
        let logged = registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Layerkeeper);
        assert!(logged <= pushed.layer_bytes() + Bytes(2 * MB), "{logged} of {}", pushed.layer_bytes());
        assert_eq!(host.spooled(), Bytes::ZERO);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_takes_the_way_that_the_link_was_measured_to_be_worth() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host =
            Host::over(engine, &registry.host(), store.clone(), |settings, _| settings.policy.keep.clear()).await;
        let link = |one: f64, many: f64| Link { one: Some(one), three: None, many: Some(many), connections: 8 };
        for (at, link, way, word) in [
            (1, Link::default(), "engine", "was never measured"),
            (2, link(5e5, 5.1e5), "engine", "one connection gives 500 kB/s"),
            (3, link(5e5, 4e6), "relay", "one connection gives 500 kB/s"),
        ] {
            let tag = format!("sha-{at}");
            version(number + 50 + 3 * at, at).push(&registry, &format!("acme/app:{tag}")).unwrap();
            store.save_link(&registry.host(), link, host.now()).await.unwrap();
            let transfer = host.ship(&tag, None).await.pull.unwrap().transfer.unwrap();
            assert!(transfer.way == way && transfer.reason.contains(word), "{transfer:?}");
        }
        // and what this pull gave is remembered for the next
        let (learnt, _) = store.link(&registry.host()).await.unwrap().unwrap();
        assert!(learnt.many.is_some(), "{learnt:?}");
    })
    .await;
}

/// The registry's own link is filled by one connection; the mirror's is wide.
#[tokio::test(flavor = "multi_thread")]
async fn auto_reckons_with_what_a_mirror_gives() {
    on_each(|engine, number| async move {
        let (registry, mirror) = (Registry::start(Auth::Open).unwrap(), Registry::start(Auth::Open).unwrap());
        for at in [&registry, &mirror] {
            version(number + 90, 1).push(at, "acme/app:sha-1").unwrap();
        }
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host =
            Host::over(engine, &registry.host(), store.clone(), |settings, _| settings.policy.keep.clear()).await;
        let link = |many: f64| Link { one: Some(5e5), three: None, many: Some(many), connections: 8 };
        store.save_link(&registry.host(), link(5.1e5), host.now()).await.unwrap();
        store.save_link(&mirror.host(), link(4e6), host.now()).await.unwrap();
        for (with_mirror, way) in [(false, "engine"), (true, "relay")] {
            host.reload(|settings| {
                let endpoints = vec![Endpoint { host: mirror.host(), plain: true }];
                let mirrors = vec![Mirror { registry: registry.host(), cache: false, endpoints }];
                settings.transfer.mirrors = if with_mirror { mirrors } else { Vec::new() };
            });
            let transfer = host.ship("sha-1", None).await.pull.unwrap().transfer.unwrap();
            assert_eq!(transfer.way, way, "{}", transfer.reason);
            engine.run_docker(["rmi", &format!("{}/acme/app:sha-1", registry.host())]).unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_falters_at_the_manifest_ends_one_relay_and_not_all_to_come() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let host = relaying(engine, &proxy.host()).await;
        version(number + 65, 1).push(&registry, "acme/app:sha-1").unwrap();
        version(number + 65, 2).push(&registry, "acme/app:sha-2").unwrap();
        // the daemon itself has read it by its tag, and the relay reads it by its digest
        let ours = |head: &layerkeeper_testkit::http::Head| {
            head.get("user-agent").is_some_and(|agent| agent.starts_with("layerkeeper/"))
        };
        proxy.add(Fault::answer(503).on_path("/manifests/sha256:").on_method("GET").when(ours));
        let first = host.ship("sha-1", None).await.pull.unwrap().transfer.unwrap();
        assert!(first.way == "engine" && first.fallback.is_some(), "{first:?}");
        proxy.clear();
        let second = host.ship("sha-2", None).await.pull.unwrap().transfer.unwrap();
        assert!(second.way == "relay" && second.fallback.is_none(), "{second:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_the_spool_may_not_hold_goes_the_engines_way_from_the_first_byte() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(engine, &registry.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.transfer.mode = TransferMode::Relay;
            settings.transfer.spool_max = Bytes(4 * MB);
        })
        .await;
        version(number + 95, 1).push(&registry, "acme/app:sha-1").unwrap();
        let pull = host.ship("sha-1", None).await.pull.unwrap();
        let transfer = pull.transfer.unwrap();
        assert!(transfer.way == "engine" && transfer.fallback.is_none(), "{transfer:?}");
        assert!(transfer.reason.contains("larger than the spool may be (4.00 MB)"), "{transfer:?}");
        assert_eq!(pull.attempts.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_in_mid_pull_goes_on_where_it_was() {
    for kind in EngineKind::ALL {
        let mut engine = Engine::start(kind).unwrap();
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let pushed = version(50, 1).push(&registry, "acme/app:sha-1").unwrap();
        let host = relaying(&engine, &proxy.host()).await;
        proxy.hold_after(Bytes(6 * MB));
        let mark = registry.mark();
        let job = host.ask("sha-1", None).await.job.id;
        eventually(Duration::from_secs(60), async || proxy.is_holding()).await;
        engine.kill9();
        engine.start_again().unwrap();
        proxy.release();
        let row = host.end(&job).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{kind:?}: {:?}", row.outcome);
        let logged = registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Layerkeeper);
        // what each connection had in hand, a block of 256 KiB at most, and what was on its way
        assert!(logged <= pushed.layer_bytes() + Bytes(5 * MB), "{kind:?}: {logged} of {}", pushed.layer_bytes());
    }
}
