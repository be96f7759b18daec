//! 10: the engine shows its other image store: every image is gone from view, and its disk stays used.

use layerkeeper_core::Bytes;
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Auth, Engine, EngineKind, EngineOptions, Image, Registry, Scratch};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::host::Host;

use crate::until;

async fn start(kind: EngineKind, data_root: std::path::PathBuf) -> Engine {
    let options = EngineOptions { data_root: Some(data_root), ..EngineOptions::default() };
    tokio::task::spawn_blocking(move || Engine::with(kind, &options).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn field_failure_10_the_image_store_is_flipped() {
    let scratch = Scratch::new("data-root").unwrap();
    let data_root = scratch.path().to_owned();
    let registry = Registry::start(Auth::Open).unwrap();
    Image::new().layer(layer(89, 1, 0, Bytes(200_000))).push(&registry, "acme/base:1").unwrap();
    for n in 1..=2 {
        Image::new().layer(layer(89, 1, n, Bytes(200_000))).push(&registry, &format!("acme/app:sha-{n}")).unwrap();
    }
    let folder = Scratch::new("state").unwrap();
    let store = || Store::open(folder.path(), Options::default()).unwrap();
    let keep_one = |settings: &mut layerkeeper_keeper::Settings| settings.policy.keep.truncate(1);
    {
        let engine = start(EngineKind::B, data_root.clone()).await;
        let host = Host::over(&engine, &registry.host(), store(), |settings, _| keep_one(settings)).await;
        for n in 1..=2 {
            host.ship(&format!("sha-{n}"), None).await;
        }
        assert!(host.keeper.status().await.prune_blocked.is_none());
        host.stop().await;
    }
    let engine = start(EngineKind::C, data_root.clone()).await;
    let host = Host::over(&engine, &registry.host(), store(), |settings, _| keep_one(settings)).await;
    until(&host, "the kept set is back", |seen| {
        let status = &seen.status;
        status.ready && status.queued == 0 && status.running.is_none() && status.kept[0].present
    })
    .await;
    let status = host.keeper.status().await;
    assert!(status.prune_blocked.is_some(), "{status:?}");
    assert!(status.runtime[0].tags.is_empty(), "the old store's tags are not healed: {status:?}");
    let told = host.keeper.events(500).await.unwrap();
    let said = |text: &str| told.iter().any(|event| event.message.contains(text));
    assert!(said("another image store: nothing of the old one is here, and its disk stays used"), "{told:#?}");
    let metrics = host.keeper.metrics_text().await;
    assert!(metrics.contains("layerkeeper_heals_total{cause=\"store flip\""), "{metrics}");
    host.ship("sha-2", None).await;
    assert!(host.keeper.status().await.prune_blocked.is_none());
    host.stop().await;
    drop(engine);
    // and back: the old store's images are in view again, and nothing of them goes before a deploy
    let engine = start(EngineKind::B, data_root).await;
    let host = Host::over(&engine, &registry.host(), store(), |settings, _| keep_one(settings)).await;
    until(&host, "it is seen", |seen| seen.status.ready).await;
    host.wind(std::time::Duration::from_secs(7200));
    let prune = host.prune(false).await;
    assert!(prune.blocked.is_some() && prune.removals.is_empty(), "{prune:?}");
    assert!(host.has("app:sha-1").await && host.has("app:sha-2").await);
}
