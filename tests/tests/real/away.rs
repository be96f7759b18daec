//! The registry is away and the digest known: a mirror has the content, and what the engine cannot know of it we vouch for
//! until the registry answers again.

use std::time::Duration;

use layerkeeper_core::plan::TransferMode;
use layerkeeper_core::{Bytes, Digest, Expect, JobState, Repository};
use layerkeeper_engine::Engine as _;
use layerkeeper_keeper::{Endpoint, Mirror, Settings};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Agent, Auth, Engine, EngineKind, Fault, Image, Proxy, Pushed, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use crate::reuse::layers;

const LONG: Duration = Duration::from_secs(60);

fn version(number: u64, version: u64) -> Image {
    Image::new()
        .layer(layer(200, number, 1, Bytes(2_000_000)).created_by("RUN apt-get install cuda"))
        .layer(layer(210, number, version, Bytes(300_000)).created_by("COPY app /app"))
}

/// A registry, and a mirror that has the same.
struct Places {
    origin: Registry,
    mirror: Registry,
}

impl Places {
    fn new() -> Self {
        let start = || Registry::start(Auth::Open).unwrap();
        Self { origin: start(), mirror: start() }
    }

    fn push(&self, image: impl Fn() -> Image, name: &str) -> Pushed {
        let there = image().push(&self.mirror, name).unwrap();
        let pushed = image().push(&self.origin, name).unwrap();
        assert_eq!(pushed.digest, there.digest);
        pushed
    }

    async fn host(&self, engine: &Engine, change: impl FnOnce(&mut Settings)) -> Host {
        let store = Store::open_in_memory(Options::default()).unwrap();
        Host::over(engine, &self.origin.host(), store, |settings, _| {
            settings.policy.keep.truncate(1);
            settings.policy.runtime[0].keep_last = 9;
            let endpoints = vec![Endpoint { host: self.mirror.host(), plain: true }];
            settings.transfer.mirrors = vec![Mirror { registry: self.origin.host(), cache: false, endpoints }];
            change(settings);
        })
        .await
    }

    /// A keeper that reaches the registry through a proxy.
    async fn behind_a_proxy(&self, engine: &Engine) -> (Proxy, Host) {
        let proxy = Proxy::start(&self.origin.host()).unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(engine, &proxy.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.look_every = Duration::from_secs(1);
            let endpoints = vec![Endpoint { host: self.mirror.host(), plain: true }];
            settings.transfer.mirrors = vec![Mirror { registry: proxy.host(), cache: false, endpoints }];
        })
        .await;
        (proxy, host)
    }

    fn repository(&self) -> Repository {
        format!("{}/acme/app", self.origin.host()).parse().unwrap()
    }
}

/// Does the engine itself know the name by this digest?
async fn knows(host: &Host, text: &str, digest: Digest) -> bool {
    let repository = host.name(text).repository;
    host.here(text).await.is_some_and(|image| image.has_digest(&repository, digest))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_by_digest_comes_from_a_mirror_and_is_confirmed_when_its_registry_is_back() {
    on_each(|engine, number| async move {
        let mut places = Places::new();
        let pushed = places.push(|| version(number, 1), "acme/app:sha-1");
        let host = places.host(engine, |settings| settings.look_every = Duration::from_secs(1)).await;
        places.origin.stop();
        let mark = places.mirror.mark();
        let outcome = host.ship("sha-1", Some(pushed.digest)).await;
        let pull = outcome.pull.unwrap();
        let way = pull.transfer.clone().unwrap();
        assert!(way.way == "relay" && way.reason.contains("the registry is away"), "{way:?}");
        let logged = places.mirror.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Layerkeeper);
        assert_eq!((logged, Bytes(pull.downloaded_bytes)), (pushed.layer_bytes(), pushed.layer_bytes()));
        assert_eq!((pull.certainty.as_str(), pull.wasted_bytes), ("exact", 0), "{:?}", pull.doubts);

        // the tag alone, and the relay's name is gone
        let image = host.here("app:sha-1").await.unwrap();
        let repository = places.repository();
        assert!(image.digests.iter().all(|(at, _)| *at == repository), "{:?}", image.digests);
        // the containerd store knows a name's digest by itself
        assert_eq!(knows(&host, "app:sha-1", pushed.digest).await, engine.kind() == EngineKind::C);
        let again = host.ship("sha-1", Some(pushed.digest)).await;
        assert!(again.pull.is_none() && again.moved_bytes == 0, "{again:?}");

        places.origin.start_again().unwrap();
        let mark = places.origin.mark();
        eventually(LONG, async || knows(&host, "app:sha-1", pushed.digest).await).await;
        eventually(LONG, async || host.store().provenance().await.unwrap().is_empty()).await;
        let moved: Bytes = places.origin.accesses(mark).iter().map(|access| access.bytes).sum();
        assert!(moved < Bytes(20_000), "manifest and config: {moved}");
        assert_eq!(host.here("app:sha-1").await.unwrap().id, image.id);

        // and a plain pull of the next version moves its new layer alone
        let next = places.push(|| version(number, 2), "acme/app:sha-2");
        host.set_transfer(TransferMode::Engine);
        let mark = places.origin.mark();
        host.ship("sha-2", None).await;
        let logged = places.origin.bytes_of_layers(mark, &layers(&[&next]), Agent::Engine);
        assert_eq!(logged, next.layers[1].size);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_somebody_removed_comes_back_from_a_mirror_and_counts_as_kept() {
    on_each(|engine, number| async move {
        let mut places = Places::new();
        let base = || Image::new().layer(layer(220, number, 1, Bytes(900_000)));
        let pushed = places.push(base, "acme/base:1");
        let host = places.host(engine, |settings| settings.policy.keep[0].pin = Some(pushed.digest)).await;
        places.origin.stop();
        for row in host.prewarm().await {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
        let status = host.keeper.status().await;
        let kept = &status.kept[0];
        assert!(kept.present && kept.digest.as_deref() == Some(&*pushed.digest.to_string()), "{kept:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_from_a_mirror_and_was_removed_comes_back_from_there() {
    on_each(|engine, number| async move {
        let mut places = Places::new();
        let pushed = places.push(|| version(number + 30, 1), "acme/app:sha-1");
        let host = places.host(engine, |settings| settings.look_every = Duration::from_secs(1)).await;
        places.origin.stop();
        host.ship("sha-1", Some(pushed.digest)).await;
        let name = host.name("app:sha-1").to_string();
        engine.run_docker(["rmi", &name]).unwrap();
        assert!(!host.has("app:sha-1").await);
        eventually(LONG, async || host.has("app:sha-1").await).await;
        assert_eq!(host.store().provenance().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moves_on_leaves_its_digest_from_the_mirror_under_a_name() {
    on_each(|engine, number| async move {
        let mut places = Places::new();
        let first = places.push(|| version(number + 10, 1), "acme/app:sha-1");
        let host = places.host(engine, |_| ()).await;
        places.origin.stop();
        host.ship("sha-1", Some(first.digest)).await;
        places.origin.start_again().unwrap();
        let second = places.push(|| version(number + 10, 2), "acme/app:sha-1");
        host.ship("sha-1", Some(second.digest)).await;
        let old = places.repository().by_digest(first.digest);
        assert!(host.engine.image(&old).await.unwrap().is_some(), "{old}");
        let left = host.keeper.status().await.superseded;
        assert!(left.iter().any(|left| left.reference == old.to_string()), "{left:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_digest_or_without_the_relay_nobody_speaks_for_the_registry() {
    on_each(|engine, number| async move {
        let mut places = Places::new();
        let pushed = places.push(|| version(number + 20, 1), "acme/app:sha-1");
        let host = places
            .host(engine, |settings| {
                settings.transfer.mode = TransferMode::Engine;
                settings.max_attempts = 1;
            })
            .await;
        places.origin.stop();
        for digest in [None, Some(pushed.digest)] {
            let row = host.deploy("sha-1", digest).await;
            assert_eq!(row.job.state, JobState::Failed, "{digest:?}: {:?}", row.outcome);
            assert!(!host.has("app:sha-1").await);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_name_of_what_a_mirror_gave_stands_by_a_word_of_its_own() {
    on_each(|engine, number| async move {
        let mut places = Places::new();
        let pushed = places.push(|| version(number + 40, 1), "acme/app:sha-1");
        let host = places.host(engine, |_| ()).await;
        places.origin.stop();
        host.ship("sha-1", Some(pushed.digest)).await;
        host.ship("sha-2", Some(pushed.digest)).await;
        let names: Vec<String> =
            host.store().provenance().await.unwrap().into_iter().map(|record| record.name.to_string()).collect();
        assert_eq!(names, [host.name("app:sha-1").to_string(), host.name("app:sha-2").to_string()]);
        engine.run_docker(["rmi", &names[0]]).unwrap();
        let again = host.ship("sha-2", Some(pushed.digest)).await;
        assert!(again.pull.is_none() && again.moved_bytes == 0, "{again:?}");
    })
    .await;
}

/// The pin moves to what the mirror has and what does not hold what is expected of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_name_stands_for_is_vouched_for_until_it_has_moved() {
    on_each(|engine, number| async move {
        let mut places = Places::new();
        let base = |at| Image::new().layer(layer(220, number + 50, at, Bytes(900_000)));
        let (first, second) = (places.push(|| base(1), "acme/base:1"), places.push(|| base(2), "acme/base:2"));
        let host = places.host(engine, |settings| settings.policy.keep[0].pin = Some(first.digest)).await;
        places.origin.stop();
        host.prewarm().await;
        assert!(host.keeper.status().await.kept[0].present);
        host.reload(|settings| {
            let keep = &mut settings.policy.keep[0];
            keep.pin = Some(second.digest);
            keep.expect = vec![Expect::File { path: "/usr/lib/libcudnn.so".to_owned() }];
            settings.max_attempts = 1;
        });
        let row = host.prewarm().await.remove(0);
        assert_eq!(row.job.state, JobState::Failed, "{:?}", row.outcome);
        host.reload(|settings| settings.policy.keep[0].pin = Some(first.digest));
        let mark = places.mirror.mark();
        let row = host.prewarm().await.remove(0);
        assert_eq!((row.job.state, row.outcome.moved_bytes), (JobState::Succeeded, 0), "{:?}", row.outcome);
        assert_eq!(places.mirror.bytes_of_layers(mark, &layers(&[&first]), Agent::Layerkeeper), Bytes::ZERO);
    })
    .await;
}

/// Whether it gives nothing at all, or says what the tag shows and not what that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_broken_is_away_like_one_that_cannot_be_reached() {
    on_each(|engine, number| async move {
        let places = Places::new();
        let (proxy, host) = places.behind_a_proxy(engine).await;
        for (version_of, path, method) in [(1, "/v2/", None), (2, "/manifests/", Some("GET"))] {
            let tag = format!("sha-{version_of}");
            let pushed = places.push(|| version(number + 60, version_of), &format!("acme/app:{tag}"));
            let fault = Fault::answer(503).on_path(path);
            proxy.add(match method {
                Some(method) => fault.on_method(method),
                None => fault,
            });
            let named = (version_of == 1).then_some(pushed.digest);
            let way = host.ship(&tag, named).await.pull.unwrap().transfer.unwrap();
            assert!(way.way == "relay" && way.reason.contains("the registry is away"), "{path}: {way:?}");
            proxy.clear();
            eventually(LONG, async || host.store().provenance().await.unwrap().is_empty()).await;
            assert!(knows(&host, &format!("app:{tag}"), pushed.digest).await, "{path}");
        }
    })
    .await;
}

/// It could be named by a local tag only, which would take the name from under the container.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_container_was_made_from_waits_for_its_broken_registry() {
    on_each(|engine, number| async move {
        let places = Places::new();
        let (proxy, host) = places.behind_a_proxy(engine).await;
        places.push(|| version(number + 70, 1), "acme/app:sha-1");
        host.ship("sha-1", None).await;
        let (image, container) = (host.name("app:sha-1").to_string(), format!("holds-{}", places.origin.port()));
        engine.run_docker(["create", "--name", &container, &image, "/bin/true"]).unwrap();
        let next = places.push(|| version(number + 70, 2), "acme/app:sha-1");
        proxy.add(Fault::answer(503).on_path("/v2/"));
        let job = host.ask("sha-1", Some(next.digest)).await.job.id;
        let failed_once = async || host.store().job(&job).await.unwrap().is_some_and(|row| row.outcome.error.is_some());
        eventually(LONG, failed_once).await;
        proxy.clear();
        let row = host.end(&job).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        engine.run_docker(["rm", &container]).unwrap();
    })
    .await;
}
