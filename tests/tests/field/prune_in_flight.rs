//! 1: somebody prunes while a pull is under way (moby/moby#53321).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Auth, Image, Layer, Proxy, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::host::Host;
use tokio::sync::watch;

use crate::{moved, on_own};

#[tokio::test(flavor = "multi_thread")]
async fn field_failure_01_a_prune_kills_a_pull_in_flight() {
    on_own(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let greeting = format!("hello from {number}");
        let own = Layer::files([("app/greeting", greeting.as_bytes())]).unwrap();
        let image = Image::new().layer(layer(90, number, 1, Bytes(3_000_000))).layer(own);
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(&engine, &proxy.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.max_attempts = 50;
        })
        .await;
        proxy.throttle(Some(Bytes(1_500_000)));
        proxy.hold_after(Bytes(1_500_000));
        let id = host.ask("sha-1", Some(pushed.digest)).await.job.id;
        moved(&host, &id, Bytes(500_000)).await;
        // at any moment of a pull, of its naming, and between them
        let engine = Arc::new(engine);
        let done = Arc::new(AtomicBool::new(false));
        let (told, mut pruned) = watch::channel(0u32);
        let pruner = tokio::task::spawn_blocking({
            let (engine, done) = (engine.clone(), done.clone());
            move || {
                while !done.load(Ordering::SeqCst) {
                    engine.run_docker(["image", "prune", "--force"]).unwrap();
                    told.send_modify(|times| *times += 1);
                    // a gap in which a pull of a few megabytes can get through
                    std::thread::sleep(Duration::from_millis(1500));
                }
            }
        });
        pruned.wait_for(|times| *times > 0).await.unwrap();
        proxy.throttle(None);
        proxy.release();
        let row = host.end(&id).await;
        done.store(true, Ordering::SeqCst);
        pruner.await.unwrap();
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let here = host.here("app:sha-1").await.unwrap();
        assert!(here.has_digest(&host.name("app:sha-1").repository, pushed.digest));
        assert_eq!(here.layers, pushed.diff_ids());
        let pull = row.outcome.pull.unwrap();
        let failed: u64 = pull.attempts.iter().filter(|a| a.failure.is_some()).map(|a| a.moved_bytes).sum();
        assert!(pull.wasted_bytes >= failed, "{pull:?}");
        assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), pushed.layer_bytes());
        // not by its word alone: the file is there
        let name = host.name("app:sha-1").to_string();
        engine.run_docker(["create", "--name", "reader", &name, "/none"]).unwrap();
        assert_eq!(engine.run_docker(["cp", "reader:/app/greeting", "-"]).unwrap().matches(&greeting).count(), 1);
    })
    .await;
}
