//! What a running pull tells of its pace, and what its record keeps of the choice.

use std::fs::File;
use std::time::{Duration, Instant, SystemTime};

use layerkeeper_core::plan::{Link, TransferMode};
use layerkeeper_core::{Bytes, Digest, JobState};
use layerkeeper_keeper::{Phase, Progress};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Auth, Engine, EngineKind, Engines, Image, Proxy, Registry, Scratch, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use crate::relay::version;

const MB: u64 = 1_000_000;
const LONG: Duration = Duration::from_secs(60);

/// What was told of a deploy, and when; until everything of this size had come.
async fn told_of(host: &Host, tag: &str, size: Bytes) -> Vec<(Duration, Progress)> {
    let id = host.ask(tag, None).await.job.id;
    let begun = Instant::now();
    let mut follow = host.keeper.follow(&id).await.unwrap().unwrap();
    let mut told = Vec::new();
    let all = async {
        while follow.changed().await.is_ok() {
            let progress = follow.borrow_and_update().clone();
            let is_last = progress.moved_bytes >= size.0 || progress.is_final();
            told.push((begun.elapsed(), progress));
            if is_last {
                break;
            }
        }
    };
    tokio::time::timeout(LONG, all).await.expect("all of it comes");
    let row = host.end(&id).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    told
}

/// The first that was told of the pull: its pace counts from there.
fn first(told: &[(Duration, Progress)]) -> &(Duration, Progress) {
    told.iter().find(|(_, progress)| progress.phase == Phase::Pulling).unwrap()
}

/// Bytes per second of the five seconds before, by what was told then; at most since the pull began.
fn pace(told: &[(Duration, Progress)], at: Duration) -> u64 {
    let until = told.iter().rfind(|(then, _)| *then <= at).unwrap();
    let first = first(told);
    let earlier = |then: &Duration| *then + Duration::from_secs(5) <= at;
    let since = told.iter().rfind(|(then, _)| earlier(then)).filter(|(then, _)| *then >= first.0).unwrap_or(first);
    let bytes = until.1.moved_bytes - since.1.moved_bytes;
    (bytes as f64 / (until.0 - since.0).as_secs_f64().max(1e-3)) as u64
}

/// A keeper that pulls through the relay over one connection.
async fn by_one(engine: &Engine, registry: &str, max_rate: Option<Bytes>) -> Host {
    let store = Store::open_in_memory(Options::default()).unwrap();
    Host::over(engine, registry, store, |settings, _| {
        settings.policy.keep.clear();
        settings.transfer.mode = TransferMode::Relay;
        settings.transfer.connections = 1;
        settings.transfer.max_rate = max_rate;
    })
    .await
}

/// A layer is slow and its size is known; a second one lies here already.
#[tokio::test(flavor = "multi_thread")]
async fn the_rate_and_the_time_left_are_right() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let base = Image::new().layer(layer(290, number, 1, Bytes(MB)));
        base.push(&registry, "acme/app:sha-1").unwrap();
        let next = Image::from(&base).layer(layer(290, number, 2, Bytes(16 * MB))).push(&registry, "acme/app:sha-2");
        let size = next.unwrap().layers[1].size;
        let host = by_one(engine, &proxy.host(), None).await;
        host.ship("sha-1", None).await;
        proxy.throttle_each(Some(Bytes(2 * MB)));
        let told = told_of(&host, "sha-2", size).await;
        let (end, _) = told.last().unwrap();
        let (begun, _) = first(&told);
        let is_middle =
            |at: &Duration| *at > *begun + Duration::from_millis(2500) && *at + Duration::from_secs(1) < *end;
        let middle: Vec<_> = told.iter().filter(|(at, _)| is_middle(at)).collect();
        assert!(middle.len() >= 5, "{told:?}");
        let mut off = Vec::new();
        for (at, progress) in middle {
            let (rate, left) = (progress.bytes_per_second.unwrap(), progress.seconds_left.unwrap());
            let came = pace(&told, *at);
            assert!(rate.abs_diff(came) <= came / 4, "{came} at {at:?} of {end:?}: {progress:?}");
            let takes = (size.0 - progress.moved_bytes).div_ceil(rate);
            assert!(left.abs_diff(takes) <= 1, "{takes} s at {at:?} of {end:?}: {progress:?}");
            off.push((*at + Duration::from_secs(left)).abs_diff(*end));
        }
        // a busy machine may be slow for a moment, and most of what is foretold comes true
        off.sort();
        assert!(off[off.len() / 2] <= Duration::from_secs(2), "{off:?} of {told:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_comes_in_a_second_than_max_rate() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let image = Image::new().layer(layer(291, number, 1, Bytes(8 * MB)));
        let size = image.push(&registry, "acme/app:sha-1").unwrap().layers[0].size;
        let host = by_one(engine, &registry.host(), Some(Bytes(2 * MB))).await;
        let told = told_of(&host, "sha-1", size).await;
        let came = |until: f64| told.iter().rfind(|(at, _)| at.as_secs_f64() <= until).map(|(_, p)| p.moved_bytes);
        let (end, _) = told.last().unwrap();
        assert!(end.as_secs_f64() >= 3.0, "8 MB at 2 MB/s came in {end:?}");
        assert!(came(2.0).is_none_or(|moved| moved <= 5 * MB), "{told:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_has_what_the_choice_went_by() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        version(number + 130, 1).push(&registry, "acme/app:sha-1").unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host =
            Host::over(engine, &registry.host(), store.clone(), |settings, _| settings.policy.keep.clear()).await;
        let link = Link { one: Some(5e5), three: Some(1.2e6), many: Some(4e6), connections: 8 };
        store.save_link(&registry.host(), link, host.now()).await.unwrap();
        let transfer = host.ship("sha-1", None).await.pull.unwrap().transfer.unwrap();
        let (by_engine, by_relay) = (transfer.engine_seconds.unwrap(), transfer.relay_seconds.unwrap());
        // 8.9 MB, most of it in one layer
        assert!((7.0..20.0).contains(&by_engine) && (2.0..5.0).contains(&by_relay), "{transfer:?}");
        for words in ["one connection gives 500 kB/s", "three give 1.20 MB/s", "8 give 4.00 MB/s"] {
            assert!(transfer.reason.contains(words), "{transfer:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_elsewhere_pulls_by_itself() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        version(number + 140, 1).push(&registry, "acme/app:sha-1").unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(engine, &registry.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.transfer.mode = TransferMode::Relay;
            settings.transfer.engine_is_here = false;
        })
        .await;
        let transfer = host.ship("sha-1", None).await.pull.unwrap().transfer.unwrap();
        assert!(transfer.way == "engine" && transfer.fallback.is_none(), "{transfer:?}");
        assert!(transfer.reason.contains("loopback is not its own"), "{transfer:?}");
    })
    .await;
}

/// What nobody takes up again is counted and told, and goes after a day.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_spool_is_told_and_goes_when_it_is_old() {
    let registry = Registry::start(Auth::Open).unwrap();
    let scratch = Scratch::new("spool").unwrap();
    let spool = scratch.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let leave = |name: &str, age: Duration| {
        let path = spool.join(format!("{}.blob", Digest::of(name.as_bytes()).hex()));
        std::fs::write(&path, vec![1; 3_000_000]).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    };
    let (old, young) = (leave("old", Duration::from_secs(25 * 3600)), leave("young", Duration::from_secs(23 * 3600)));
    let host = Host::spooling_at(spool.clone(), Engines::of(EngineKind::B), &registry.host(), |settings, _| {
        settings.policy.keep.clear();
    })
    .await;
    eventually(LONG, async || !old.exists()).await;
    assert!(young.exists());
    // by blocks on the disk
    let told = host.keeper.status().await.spool_bytes;
    assert!((3_000_000..3_100_000).contains(&told), "{told}");
    let metrics = host.keeper.metrics_text().await;
    assert!(metrics.contains(&format!("\nlayerkeeper_spool_bytes {told}\n")), "{metrics}");
}
