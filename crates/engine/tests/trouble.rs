//! What real engines say when a pull goes wrong, and that it is understood.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use futures_util::StreamExt;
use layerkeeper_core::progress::PullEvent;
use layerkeeper_core::{Bytes, Reference};
use layerkeeper_engine::docker::Docker;
use layerkeeper_engine::{Engine, EngineError};
use layerkeeper_testkit::{Auth, EngineKind, Engines, Fault, Image, Layer, Proxy, Pushed, Registry};

/// Far more than any of these takes.
const LIMIT: Duration = Duration::from_secs(60);

struct Ground {
    docker: Docker,
    registry: Registry,
    proxy: Proxy,
    kind: EngineKind,
}

impl Ground {
    fn new(kind: EngineKind) -> Self {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        Self { docker: Docker::connect(&Engines::of(kind).host()).unwrap(), registry, proxy, kind }
    }

    fn push(&self, name: &str, layer: Layer) -> Pushed {
        Image::new().layer(layer).push(&self.registry, name).unwrap()
    }

    async fn failure(&self, reference: &Reference) -> EngineError {
        let pull = async {
            let mut stream = self.docker.pull(reference, None).await?;
            while let Some(line) = stream.next().await {
                line?;
            }
            Ok(())
        };
        let result: Result<(), EngineError> = tokio::time::timeout(LIMIT, pull).await.unwrap();
        let error = result.expect_err("the pull should fail");
        assert_eq!(self.docker.image(reference).await, Ok(None), "after {error}");
        error
    }
}

async fn broken_content(ground: &Ground) {
    let pushed = ground.push("trouble/corrupt:t", Layer::random(101, Bytes(50_000)).unwrap());
    ground.registry.corrupt_blob(pushed.layers[0].blob).unwrap();
    let error = ground.failure(&pushed.name.to_reference()).await;
    assert!(matches!(error, EngineError::BadContent(_)), "{error:?}");
}

async fn a_lost_blob(ground: &Ground) {
    let pushed = ground.push("trouble/lost:t", Layer::random(102, Bytes(50_000)).unwrap());
    ground.registry.lose_blob(pushed.layers[0].blob).unwrap();
    let error = ground.failure(&pushed.name.to_reference()).await;
    assert!(matches!(error, EngineError::BlobMissing(_)), "{error:?}");
}

async fn a_registry_that_refuses(ground: &Ground) {
    let pushed = ground.push("trouble/refuse:t", Layer::random(103, Bytes(50_000)).unwrap());
    let reference = pushed.via(&ground.proxy.host()).unwrap().name.to_reference();
    for (status, code) in [(429, "TOOMANYREQUESTS"), (503, "UNAVAILABLE")] {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"come back later"}}]}}"#);
        ground
            .proxy
            .add(Fault::answer(status).header("Content-Type", "application/json").body(body).on_path("/manifests/"));
        let error = ground.failure(&reference).await;
        ground.proxy.clear();
        match status {
            429 => assert!(matches!(error, EngineError::TooManyRequests(_)), "{error:?}"),
            _ => assert!(matches!(error, EngineError::RegistryUnreachable(_)), "{error:?}"),
        }
        assert!(error.is_transient());
    }
}

/// The engine knows zstd from 23 on.
async fn zstd_on_an_old_engine(ground: &Ground) {
    let pushed = ground.push("trouble/zstd:t", Layer::random(104, Bytes(50_000)).unwrap().zstd());
    let error = ground.failure(&pushed.name.to_reference()).await;
    assert!(matches!(error, EngineError::BadContent(_)), "{error:?}");
}

/// Engines 28 and 29 with the containerd store lose the pull (moby/moby#53321); 20.10 and 26.1 do not, with either
/// store.
async fn a_prune_under_a_pull(ground: &Ground) {
    let small = Layer::random(106, Bytes(20_000)).unwrap();
    let image = Image::new().layer(small).layer(Layer::random(105, Bytes(3_000_000)).unwrap());
    let pushed = image.push(&ground.registry, "trouble/prune:t").unwrap();
    let reference = pushed.via(&ground.proxy.host()).unwrap().name.to_reference();
    ground.proxy.throttle(Some(Bytes(500_000)));
    let mut stream = ground.docker.pull(&reference, None).await.unwrap();
    while ground.proxy.sent() < Bytes(1_000_000) {
        stream.next().await.unwrap().unwrap();
    }
    Engines::of(ground.kind).run_docker(["image", "prune", "--force", "--filter", "label=no-such-label"]).unwrap();
    let mut last = None;
    while let Some(line) = tokio::time::timeout(LIMIT, stream.next()).await.unwrap() {
        last = Some(line);
    }
    ground.proxy.throttle(None);
    assert!(matches!(last, Some(Ok(PullEvent::Done(_)))), "{last:?}");
    ground.docker.remove(&reference).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_in_mid_pull_breaks_off_and_then_does_not_answer() {
    let mut engine = layerkeeper_testkit::Engine::start(EngineKind::A).unwrap();
    let docker = Docker::connect(&engine.host()).unwrap();
    let registry = Registry::start(Auth::Open).unwrap();
    let proxy = Proxy::start(&registry.host()).unwrap();
    let image = Image::new().layer(Layer::random(107, Bytes(3_000_000)).unwrap());
    let reference = image.push(&registry, "trouble/dies:t").unwrap().via(&proxy.host()).unwrap().name.to_reference();
    proxy.throttle(Some(Bytes(500_000)));
    let mut stream = docker.pull(&reference, None).await.unwrap();
    while proxy.sent() < Bytes(500_000) {
        stream.next().await.unwrap().unwrap();
    }
    engine.kill9();
    let mut last = None;
    while let Some(line) = tokio::time::timeout(LIMIT, stream.next()).await.unwrap() {
        last = Some(line);
    }
    assert!(matches!(last, Some(Err(EngineError::BrokenOff(_)))), "{last:?}");
    let away = docker.pull(&reference, None).await.map(drop);
    assert!(matches!(away, Err(EngineError::Unreachable { .. })), "{away:?}");
}

async fn all(kind: EngineKind) {
    let ground = Ground::new(kind);
    broken_content(&ground).await;
    a_lost_blob(&ground).await;
    a_registry_that_refuses(&ground).await;
    if kind == EngineKind::A {
        zstd_on_an_old_engine(&ground).await;
    }
    a_prune_under_a_pull(&ground).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_20_10_is_understood() {
    all(EngineKind::A).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_26_1_with_the_classic_store_is_understood() {
    all(EngineKind::B).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_26_1_with_the_containerd_store_is_understood() {
    all(EngineKind::C).await;
}
