//! The spool's disk gets full in the middle of a pull through the relay: the engine pulls by itself, and nothing of the spool
//! stays on the disk.

use std::time::Duration;

use layerkeeper_core::plan::TransferMode;
use layerkeeper_core::{Bytes, Digest, JobState};
use layerkeeper_store::JobRow;
use layerkeeper_testkit::http::Head;
use layerkeeper_testkit::{Auth, Disk, Engine, EngineKind, Fault, Image, Proxy, Pushed, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

const MB: u64 = 1_000_000;
const ROOMY: Bytes = Bytes(48 << 20);
/// It would hold the image, and nothing of the state beside it.
const NARROW: Bytes = Bytes(24 << 20);
const LONG: Duration = Duration::from_secs(60);

/// A registry behind a proxy, with one image in it, and a disk of the spool's own.
struct Ground {
    proxy: Proxy,
    disk: Disk,
    pushed: Pushed,
    _registry: Registry,
}

impl Ground {
    fn new(number: u64, disk: Bytes) -> Self {
        let registry = Registry::start(Auth::Open).unwrap();
        let image = Image::new()
            .layer(layer(280, number, 1, Bytes(200_000)))
            .layer(layer(280, number, 2, Bytes(9 * MB)))
            .layer(layer(280, number, 3, Bytes(3 * MB)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let disk = Disk::ext4(disk, None).unwrap();
        Self { proxy, disk, pushed, _registry: registry }
    }

    async fn host(&self, engine: &Engine) -> Host {
        let spool = self.disk.path().join("spool");
        Host::spooling_at(spool, engine, &self.proxy.host(), |settings, _| {
            settings.policy.keep.clear();
            settings.transfer.mode = TransferMode::Relay;
        })
        .await
    }

    /// Deploys; somebody else fills the disk once half of the image is in the spool.
    async fn deploy_while_it_fills(&self, host: &Host) -> JobRow {
        self.proxy.hold_after(Bytes(6 * MB));
        let job = host.ask("sha-1", None).await.job.id;
        eventually(LONG, async || self.proxy.is_holding() && host.spooled() > Bytes(2 * MB)).await;
        self.disk.fill().unwrap();
        self.proxy.release();
        host.end(&job).await
    }

    /// What is said of it.
    fn is_told(&self, why: &str) {
        let path = self.disk.path().join("spool").display().to_string();
        assert!(why.contains(&path) && why.contains("No space left on device"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_under_the_spool_costs_time_and_not_the_deploy() {
    on_each(|engine, number| async move {
        let ground = Ground::new(number, ROOMY);
        let host = ground.host(engine).await;
        let row = ground.deploy_while_it_fills(&host).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let pull = row.outcome.pull.unwrap();
        let way = pull.transfer.clone().unwrap();
        assert_eq!(way.way, "engine", "{way:?}");
        ground.is_told(&way.fallback.unwrap());
        assert!(row.outcome.warnings[0].contains("the relay was given up"), "{:?}", row.outcome.warnings);
        assert_eq!(pull.attempts.len(), 2, "{pull:?}");
        ground.is_told(pull.attempts[0].failure.as_ref().unwrap());
        // the containerd store keeps what it had from the relay by then, and goes on from there
        let whole = Bytes(pull.downloaded_bytes) == ground.pushed.layer_bytes();
        assert!(whole || engine.kind() == EngineKind::C, "{pull:?}");
        let metrics = host.keeper.metrics_text().await;
        assert!(metrics.contains("layerkeeper_transfer_fallback_total{reason=\"spool\"} 1"), "{metrics}");
        assert_eq!(host.spooled(), Bytes::ZERO);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_of_its_own_that_is_too_small_for_the_spool_is_seen_beforehand() {
    on_each(|engine, number| async move {
        let ground = Ground::new(number + 20, NARROW);
        let host = ground.host(engine).await;
        let job = host.ask("sha-1", None).await.job.id;
        let row = host.end(&job).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let way = row.outcome.pull.unwrap().transfer.unwrap();
        assert_eq!((way.way.as_str(), way.fallback), ("engine", None));
        assert!(way.reason.starts_with("there is no room for the relay's spool of"), "{}", way.reason);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_pulls_left_in_the_spool_goes_where_its_disk_is_short() {
    on_each(|engine, number| async move {
        let ground = Ground::new(number + 30, ROOMY);
        let spool = ground.disk.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        let left = spool.join(format!("{}.blob", Digest::of(b"of another pull").hex()));
        std::fs::write(&left, vec![1; 20 << 20]).unwrap();
        let host = ground.host(engine).await;
        let job = host.ask("sha-1", None).await.job.id;
        let row = host.end(&job).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let way = row.outcome.pull.unwrap().transfer.unwrap();
        assert_eq!((way.way.as_str(), way.fallback), ("relay", None), "{}", way.reason);
        assert!(!left.exists());
    })
    .await;
}

/// The engine may need the very room that the spool has taken.
#[tokio::test(flavor = "multi_thread")]
async fn what_filled_the_disk_is_gone_before_the_engine_pulls_by_itself() {
    on_each(|engine, number| async move {
        let ground = Ground::new(number + 10, ROOMY);
        let of_engine = |head: &Head| head.get("user-agent").is_some_and(|agent| agent.starts_with("docker/"));
        ground.proxy.add(Fault::answer(403).on_path("/blobs/").when(of_engine));
        let host = ground.host(engine).await;
        let row = ground.deploy_while_it_fills(&host).await;
        assert_eq!(row.job.state, JobState::Failed, "{:?}", row.outcome);
        // the next attempts saw beforehand that there is no room
        ground.is_told(row.outcome.attempts[0].failure.as_ref().unwrap());
        assert_eq!(host.spooled(), Bytes::ZERO);
    })
    .await;
}

/// Its own pull goes elsewhere; the floor of the spool's disk is held all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_spool_is_charged_to_the_watched_disk_that_it_is_on() {
    on_each(|engine, number| async move {
        if engine.kind() == EngineKind::C {
            // where containerd writes no engine says, so there the whole pull is charged to each watched disk
            return;
        }
        let ground = Ground::new(number + 40, ROOMY);
        let host = ground.host(engine).await;
        for (floor, way) in [(Bytes(38 * MB), "engine"), (Bytes(10 * MB), "relay")] {
            host.reload(|settings| {
                settings.disk_paths = vec![ground.disk.path().to_owned()];
                settings.policy.min_free = floor;
            });
            let job = host.ask("sha-1", None).await.job.id;
            let row = host.end(&job).await;
            let transfer = row.outcome.pull.unwrap().transfer.unwrap();
            assert_eq!(transfer.way, way, "{floor}: {}", transfer.reason);
            engine.run_docker(["rmi", &format!("{}/acme/app:sha-1", ground.proxy.host())]).unwrap();
        }
    })
    .await;
}
