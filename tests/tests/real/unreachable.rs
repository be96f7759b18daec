//! The daemon cannot reach the registry, and the engine can: through its own proxy or mirrors, say.

use std::fs;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_testkit::{Agent, Auth, Engine, EngineKind, Image, Registry, Scratch};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

/// A keeper whose own client speaks TLS to a registry that does not.
async fn host(engine: &Engine, registry: &Registry, keeps: bool) -> (Host, Scratch) {
    let scratch = Scratch::new("certs").unwrap();
    fs::create_dir(scratch.path().join(registry.host())).unwrap();
    let host = Host::new(engine, &registry.host(), |policy, client| {
        policy.keep.truncate(usize::from(keeps));
        client.certs_dir = scratch.path().to_owned();
    })
    .await;
    (host, scratch)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_goes_on_through_the_engine_and_says_what_it_does_not_know() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let shared = layer(70, number, 1, Bytes(300_000));
        let (host, _certs) = host(engine, &registry, false).await;
        for n in 1..=2 {
            let image = Image::new().layer(shared.clone()).layer(layer(70, number, 1 + n, Bytes(400_000)));
            let pushed = image.push(&registry, &format!("acme/app:sha-{n}")).unwrap();
            let mark = registry.mark();
            // by tag and by digest
            let outcome = host.ship(&format!("sha-{n}"), (n == 2).then_some(pushed.digest)).await;
            let pull = outcome.pull.unwrap();
            assert_eq!(pull.certainty, "inferred");
            assert!(!pull.doubts.is_empty() && pull.estimate.is_none(), "{pull:?}");
            let logged = registry.bytes_of_layers(mark, &pushed.layer_digests(), Agent::Engine);
            let told = Bytes(pull.downloaded_bytes);
            // the containerd store's stream says nothing of a layer that comes within a tenth of a second
            let all = engine.kind() != EngineKind::C;
            assert!(told <= logged && (!all || told == logged), "what the stream saw moving of {logged}: {pull:?}");
            assert_eq!(logged, pushed.layers[usize::from(n == 2)..].iter().map(|layer| layer.size).sum());
            assert_eq!(outcome.digest, Some(pushed.digest.to_string()));
            let ours = registry.accesses(mark).iter().filter(|access| access.agent() == Agent::Layerkeeper).count();
            assert_eq!(ours, 0, "the daemon had no word with it");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_image_comes_and_follows_its_tag_through_the_engine() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let (host, _certs) = host(engine, &registry, true).await;
        for n in 1..=2 {
            let image = Image::new().layer(layer(71, number, n, Bytes(90_000)));
            let pushed = image.push(&registry, "acme/base:1").unwrap();
            let row = host.prewarm().await.remove(0);
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
            let here = host.here("base:1").await.unwrap();
            assert!(here.has_digest(&pushed.name.repository, pushed.digest), "version {n}: {here:?}");
        }
    })
    .await;
}

/// The engine's own "not found" is the registry's word: the tag is waited for, as it would be otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_not_there_yet_is_waited_for_through_the_engine_too() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let (host, _certs) = host(engine, &registry, false).await;
        let answer = host.ask("sha-1", None).await;
        let waits = || async {
            let row = host.keeper.job(&answer.job.id).await.unwrap().unwrap();
            assert!(!row.job.state.is_final(), "{:?}", row.outcome);
            row.outcome.error.map(|error| error.class)
        };
        let class = layerkeeper_testkit::eventually(std::time::Duration::from_secs(20), waits).await;
        assert_eq!(class, "not_found");
        Image::new().layer(layer(72, number, 1, Bytes(90_000))).push(&registry, "acme/app:sha-1").unwrap();
        assert_eq!(host.end(&answer.job.id).await.job.state, JobState::Succeeded);
    })
    .await;
}
