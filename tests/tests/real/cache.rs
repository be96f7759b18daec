//! Pulls by way of a pull-through cache: waiting for it is no stall. More of it is in the relay's own tests and in `fleet`.

use std::time::Duration;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_keeper::{Endpoint, Mirror};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Agent, Auth, EngineKind, Engines, Image, Proxy, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::host::Host;

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_fetches_for_longer_than_a_stall_takes_is_waited_for() {
    let registry = Registry::start(Auth::Open).unwrap();
    let proxy = Proxy::start(&registry.host()).unwrap();
    let cache = Registry::cache_of(&format!("http://{}", proxy.host())).unwrap();
    let pushed = Image::new().layer(layer(95, 0, 0, Bytes(4_000_000))).push(&registry, "acme/app:sha-1").unwrap();
    let store = Store::open_in_memory(Options::default()).unwrap();
    let host = Host::over(Engines::of(EngineKind::A), &registry.host(), store, |settings, _| {
        settings.policy.keep.clear();
        settings.stall_timeout = Duration::from_secs(1);
        let endpoints = vec![Endpoint { host: cache.host(), plain: true }];
        settings.transfer.mirrors = vec![Mirror { registry: registry.host(), cache: true, endpoints }];
    })
    .await;
    proxy.throttle(Some(Bytes(200_000)));
    let mark = cache.mark();
    let job = host.ask("sha-1", None).await.job.id;
    // seven looks take two seconds at least
    let looks = async || {
        let accesses = cache.accesses(mark);
        let look = |access: &&layerkeeper_testkit::Access| {
            access.agent() == Agent::Layerkeeper && access.blob() == Some(pushed.layers[0].blob)
        };
        accesses.iter().filter(look).count() > 6
    };
    eventually(Duration::from_secs(60), looks).await;
    proxy.throttle(None);
    let row = host.end(&job).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert_eq!(row.outcome.attempts.len(), 0, "{:?}", row.outcome.attempts);
    let transfer = row.outcome.pull.unwrap().transfer.unwrap();
    assert_eq!((transfer.way.as_str(), transfer.fallback), ("relay", None));
    assert_eq!(transfer.reason, "a cache is set, which only the relay asks");
    assert_eq!(transfer.sources[0].bytes, 0, "{:?}", transfer.sources);
}
