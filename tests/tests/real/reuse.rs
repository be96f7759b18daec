//! Invariant 7: what the report says moved is what the registry's own access log says it sent, to the byte.

use std::collections::HashSet;
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, JobState};
use layerkeeper_keeper::Estimated;
use layerkeeper_store::record::PullRecord;
use layerkeeper_testkit::{
    Access, Agent, Auth, EngineKind, Engines, Fault, Image, Index, Layer, Mark, Proxy, Pushed, Registry, eventually,
};
use layerkeeper_tests::chain::{Chain, layer};
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;
use layerkeeper_tests::report::assert_sums;

/// All layers of these images.
pub fn layers(images: &[&Pushed]) -> HashSet<Digest> {
    images.iter().flat_map(|image| image.layer_digests()).collect()
}

/// Plans and deploys; what the report says moved is what the access log says, and what the plan said where that was
/// sure of itself.
pub async fn foretold(host: &Host, registry: &Registry, tag: &str, pushed: &Pushed) -> (Estimated, PullRecord) {
    let plan = host.keeper.plan(&host.name(&format!("app:{tag}")).to_reference()).await.unwrap();
    let mark = registry.mark();
    let pull = host.ship(tag, None).await.pull.unwrap();
    let logged = registry.bytes_of_layers(mark, &layers(&[pushed]), Agent::Engine);
    assert_eq!(Bytes(pull.downloaded_bytes), logged, "{tag}: the access log disagrees: {pull:?}");
    assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), pushed.layer_bytes(), "{tag}: {pull:?}");
    assert_eq!(pull.estimate.as_ref(), Some(&plan.estimate), "{tag}: the plan is the job's own estimate");
    let (least, most) = (plan.estimate.fetch_bytes_least, plan.estimate.fetch_bytes_most);
    assert!((least..=most).contains(&pull.downloaded_bytes), "{tag}: {least} to {most} expected: {pull:?}");
    let after = host.keeper.plan(&host.name(&format!("app:{tag}")).to_reference()).await.unwrap();
    assert!(after.up_to_date && after.estimate.fetch_bytes_most == 0, "{tag}: {after:?}");
    (plan, pull)
}

/// A keeper that keeps nothing.
pub async fn bare(engine: &layerkeeper_testkit::Engine, registry: &str) -> Host {
    Host::new(engine, registry, |policy, _| policy.keep.clear()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_of_the_next_version_moves_its_last_layer_and_the_access_log_agrees() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(1000 + number, 1).unwrap();
        let kept = chain.push_kept(&registry).unwrap();
        let host = Host::plain(engine, &registry).await;
        for row in host.prewarm().await {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
        for version in [1, 2] {
            let runtime = chain.runtime(version, Bytes(700_000)).unwrap();
            let pushed = runtime.push(&registry, &format!("acme/app:sha-{version}")).unwrap();
            let mark = registry.mark();
            let pull = host.ship(&format!("sha-{version}"), None).await.pull.unwrap();
            assert_sums(engine, &pull, &pushed);
            let all = layers(&[&pushed, &kept[0], &kept[1], &kept[2]]);
            let logged = registry.bytes_of_layers(mark, &all, Agent::Engine);
            assert_eq!(Bytes(pull.downloaded_bytes), logged);
            assert_eq!(logged, pushed.layers.last().unwrap().size);
            assert_eq!(pull.wasted_bytes, 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_pull_onto_an_empty_host_moves_everything_once() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let twice = layer(20, number, 1, Bytes(900_000)).created_by("COPY a /a");
        let image = Image::new()
            .layer(layer(20, number, 2, Bytes(300_000)))
            .layer(twice.clone())
            .layer(layer(20, number, 3, Bytes(200_000)))
            .layer(twice);
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        let host = bare(engine, &registry.host()).await;
        let (_, pull) = foretold(&host, &registry, "sha-1", &pushed).await;
        assert_sums(engine, &pull, &pushed);
        assert_eq!(Bytes(pull.downloaded_bytes), pushed.bytes_to_fetch(), "a blob that stands twice moves once");
    })
    .await;
}

/// A pull whose blob is cut, and refused until the engine gives up. All of it was for nothing: the containerd store, too,
/// lets go of what it has when a pull fails (it keeps what a cancelled one has).
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_attempt_moved_is_wasted_and_told() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let small = layer(21, number, 1, Bytes(300_000));
        let large = layer(21, number, 2, Bytes(4_000_000));
        let pushed = Image::new().layer(small).layer(large).push(&registry, "acme/app:sha-1").unwrap();
        let path = format!("/blobs/{}", pushed.layers[1].blob);
        proxy.add(Fault::cut_after(Bytes(2_500_000)).on_method("GET").on_path(&path).once());
        // what the engine takes for final: anything else it tries again by itself, for more than a minute
        proxy.add(
            Fault::answer(400)
                .body(r#"{"errors":[{"code":"UNSUPPORTED","message":"no"}]}"#)
                .on_method("GET")
                .on_path(&path),
        );
        let host = bare(engine, &proxy.host()).await;
        // slow enough for the engine's stream, which tells of bytes ten times a second at most, to have told of them
        proxy.throttle(Some(Bytes(2_000_000)));
        let first = registry.mark();
        let answer = host.ask("sha-1", None).await;
        let failed_once = || async {
            let row = host.keeper.job(&answer.job.id).await.unwrap().unwrap();
            row.outcome.error.is_some().then_some(row)
        };
        let waiting = eventually(Duration::from_secs(60), failed_once).await;
        let all = layers(&[&pushed]);
        let lost = registry.bytes_of_layers(first, &all, Agent::Engine);
        let second = registry.mark();
        proxy.clear();
        proxy.throttle(None);
        assert_eq!(waiting.outcome.attempts.len(), 1, "{:?}", waiting.outcome);
        let error = waiting.outcome.error.unwrap();
        assert!(matches!(&*error.class, "engine_error" | "registry_unreachable"), "{error:?}");
        let row = host.end(&answer.job.id).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let pull = row.outcome.pull.unwrap();
        let logged = registry.bytes_of_layers(second, &all, Agent::Engine);
        assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), pushed.layer_bytes(), "{pull:?}");
        assert_eq!(pull.attempts.len(), 2, "{:?}", pull.attempts);
        assert!(pull.attempts[0].failure.is_some() && pull.attempts[1].failure.is_none());
        assert_eq!(pull.wasted_bytes, pull.attempts[0].moved_bytes);
        assert!(pull.wasted_bytes > 1_000_000, "{pull:?}");
        // the registry's side of a cut connection has sent what was under way, too
        assert!(Bytes(pull.wasted_bytes) <= lost, "{} wasted, {lost} sent", Bytes(pull.wasted_bytes));
        assert!(row.outcome.moved_bytes >= pull.wasted_bytes + pull.downloaded_bytes);
        assert_eq!(logged, pushed.layer_bytes(), "it comes anew, all of it");
        if engine.kind() == EngineKind::C && pull.certainty == "inferred" {
            // the stream's first word of a layer may come when some of it is here already
            assert!(Bytes(pull.downloaded_bytes) <= logged && !pull.doubts.is_empty(), "{pull:?}");
        } else {
            assert_eq!((Bytes(pull.downloaded_bytes), &*pull.certainty), (logged, "exact"), "{:?}", pull.doubts);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_resolved_to_the_engines_platform_by_tag_and_by_either_digest() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let amd64 = Image::new().layer(layer(22, number, 1, Bytes(400_000)));
        let arm64 = Image::new().architecture("arm64").layer(layer(22, number, 2, Bytes(500_000)));
        let index = Index::of([arm64, amd64.clone()]).attested();
        let pushed = index.push(&registry, "acme/app:sha-1").unwrap().pop().unwrap();
        let host = bare(engine, &registry.host()).await;
        let mark = registry.mark();
        let (plan, pull) = foretold(&host, &registry, "sha-1", &pushed).await;
        assert_sums(engine, &pull, &pushed);
        assert_eq!((plan.platform.as_str(), pull.layers.len()), ("linux/amd64", 1));
        assert_eq!(pull.digest, Some(pushed.digest.to_string()));
        let blobs: Vec<_> = registry.accesses(mark).iter().filter_map(Access::blob).collect();
        assert!(blobs.iter().all(|blob| *blob == pushed.layers[0].blob || *blob == pushed.config.digest), "{blobs:?}");

        // the digest of the platform's manifest inside the tag's index means the same
        for digest in [pushed.manifest.digest, pushed.digest] {
            let outcome = host.ship("sha-1", Some(digest)).await;
            assert!(outcome.pull.is_none(), "{outcome:?}");
            assert_eq!(outcome.digest, Some(pushed.digest.to_string()));
        }
        let second = Image::from(&amd64).layer(layer(22, number, 3, Bytes(90_000)));
        let arm64 = Image::new().architecture("arm64").layer(layer(22, number, 4, Bytes(80_000)));
        let pushed = Index::of([second, arm64]).attested().push(&registry, "acme/app:sha-2").unwrap().remove(0);
        let pull = host.ship("sha-2", Some(pushed.manifest.digest)).await.pull.unwrap();
        assert_sums(engine, &pull, &pushed);
        assert_eq!(Bytes(pull.downloaded_bytes), pushed.layers[1].size);
        let here = host.here("app:sha-2").await.unwrap();
        assert!(
            here.has_digest(&pushed.name.repository, pushed.digest),
            "the index came, as by a plain pull: {here:?}"
        );
    })
    .await;
}

/// A rollback by the platform's digest, to what is here under its index, while the registry is down.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_by_the_platforms_digest_needs_no_registry_either() {
    on_each(|engine, number| async move {
        let mut registry = Registry::start(Auth::Open).unwrap();
        let image = Image::new().layer(layer(23, number, 1, Bytes(90_000)));
        let pushed = Index::of([image]).attested().push(&registry, "acme/app:sha-1").unwrap().remove(0);
        let host = bare(engine, &registry.host()).await;
        host.ship("sha-1", Some(pushed.manifest.digest)).await;
        registry.stop();
        for digest in [pushed.manifest.digest, pushed.digest] {
            let outcome = host.ship("sha-1", Some(digest)).await;
            assert_eq!(outcome.moved_bytes, 0, "{outcome:?}");
        }
    })
    .await;
}

/// `COPY --from=cache-python`: the same files in a layer of its own. No engine reuses a byte of it, and the report says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_layer_is_downloaded_whole_on_top_of_the_base() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(1100 + number, 1).unwrap();
        chain.push_kept(&registry).unwrap();
        let host = Host::plain(engine, &registry).await;
        host.prewarm().await;
        let python = layer(24, number, 1, Bytes(1_500_000)).created_by("COPY --from=cache-python /opt/venv /opt/venv");
        let copied = Image::from(&chain.base).layer(python).layer(layer(24, number, 2, Bytes(90_000)));
        let pushed = copied.push(&registry, "acme/app:sha-1").unwrap();
        let (plan, pull) = foretold(&host, &registry, "sha-1", &pushed).await;
        assert_sums(engine, &pull, &pushed);
        assert_eq!(plan.estimate.fetch_bytes_least, plan.estimate.fetch_bytes_most);
        assert_eq!(Bytes(pull.reused_bytes), pushed.layers[..2].iter().map(|layer| layer.size).sum());
        let told = pull.layers.iter().map(|layer| (layer.source.as_str(), layer.created_by.as_deref().unwrap()));
        assert_eq!(told.collect::<Vec<_>>()[2], ("downloaded", "COPY --from=cache-python /opt/venv /opt/venv"));
    })
    .await;
}

/// The same blob once more, under another parent: only the containerd store knows blobs apart from chains.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_under_another_parent_is_reused_only_by_the_containerd_store() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let shared = layer(25, number, 1, Bytes(800_000));
        let one = Image::new().layer(layer(25, number, 2, Bytes(90_000))).layer(shared.clone());
        let two = Image::new().layer(layer(25, number, 3, Bytes(80_000))).layer(shared);
        let host = bare(engine, &registry.host()).await;
        for (tag, image) in [("sha-1", one), ("sha-2", two)] {
            let pushed = image.push(&registry, &format!("acme/app:{tag}")).unwrap();
            let (_, pull) = foretold(&host, &registry, tag, &pushed).await;
            assert_sums(engine, &pull, &pushed);
            let reuses = engine.kind() == EngineKind::C && tag == "sha-2";
            assert_eq!(Bytes(pull.reused_bytes), if reuses { pushed.layers[1].size } else { Bytes(0) });
        }
    })
    .await;
}

/// Somebody pulled the base with plain `docker pull` before layerkeeper ever ran: its manifest is found by its
/// RepoDigest, so the very first estimate is exact.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_plain_pull_left_here_is_known_by_its_manifest() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(1200 + number, 1).unwrap();
        let node = chain.node.push(&registry, "acme/cache-node:1").unwrap();
        engine.run_docker(["pull", "--quiet", &node.name.to_string()]).unwrap();
        let pushed = chain.runtime(1, Bytes(300_000)).unwrap().push(&registry, "acme/app:sha-1").unwrap();
        let host = bare(engine, &registry.host()).await;
        let (plan, pull) = foretold(&host, &registry, "sha-1", &pushed).await;
        assert_sums(engine, &pull, &pushed);
        assert_eq!(Bytes(plan.estimate.here_bytes), node.layer_bytes());
        assert_eq!(plan.estimate.fetch_bytes_least, plan.estimate.fetch_bytes_most);
    })
    .await;
}

/// `docker load` brings content without blob digests: the estimate is a range, and what then moves is told as it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_docker_load_left_here_makes_the_estimate_a_range() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(1300 + number, 1).unwrap();
        let base = chain.base.push(&registry, "acme/base:1").unwrap();
        // from an engine of another kind: this one would remember the blobs of what it once pulled
        let other = if engine.kind() == EngineKind::A { EngineKind::B } else { EngineKind::A };
        let other = Engines::of(other);
        let name = base.name.to_string();
        let scratch = layerkeeper_testkit::Scratch::new("save").unwrap();
        let tar = scratch.path().join("base.tar").display().to_string();
        other.run_docker(["pull", "--quiet", &name]).unwrap();
        other.run_docker(["save", "--output", &tar, &name]).unwrap();
        engine.run_docker(["load", "--quiet", "--input", &tar]).unwrap();
        let pushed = chain.runtime(1, Bytes(300_000)).unwrap().push(&registry, "acme/app:sha-1").unwrap();
        let host = bare(engine, &registry.host()).await;
        let (plan, pull) = foretold(&host, &registry, "sha-1", &pushed).await;
        let (least, most) = (plan.estimate.fetch_bytes_least, plan.estimate.fetch_bytes_most);
        if engine.kind() == EngineKind::C {
            // unpacked under this very chain, which is all that this store asks
            assert_eq!((least, Bytes(pull.reused_bytes)), (most, base.layer_bytes()));
        } else {
            assert_eq!(Bytes(most - least), base.layer_bytes(), "{plan:?}");
            assert_eq!(Bytes(pull.downloaded_bytes), pushed.layer_bytes(), "all of it comes again");
        }
    })
    .await;
}

/// The same content compressed once more, by another gzip: another blob.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_in_another_blob_is_downloaded_again_by_the_classic_store() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let content = Layer::random_files("srv/data", 90_000 + number, 5, Bytes(600_000)).unwrap();
        let host = bare(engine, &registry.host()).await;
        let old = Image::new().layer(content.clone()).push(&registry, "acme/app:sha-1").unwrap();
        foretold(&host, &registry, "sha-1", &old).await;
        let again = Image::new().layer(content.gzip(9)).layer(layer(27, number, 1, Bytes(90_000)));
        let pushed = again.push(&registry, "acme/app:sha-2").unwrap();
        assert_eq!(old.layers[0].diff_id, pushed.layers[0].diff_id);
        assert_ne!(old.layers[0].blob, pushed.layers[0].blob);
        let (_, pull) = foretold(&host, &registry, "sha-2", &pushed).await;
        assert_sums(engine, &pull, &pushed);
        let reused = if engine.kind() == EngineKind::C { pushed.layers[0].size } else { Bytes(0) };
        assert_eq!(Bytes(pull.reused_bytes), reused);
    })
    .await;
}

/// Both blobs of one content are here: one by us, the other by somebody's plain pull. The engine knows both.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_blob_of_known_content_that_came_without_us_is_known_too() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let content = Layer::random_files("srv/data", 91_000 + number, 5, Bytes(600_000)).unwrap();
        let host = bare(engine, &registry.host()).await;
        Image::new().layer(content.clone()).push(&registry, "acme/app:sha-1").unwrap();
        host.ship("sha-1", None).await;
        // another config, or the classic store takes it for the very image that it has
        let again = Image::new().layer(content.gzip(9)).env("BUILD", "2");
        let foreign = again.push(&registry, "acme/other:1").unwrap();
        engine.run_docker(["pull", "--quiet", &foreign.name.to_string()]).unwrap();
        let next = Image::from(&again).layer(layer(28, number, 1, Bytes(90_000)));
        let pushed = next.push(&registry, "acme/app:sha-2").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-2", &pushed).await;
        assert_sums(engine, &pull, &pushed);
        assert_eq!(Bytes(pull.downloaded_bytes), pushed.layers[1].size);
    })
    .await;
}

/// What `overhead_bytes` stands for: the manifests and configs that the daemon read to resolve the tag, and those that
/// the engine reads for a pull by digest. A naming pull by tag, pings and tokens are not counted.
#[tokio::test(flavor = "multi_thread")]
async fn the_overhead_is_what_manifests_and_configs_took() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let image = Image::new().layer(layer(29, number, 1, Bytes(90_000)));
        let plain = image.push(&registry, "acme/app:sha-1").unwrap();
        let second = Image::from(&image).layer(layer(29, number, 2, Bytes(80_000)));
        let index = Index::of([second]).attested().push(&registry, "acme/app:sha-2").unwrap().remove(0);
        let host = bare(engine, &registry.host()).await;
        for (tag, pushed) in [("sha-1", plain), ("sha-2", index)] {
            let mark = registry.mark();
            let pull = host.ship(tag, None).await.pull.unwrap();
            let (by_us, by_engine) = documents(&registry, mark, &layers(&[&pushed]));
            assert_eq!(by_us, pushed.image_manifest().metadata_bytes(), "{tag}: read once");
            assert_eq!(Bytes(pull.overhead_bytes), by_us + by_us, "{tag}");
            let off = by_engine.0.abs_diff(by_us.0);
            assert!(off <= 2 * pushed.manifest.size.0 + pushed.index_size.unwrap_or_default().0, "{tag}: {by_engine}");
        }
    })
    .await;
}

/// Bytes of manifests, indexes and configs that we and the engine were sent.
fn documents(registry: &Registry, since: Mark, layers: &HashSet<Digest>) -> (Bytes, Bytes) {
    let accesses = registry.accesses(since);
    let of = |agent: Agent| {
        let documents = accesses.iter().filter(|access| {
            let is_document = match access.blob() {
                Some(blob) => !layers.contains(&blob),
                None => access.path.contains("/manifests/"),
            };
            access.agent() == agent && access.method == "GET" && access.status == 200 && is_document
        });
        documents.map(|access| access.bytes).sum()
    };
    (of(Agent::Layerkeeper), of(Agent::Engine))
}
