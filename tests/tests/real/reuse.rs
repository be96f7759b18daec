//! Invariant 7: what the report says moved is what the registry's own access log says it sent, to the byte.

use std::collections::HashSet;

use layerkeeper_core::{Bytes, Digest, JobState};
use layerkeeper_store::record::PullRecord;
use layerkeeper_testkit::{Agent, Auth, Engines, Image, Layer, Pushed, Registry};
use layerkeeper_tests::chain::Chain;
use layerkeeper_tests::host::Host;

/// All layers of these images.
fn layers(images: &[&Pushed]) -> HashSet<Digest> {
    images.iter().flat_map(|image| image.layer_digests()).collect()
}

fn assert_sums(pull: &PullRecord, image: &Pushed) {
    assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), image.layer_bytes(), "{pull:?}");
    assert_eq!(pull.certainty, "exact", "{:?}", pull.doubts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_of_the_next_version_moves_its_last_layer_and_the_access_log_agrees() {
    for (seed, engine) in (1..).zip(Engines::all()) {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(1000 + seed, 1).unwrap();
        let kept = chain.push_kept(&registry).unwrap();
        let host = Host::plain(engine, &registry).await;
        for row in host.prewarm().await {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
        for version in [1, 2] {
            let runtime = chain.runtime(version, Bytes(700_000)).unwrap();
            let pushed = runtime.push(&registry, &format!("acme/app:sha-{version}")).unwrap();
            let mark = registry.mark();
            let row = host.deploy(&format!("sha-{version}"), None).await;
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}: {:?}", engine.kind(), row.outcome);
            let pull = row.outcome.pull.unwrap();
            assert_sums(&pull, &pushed);
            let all = layers(&[&pushed, &kept[0], &kept[1], &kept[2]]);
            let logged = registry.bytes_of_layers(mark, &all, Agent::Engine);
            assert_eq!(Bytes(pull.downloaded_bytes), logged, "{:?}", engine.kind());
            assert_eq!(logged, pushed.layers.last().unwrap().size, "{:?}", engine.kind());
            assert_eq!(pull.wasted_bytes, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_pull_onto_an_empty_host_moves_everything_once() {
    for (seed, engine) in (1..).zip(Engines::all()) {
        let registry = Registry::start(Auth::Open).unwrap();
        let twice = Layer::random(2000 + seed, Bytes(900_000)).unwrap().created_by("COPY a /a");
        let image = Image::new()
            .layer(Layer::random(2100 + seed, Bytes(300_000)).unwrap())
            .layer(twice.clone())
            .layer(Layer::random(2200 + seed, Bytes(200_000)).unwrap())
            .layer(twice);
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        let host = Host::new(engine, &registry.host(), |policy, _| policy.keep.clear()).await;
        let mark = registry.mark();
        let row = host.deploy("sha-1", None).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}: {:?}", engine.kind(), row.outcome);
        let pull = row.outcome.pull.unwrap();
        assert_sums(&pull, &pushed);
        let logged = registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Engine);
        assert_eq!(Bytes(pull.downloaded_bytes), logged, "{:?}: a blob that stands twice moves once", engine.kind());
        assert_eq!(logged, pushed.bytes_to_fetch());
    }
}
