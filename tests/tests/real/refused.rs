//! What is refused or fails, with a message that names the cause; what was here stays.

use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, JobState};
use layerkeeper_keeper::Settings;
use layerkeeper_registry::Settings as RegistrySettings;
use layerkeeper_store::record::ErrorRecord;
use layerkeeper_store::{JobRow, Options, Store};
use layerkeeper_testkit::{Agent, Auth, BuildCache, Engine, EngineKind, Image, Registry};
use layerkeeper_tests::chain::{Chain, layer};
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

/// A keeper that gives up soon.
async fn impatient(engine: &Engine, registry: &str, change: impl FnOnce(&mut Settings, &mut RegistrySettings)) -> Host {
    let store = Store::open_in_memory(Options::default()).unwrap();
    Host::over(engine, registry, store, |settings, client| {
        settings.max_attempts = 2;
        settings.not_yet_timeout = Duration::from_secs(1);
        settings.policy.keep.clear();
        change(settings, client);
    })
    .await
}

fn error(row: &JobRow, state: JobState, class: &str) -> ErrorRecord {
    assert_eq!(row.job.state, state, "{:?}", row.outcome);
    let error = row.outcome.error.clone().unwrap();
    assert_eq!(error.class, class, "{error:?}");
    assert!(!error.message.contains('/'), "for everybody: {error:?}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zstd_layer_is_refused_before_a_byte_moves_on_an_engine_that_cannot_unpack_it() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let layer = layer(40, number, 1, Bytes(400_000)).zstd();
        let digest = layer.blob().unwrap().1;
        Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
        let host = impatient(engine, &registry.host(), |_, _| {}).await;
        let row = host.deploy("sha-1", None).await;
        if engine.kind() == EngineKind::A {
            assert_eq!(row.job.state, JobState::Refused);
            let error = row.outcome.error.unwrap();
            assert!(error.message.contains(&digest.to_string()), "{error:?}");
            assert_eq!(row.outcome.moved_bytes, 0);
        } else {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_registry_down_only_a_digest_that_is_here_can_be_deployed() {
    on_each(|engine, number| async move {
        let mut registry = Registry::start(Auth::Open).unwrap();
        let one = Image::new().layer(layer(41, number, 1, Bytes(90_000))).push(&registry, "acme/app:sha-1").unwrap();
        let host = impatient(engine, &registry.host(), |_, _| {}).await;
        host.ship("sha-1", None).await;
        registry.stop();
        let outcome = host.ship("sha-1", Some(one.digest)).await;
        assert_eq!((outcome.moved_bytes, outcome.digest), (0, Some(one.digest.to_string())));

        let row = host.deploy("sha-1", None).await;
        let error_of_none = error(&row, JobState::Failed, "no_digest");
        let command = format!("layerkeeper deploy {} --digest {}", host.name("app:sha-1"), one.digest);
        assert!(error_of_none.detail.contains(&command), "{error_of_none:?}");

        let row = host.deploy("sha-2", Some(Digest::of(b"nowhere"))).await;
        let unreachable = error(&row, JobState::Failed, "registry_unreachable");
        assert!(unreachable.detail.contains(&registry.host()), "{unreachable:?}");
        assert_eq!(row.job.attempts, 2);
        assert!(host.has("app:sha-1").await);
        registry.start_again().unwrap();
        host.ship("sha-1", None).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_for_this_engine_fails_before_the_engine_asks_anybody() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let content = layer(42, number, 1, Bytes(90_000));
        BuildCache::Index.push(&registry, "acme/app:sha-1", std::slice::from_ref(&content)).unwrap();
        BuildCache::Manifest.push(&registry, "acme/app:sha-2", std::slice::from_ref(&content)).unwrap();
        Image::new().architecture("s390x").layer(content).push(&registry, "acme/app:sha-3").unwrap();
        let host = impatient(engine, &registry.host(), |_, _| {}).await;
        let mark = registry.mark();
        for (tag, class, told) in [
            ("sha-1", "not_an_image", "this is a build cache, not an image"),
            ("sha-2", "not_an_image", "this is a build cache, not an image"),
            ("sha-3", "no_platform", "has no image for linux/amd64; it has linux/s390x"),
            ("sha-4", "not_found", "is not in its registry"),
        ] {
            let row = host.deploy(tag, None).await;
            let error = error(&row, JobState::Failed, class);
            assert!(error.detail.contains(told), "{error:?}");
            assert_eq!(row.outcome.moved_bytes, 0);
        }
        let by_engine = registry.accesses(mark).iter().filter(|access| access.agent() == Agent::Engine).count();
        assert_eq!(by_engine, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_whose_bytes_are_wrong_fails_the_deploy_and_takes_nothing_along() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(1400 + number, 1).unwrap();
        chain.push_kept(&registry).unwrap();
        let host = impatient(engine, &registry.host(), |settings, _| {
            settings.policy.keep = layerkeeper_tests::host::policy(&registry.host()).keep;
        })
        .await;
        chain.runtime(1, Bytes(90_000)).unwrap().push(&registry, "acme/app:sha-1").unwrap();
        host.ship("sha-1", None).await;
        host.wind(Duration::from_secs(7200));
        let two = chain.runtime(2, Bytes(120_000)).unwrap().push(&registry, "acme/app:sha-2").unwrap();
        registry.corrupt_blob(two.layers.last().unwrap().blob).unwrap();
        let row = host.deploy("sha-2", None).await;
        let error = error(&row, JobState::Failed, "bad_content");
        assert_eq!(error.message, "a layer's bytes are wrong");
        assert!(row.outcome.prune.is_none(), "never after a failed deploy");
        assert!(row.outcome.attempts.iter().all(|attempt| attempt.failure.is_some()), "{:?}", row.outcome.attempts);
        assert!(!host.has("app:sha-2").await);
        for name in ["app:sha-1", "base:1", "cache-python:1", "cache-node:1"] {
            assert!(host.has(name).await, "{name} is gone");
        }
        let status = host.keeper.status().await;
        let tags: Vec<_> = status.runtime[0].tags.iter().map(|tag| (tag.image.clone(), tag.deploy.is_some())).collect();
        assert_eq!(tags, [(host.name("app:sha-1").to_string(), true)]);
    })
    .await;
}

/// A container was created from a name; the registry's tag now shows something else than the digest that is wanted. A
/// local tag would leave the container's image to anybody's `prune -a`.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_container_was_created_from_is_never_moved_by_a_local_tag() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let image = |n| Image::new().layer(layer(43, number, n, Bytes(90_000)));
        let one = image(1).push(&registry, "acme/app:sha-1").unwrap();
        let host = impatient(engine, &registry.host(), |_, _| {}).await;
        host.ship("sha-1", None).await;
        let name = host.name("app:sha-1").to_string();
        let container = format!("holder-{number}-secretive");
        engine.run_docker(["create", "--network", "none", "--name", &container, &name]).unwrap();
        let two = image(2).push(&registry, "acme/app:sha-2").unwrap();
        image(3).push(&registry, "acme/app:sha-1").unwrap();
        let mark = registry.mark();
        let row = host.deploy("sha-1", Some(two.digest)).await;
        let error = error(&row, JobState::Refused, "refused");
        assert!(error.detail.contains(&container), "{error:?}");
        let public = format!("{} {}", error.message, row.outcome.summary);
        assert!(!public.contains(&container), "the sender need not know: {public}");
        assert_eq!((row.job.attempts, row.outcome.moved_bytes), (1, 0));
        assert!(registry.accesses(mark).iter().all(|access| access.agent() != Agent::Engine));
        assert!(host.here("app:sha-1").await.unwrap().has_digest(&one.name.repository, one.digest));
        // by the registry's own tag it may move: then a pull does it, and the container's image is left in peace
        let outcome = host.ship("sha-1", None).await;
        assert!(outcome.pull.is_some());
        engine.run_docker(["rm", &container]).unwrap();
    })
    .await;
}
