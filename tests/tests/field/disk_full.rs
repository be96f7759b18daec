//! 3: the disk runs full in the middle of it, and the engine calls that something else (moby/moby#17168).

use layerkeeper_core::plan::TransferMode;
use layerkeeper_core::{Bytes, JobState};
use layerkeeper_engine::Engine as _;
use layerkeeper_keeper::{Disks, SystemDisks};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Auth, Disk, Engine, EngineKind, EngineOptions, Image, Proxy, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::host::Host;

use crate::{SOON, moved, until};

const MB: u64 = 1_000_000;

/// An engine on a disk of its own, of this size.
fn small(kind: EngineKind, size: Bytes, inodes: Option<u64>) -> (Engine, Disk) {
    let disk = Disk::ext4(size, inodes).unwrap();
    let data_root = disk.path().join("data");
    std::fs::create_dir(&data_root).unwrap();
    (Engine::with(kind, &EngineOptions { data_root: Some(data_root), ..EngineOptions::default() }).unwrap(), disk)
}

async fn host(engine: &Engine, registry: &str, min_free: u64) -> Host {
    let store = Store::open_in_memory(Options::default()).unwrap();
    Host::over(engine, registry, store, |settings, _| {
        settings.policy.keep.truncate(1);
        settings.policy.min_free = Bytes(min_free);
        settings.max_attempts = 2;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn field_failure_03_disk_full_in_mid_extract() {
    for (number, kind) in (1..).zip(EngineKind::ALL) {
        let (engine, disk) = tokio::task::spawn_blocking(move || small(kind, Bytes(400 * MB), None)).await.unwrap();
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        Image::new().layer(layer(92, number, 0, Bytes(2 * MB))).push(&registry, "acme/base:1").unwrap();
        let layers = (1..=3).map(|n| layer(92, number, n, Bytes(12 * MB)));
        layers.fold(Image::new(), Image::layer).push(&registry, "acme/app:sha-1").unwrap();
        let host = host(&engine, &proxy.host(), 0).await;
        until(&host, "the base is here", |seen| seen.status.kept[0].present).await;
        proxy.throttle(Some(Bytes(8 * MB)));
        proxy.hold_after(Bytes(16 * MB));
        let id = host.ask("sha-1", None).await.job.id;
        moved(&host, &id, Bytes(12 * MB)).await;
        // somebody else's data
        disk.fill_to(Bytes(6 * MB)).unwrap();
        proxy.throttle(None);
        proxy.release();
        let row = host.end(&id).await;
        assert_eq!(row.job.state, JobState::Failed, "{kind:?}: {:?}", row.outcome);
        let error = row.outcome.error.unwrap();
        assert_eq!(error.class, "no_space", "{kind:?}: {error:?}");
        let leftovers = if kind == EngineKind::C { "keeps it for up to 8 hours" } else { "threw it away" };
        assert!(error.detail.contains(leftovers), "{kind:?}: {error:?}");
        assert!(row.outcome.attempts.iter().any(|attempt| attempt.moved_bytes > 0), "{:?}", row.outcome.attempts);
        // the engine lives, and the kept set is whole
        engine.version().unwrap();
        assert!(host.keeper.status().await.kept[0].present);
        assert!(!host.has("app:sha-1").await);
        std::fs::remove_file(disk.path().join("filler")).unwrap();
        host.ship("sha-1", None).await;
        assert_eq!(host.engine.inventory().await.unwrap().images.len(), 2);
    }
}

/// The engine's disk has no room for the image beside the relay's spool, and has it without.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_for_the_spools_sake_costs_the_relay_and_not_the_deploy() {
    for (number, kind) in (1..).zip(EngineKind::ALL) {
        let (engine, disk) = tokio::task::spawn_blocking(move || small(kind, Bytes(400 * MB), None)).await.unwrap();
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let own = Image::new().layer(layer(95, number, 1, Bytes(MB))).layer(layer(95, number, 2, Bytes(40 * MB)));
        own.push(&registry, "acme/app:sha-1").unwrap();
        let host = Host::spooling_at(disk.path().join("spool"), &engine, &proxy.host(), |settings, _| {
            settings.policy.keep.clear();
            settings.policy.min_free = Bytes::ZERO;
            settings.transfer.mode = TransferMode::Relay;
            settings.max_attempts = 1;
        })
        .await;
        proxy.hold_after(Bytes(36 * MB));
        let id = host.ask("sha-1", None).await.job.id;
        until(&host, "nearly all is in the spool", |_| proxy.is_holding() && host.spooled() > Bytes(30 * MB)).await;
        // it takes 80 MB, and the spool has 41
        disk.fill_to(Bytes(55 * MB)).unwrap();
        proxy.release();
        let row = host.end(&id).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{kind:?}: {:?}", row.outcome);
        let way = row.outcome.pull.unwrap().transfer.unwrap();
        let why = way.fallback.unwrap_or_default();
        assert!(way.way == "engine" && why.contains("the engine's disk is full"), "{kind:?}: {why}");
        let metrics = host.keeper.metrics_text().await;
        assert!(metrics.contains("layerkeeper_transfer_fallback_total{reason=\"no_space\"} 1"), "{metrics}");
        assert_eq!(host.spooled(), Bytes::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_fit_is_refused_before_a_byte_moves_and_old_tags_make_room_where_they_can() {
    for (number, kind) in (1..).zip(EngineKind::ALL) {
        let (engine, _disk) = tokio::task::spawn_blocking(move || small(kind, Bytes(400 * MB), None)).await.unwrap();
        let registry = Registry::start(Auth::Open).unwrap();
        Image::new().layer(layer(93, number, 0, Bytes(2 * MB))).push(&registry, "acme/base:1").unwrap();
        let own = |n| Image::new().layer(layer(93, number, n, Bytes(15 * MB)));
        for n in 1..=4 {
            own(n).push(&registry, &format!("acme/app:sha-{n}")).unwrap();
        }
        let host = host(&engine, &registry.host(), MB).await;
        for n in 1..=3 {
            host.ship(&format!("sha-{n}"), None).await;
        }
        // the fourth takes 30 MB at its peak (what cannot be compressed grows by nothing), and one of the old gives 15
        let peak = 30 * MB;
        let free = || free_on(engine.data_root());
        host.set_min_free(Bytes(free() - peak + 8 * MB));
        let mark = registry.mark();
        let outcome = host.ship("sha-4", None).await;
        let pressure = outcome.pressure.unwrap();
        let gone: Vec<&str> = pressure.removals.iter().filter(|r| r.outcome == "removed").map(|r| &*r.name).collect();
        assert!(gone.contains(&&*host.name("app:sha-1").to_string()), "{kind:?}: {pressure:?}");
        assert!(host.has("app:sha-4").await && host.has("base:1").await);
        assert!(!registry.accesses(mark).is_empty());

        // now nothing that may go is enough
        host.set_min_free(Bytes(free() + 300 * MB));
        own(5).push(&registry, "acme/app:sha-5").unwrap();
        let before = host.engine.inventory().await.unwrap().images;
        let mark = registry.mark();
        let row = host.deploy("sha-5", None).await;
        assert_eq!(row.job.state, JobState::Refused, "{kind:?}: {:?}", row.outcome);
        let error = row.outcome.error.unwrap();
        assert_eq!(error.class, "no_room");
        assert!(error.detail.contains("nothing was removed") && error.message.contains("are missing"), "{error:?}");
        assert_eq!(host.engine.inventory().await.unwrap().images, before);
        assert!(registry.accesses(mark).iter().all(|access| access.blob().is_none() || access.bytes.0 < 10_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_inodes_are_seen_before_the_pull_and_named() {
    let kind = EngineKind::A;
    let (engine, _disk) = tokio::task::spawn_blocking(move || small(kind, Bytes(400 * MB), Some(1200))).await.unwrap();
    let registry = Registry::start(Auth::Open).unwrap();
    Image::new().layer(layer(94, 1, 0, Bytes(2 * MB))).push(&registry, "acme/base:1").unwrap();
    let many = layerkeeper_testkit::Layer::random_files("many", 94, 40, Bytes(40 * MB)).unwrap();
    Image::new().layer(many).push(&registry, "acme/app:sha-1").unwrap();
    let host = host(&engine, &registry.host(), MB).await;
    let row = tokio::time::timeout(SOON, host.deploy("sha-1", None)).await.unwrap();
    assert_eq!(row.job.state, JobState::Refused, "{:?}", row.outcome);
    let error = row.outcome.error.unwrap();
    assert!(error.class == "no_room" && error.message.contains("inodes are missing"), "{error:?}");
}

fn free_on(path: &std::path::Path) -> u64 {
    SystemDisks.look(path).unwrap().free.0
}
