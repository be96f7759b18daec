//! How fast the background may pull, and when that ends.

use std::time::{Duration, Instant};

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Auth, Engine, Image, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use crate::relay::version;

const MB: u64 = 1_000_000;
const LONG: Duration = Duration::from_secs(30);

/// A keeper whose one kept image takes a minute at the rate of the background.
async fn slow(engine: &Engine, registry: &Registry, store: &Store, seed: u64) -> Host {
    let base = Image::new().layer(layer(270, seed, 1, Bytes(6 * MB)));
    base.push(registry, "acme/base:1").unwrap();
    Host::over(engine, &registry.host(), store.clone(), |settings, _| {
        settings.policy.keep.truncate(1);
        settings.transfer.background_rate = Some(Bytes(100_000));
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_to_by_the_relay_and_lifted_when_a_deploy_waits() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        version(number + 80, 1).push(&registry, "acme/app:sha-1").unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = slow(engine, &registry, &store, number).await;
        let begun = Instant::now();
        let warm = host.keeper.prewarm(&[], 0).await.unwrap();
        let moving = async || host.spooled() > Bytes::ZERO;
        eventually(LONG, moving).await;
        let row = host.deploy("sha-1", None).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let row = host.end(&warm[0].job.id).await;
        let transfer = row.outcome.pull.unwrap().transfer.unwrap();
        assert!(transfer.way == "relay" && transfer.reason.contains("a rate is set"), "{transfer:?}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
        let learnt = store.link(&registry.host()).await.unwrap();
        assert!(
            learnt.is_none_or(|(link, _)| link.many.is_none()),
            "what a limit lets through says nothing of the link"
        );
    })
    .await;
}

/// It was there before, and waited for its time to be tried again: nobody tells of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_waited_for_its_tag_lifts_the_rate_when_it_is_due() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = slow(engine, &registry, &store, number + 10).await;
        let deploy = host.ask("sha-1", None).await.job.id;
        let waits = async || {
            let job = store.job(&deploy).await.unwrap().unwrap().job;
            job.state == JobState::Queued && job.attempts > 0
        };
        eventually(LONG, waits).await;
        version(number + 85, 1).push(&registry, "acme/app:sha-1").unwrap();
        let begun = Instant::now();
        host.keeper.prewarm(&[], 0).await.unwrap();
        assert_eq!(host.end(&deploy).await.job.state, JobState::Succeeded);
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    })
    .await;
}
