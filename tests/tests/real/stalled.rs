//! The watchdog: a pull that neither downloads nor extracts while the engine answers is cancelled and tried again; one that
//! is only slow is left alone.

use std::time::Duration;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Auth, Engine, Fault, Image, Proxy, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

const PATIENCE: Duration = Duration::from_secs(2);

async fn impatient(engine: &Engine, proxy: &Proxy) -> Host {
    let store = Store::open_in_memory(Options::default()).unwrap();
    Host::over(engine, &proxy.host(), store, |settings, _| {
        settings.policy.keep.clear();
        settings.stall_timeout = PATIENCE;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_stands_still_is_cancelled_and_tried_again_with_twice_the_patience() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let image = Image::new().layer(layer(95, number, 1, Bytes(3_000_000)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        let host = impatient(engine, &proxy).await;
        let blob = pushed.layers[0].blob.to_string();
        proxy.add(Fault::stall_after(Bytes(1_000_000)).on_path(&blob).times(2));
        let row = host.deploy("sha-1", None).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let pull = row.outcome.pull.unwrap();
        assert_eq!(pull.attempts.len(), 3, "{pull:?}");
        for (attempt, patience) in pull.attempts.iter().zip([PATIENCE, PATIENCE * 2]) {
            let why = attempt.failure.as_ref().unwrap();
            assert!(why.contains("stalled") && why.contains(&format!("{} s", patience.as_secs())), "{why}");
            assert!(Duration::from_millis(attempt.duration_ms) >= patience, "{attempt:?}");
        }
        assert_eq!(pull.attempts[2].failure, None);
        assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), pushed.layer_bytes(), "{pull:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_pull_that_moves_is_left_alone() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let image = Image::new().layer(layer(96, number, 1, Bytes(12_000_000)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        let host = impatient(engine, &proxy).await;
        // three times as long as it may stand still; the containerd store tells of every whole MiB only
        proxy.throttle(Some(Bytes(2_000_000)));
        let outcome = host.ship("sha-1", None).await;
        let pull = outcome.pull.unwrap();
        assert_eq!(pull.attempts.len(), 1, "{pull:?}");
        assert!(Duration::from_millis(pull.attempts[0].duration_ms) > PATIENCE * 2, "{pull:?}");
        assert_eq!((Bytes(pull.downloaded_bytes), pull.wasted_bytes), (pushed.layer_bytes(), 0));
    })
    .await;
}
