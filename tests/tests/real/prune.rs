//! Old tags go, with everything that our own pulls left of them, and nothing else does.

use std::time::Duration;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_engine::Engine as _;
use layerkeeper_testkit::{Auth, Engines, Registry};
use layerkeeper_tests::chain::Chain;
use layerkeeper_tests::host::Host;

#[tokio::test(flavor = "multi_thread")]
async fn an_old_tag_goes_with_its_last_layer_and_the_kept_images_stay() {
    for (seed, engine) in (1..).zip(Engines::all()) {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(4000 + seed, 1).unwrap();
        chain.push_kept(&registry).unwrap();
        let host = Host::plain(engine, &registry).await;
        let mut old = None;
        for version in [1, 2] {
            let runtime = chain.runtime(version, Bytes(700_000)).unwrap();
            let pushed = runtime.push(&registry, &format!("acme/app:sha-{version}")).unwrap();
            host.deploy(&format!("sha-{version}"), None).await;
            old.get_or_insert(pushed);
        }
        host.wind(Duration::from_secs(7200));
        let row = host.deploy("sha-2", None).await;
        assert_eq!(row.job.state, JobState::Succeeded);
        let prune = row.outcome.prune.unwrap();
        let inventory = host.engine.inventory().await.unwrap();
        let old = old.unwrap();
        assert!(inventory.find(&old.by_digest()).is_none(), "{:?}: nothing is left: {prune:?}", engine.kind());
        assert!(inventory.named(&host.name("app:sha-1")).is_none());
        for kept in ["base:1", "cache-python:1", "cache-node:1", "app:sha-2"] {
            assert!(inventory.named(&host.name(kept)).is_some(), "{:?}: {kept} is gone", engine.kind());
        }
        assert!(prune.freed_bytes > 600_000, "{:?}: {prune:?}", engine.kind());
    }
}
