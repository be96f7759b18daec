//! Kept images: found out what became of them, and brought back.

use std::collections::HashSet;
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, JobState};
use layerkeeper_keeper::status::KeptStatus;
use layerkeeper_store::JobRow;
use layerkeeper_testkit::{Agent, Auth, Engine, EngineKind, Fault, Image, Index, Proxy, Pushed, Registry, eventually};
use layerkeeper_tests::chain::{Chain, layer};
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

/// A keeper that keeps `acme/base:1`, maybe pinned.
async fn host(engine: &Engine, registry: &str, pin: Option<Digest>) -> Host {
    Host::new(engine, registry, |policy, _| {
        policy.keep.truncate(1);
        policy.keep[0].pin = pin;
    })
    .await
}

fn image(test: u64, engine: u64, n: u64) -> Image {
    Image::new().layer(layer(test, engine, n, Bytes(120_000)))
}

async fn refresh(host: &Host) -> JobRow {
    host.prewarm().await.remove(0)
}

async fn refreshed(host: &Host) -> KeptStatus {
    let row = refresh(host).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    host.keeper.status().await.kept.remove(0)
}

async fn assert_is(host: &Host, pushed: &Pushed) {
    let here = host.here("base:1").await.expect("base:1 is here");
    assert!(here.has_digest(&pushed.name.repository, pushed.digest), "{here:?}");
    assert_eq!(here.layers, pushed.diff_ids());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moved_or_went_away_is_brought_back_to_what_the_registry_shows() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let one = image(60, number, 1).push(&registry, "acme/base:1").unwrap();
        let host = host(engine, &registry.host(), None).await;
        assert!(refreshed(&host).await.present, "absent at first");
        assert_is(&host, &one).await;
        let mark = registry.mark();
        let kept = refreshed(&host).await;
        assert_eq!((kept.finding.as_str(), kept.digest), ("present", Some(one.digest.to_string())));
        assert!(registry.accesses(mark).iter().all(|access| access.method == "HEAD"), "one look, and nothing moves");

        let two = image(60, number, 2).push(&registry, "acme/base:1").unwrap();
        assert!(refreshed(&host).await.present, "moved at the registry");
        assert_is(&host, &two).await;

        // somebody moves the name on this host
        let other = image(60, number, 3).push(&registry, "acme/other:1").unwrap();
        engine.run_docker(["pull", "--quiet", &other.name.to_string()]).unwrap();
        engine.run_docker(["tag", &other.name.to_string(), &two.name.to_string()]).unwrap();
        let kept = host.keeper.plan_prune(false).await.map(|_| host.keeper.status()).unwrap().await.kept.remove(0);
        assert_eq!((kept.finding.as_str(), kept.present), ("moved locally", false));
        let mark = registry.mark();
        assert!(refreshed(&host).await.present);
        assert_is(&host, &two).await;
        let moved = registry.bytes_of_layers(mark, &two.layer_digests(), Agent::Engine);
        assert_eq!(moved, Bytes(0), "its content never left");

        engine.run_docker(["rmi", &two.name.to_string()]).unwrap();
        assert!(refreshed(&host).await.present, "removed");
        assert_is(&host, &two).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_held_whatever_its_tag_does() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let one = image(61, number, 1).push(&registry, "acme/base:1").unwrap();
        let two = image(61, number, 2).push(&registry, "acme/base:1").unwrap();
        let host = host(engine, &registry.host(), Some(one.digest)).await;
        let kept = refreshed(&host).await;
        assert!(kept.present && kept.pin_unresolvable, "{kept:?}");
        assert_eq!(kept.tag_shows, Some(two.digest.to_string()), "the tag moved on, it is not gone: {kept:?}");
        assert_is(&host, &one).await;
        // with its name taken away, it comes by its digest again, though the tag is gone altogether
        engine.run_docker(["rmi", &one.name.to_string()]).unwrap();
        registry.delete_tag("acme/base", "1").unwrap();
        let kept = refreshed(&host).await;
        assert!(kept.present && kept.pin_unresolvable, "{kept:?}");
        assert_eq!(kept.tag_shows, None, "now it is gone: {kept:?}");
        assert_is(&host, &one).await;
        // here, it needs nobody
        let mut registry = registry;
        registry.stop();
        assert!(refreshed(&host).await.present);
        registry.start_again().unwrap();
        // gone here and there
        engine.run_docker(["rmi", &one.name.to_string()]).unwrap();
        registry.delete_manifest("acme/base", one.digest).unwrap();
        let row = refresh(&host).await;
        if row.job.state == JobState::Succeeded && engine.kind() != EngineKind::C {
            // the classic store keeps manifests that it once saw, until it cleans up, and the layers are still there
            return assert_is(&host, &one).await;
        }
        assert_eq!(row.job.state, JobState::Failed, "{:?}", row.outcome);
        let error = row.outcome.error.unwrap();
        assert!(error.detail.contains("missing, and its pinned digest"), "{error:?}");
        let kept = host.keeper.status().await.kept.remove(0);
        assert!(!kept.present && kept.last_error.is_some(), "{kept:?}");
    })
    .await;
}

/// A pin may name the platform's manifest inside the tag's index: it is the same content, and nothing has moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_on_a_manifest_inside_the_tags_index_is_held_under_that_digest() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let index = Index::of([image(62, number, 1)]).attested();
        let pushed = index.push(&registry, "acme/base:1").unwrap().remove(0);
        let host = host(engine, &registry.host(), Some(pushed.manifest.digest)).await;
        for _ in 0..2 {
            let kept = refreshed(&host).await;
            assert!(kept.present && !kept.pin_unresolvable, "{kept:?}");
            assert_eq!(kept.digest, Some(pushed.manifest.digest.to_string()));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_asked_nobody_is_no_refresh() {
    on_each(|engine, number| async move {
        let mut registry = Registry::start(Auth::Open).unwrap();
        let one = image(63, number, 1).push(&registry, "acme/base:1").unwrap();
        let host = host(engine, &registry.host(), None).await;
        let before = refreshed(&host).await;
        host.wind(Duration::from_secs(60));
        registry.stop();
        let answer = host.keeper.prewarm(&[], 0).await.unwrap().remove(0);
        let told = || async {
            let kept = host.keeper.status().await.kept.remove(0);
            kept.last_error.is_some().then_some(kept)
        };
        let kept = eventually(Duration::from_secs(20), told).await;
        assert!(kept.present, "it is here all the same: {kept:?}");
        assert_eq!(kept.last_refresh, before.last_refresh, "the registry was not asked");
        registry.start_again().unwrap();
        assert_eq!(host.end(&answer.job.id).await.job.state, JobState::Succeeded, "a job for a registry that is back");
        let kept = host.keeper.status().await.kept.remove(0);
        assert!(kept.last_error.is_none() && kept.last_refresh > before.last_refresh, "{kept:?}");
        assert_is(&host, &one).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_images_come_in_the_order_of_the_file_and_one_that_fails_is_only_a_warning() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(1600 + number, 1).unwrap();
        let [base, python, node] = chain.push_kept(&registry).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        // the first image's manifest is damaged for whoever asks through the proxy
        proxy.add(Fault::answer(404).on_path("/acme/base/manifests/"));
        let pushed = chain.runtime(1, Bytes(90_000)).unwrap().push(&registry, "acme/app:sha-1").unwrap();
        let mark = registry.mark();
        let host = Host::plain_at(engine, &proxy.host()).await;
        let outcome = host.ship("sha-1", None).await;
        assert_eq!(outcome.warnings.len(), 1, "{:?}", outcome.warnings);
        assert!(outcome.warnings[0].contains("acme/base:1 could not be refreshed"), "{:?}", outcome.warnings);
        let brought: Vec<_> = outcome.kept.iter().map(|pull| pull.image.clone()).collect();
        assert_eq!(brought, [host.name("cache-python:1").to_string(), host.name("cache-node:1").to_string()]);
        assert_eq!(Bytes(outcome.pull.unwrap().downloaded_bytes), pushed.layers.last().unwrap().size);
        assert!(host.has("cache-node:1").await && !host.has("base:1").await);
        let all: HashSet<Digest> =
            [&base, &python, &node, &pushed].into_iter().flat_map(Pushed::layer_digests).collect();
        let accesses = registry.accesses(mark);
        let order: Vec<_> = accesses.iter().filter_map(|access| access.blob()).filter(|b| all.contains(b)).collect();
        let place = |digest| order.iter().position(|blob| *blob == digest).expect("it moved");
        let own = |image: &Pushed| place(image.layers.last().unwrap().blob);
        assert!(own(&python) < own(&node) && own(&node) < own(&pushed), "{order:?}");
        assert_eq!(order.len(), pushed.layers.len(), "each moved once");
    })
    .await;
}
