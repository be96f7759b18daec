//! The queue over real pulls: joining, superseding, priorities, and what a stop in mid-pull leaves.

use std::path::Path;
use std::time::Duration;

use layerkeeper_core::{Bytes, JobId, JobState};
use layerkeeper_store::{JobRow, Options, Store};
use layerkeeper_testkit::{Agent, Auth, Engine, EngineKind, Image, Proxy, Pushed, Registry, Scratch, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

const SOON: Duration = Duration::from_secs(30);

async fn bare(engine: &Engine, registry: &str) -> Host {
    Host::new(engine, registry, |policy, _| policy.keep.clear()).await
}

/// A slow registry with `acme/app:sha-1`, `sha-2` … of one layer each.
fn slow(test: u64, engine: u64, versions: u64, size: Bytes) -> (Registry, Proxy, Vec<Pushed>) {
    let registry = Registry::start(Auth::Open).unwrap();
    let push = |n| Image::new().layer(layer(test, engine, n, size)).push(&registry, &format!("acme/app:sha-{n}"));
    let pushed = (1..=versions).map(|n| push(n).unwrap()).collect();
    let proxy = Proxy::start(&registry.host()).unwrap();
    (registry, proxy, pushed)
}

async fn row(host: &Host, id: &JobId) -> JobRow {
    host.keeper.job(id).await.unwrap().unwrap()
}

/// From now on a pull gets through half of 3 MB, at a pace at which an engine tells of it, and no further.
fn hold(proxy: &Proxy) {
    proxy.throttle(Some(Bytes(1_200_000)));
    proxy.hold_after(Bytes(1_500_000));
}

fn release(proxy: &Proxy) {
    proxy.throttle(None);
    proxy.release();
}

/// Waits until this job's pull has moved about a megabyte: the containerd store takes its bytes in steps of a MiB, and
/// tells of nothing less.
async fn until_moved(host: &Host, id: &JobId) {
    let mut follow = host.keeper.follow(id).await.unwrap().unwrap();
    let moved = follow.wait_for(|progress| progress.moved_bytes >= 500_000 || progress.is_final());
    let progress = tokio::time::timeout(SOON, moved).await.expect("it moves").unwrap().clone();
    assert!(!progress.is_final(), "{progress:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_joins_and_a_newer_one_supersedes_what_waits_but_not_what_runs() {
    on_each(|engine, number| async move {
        let (_registry, proxy, pushed) = slow(80, number, 3, Bytes(3_000_000));
        let host = bare(engine, &proxy.host()).await;
        hold(&proxy);
        let digest = Some(pushed[0].digest);
        let first = host.ask("sha-1", digest).await.job.id;
        until_moved(&host, &first).await;
        let again = host.ask("sha-1", digest).await;
        assert!(again.joined && again.job.id == first, "the running one is the same wish");
        let second = host.ask("sha-2", None).await;
        let again = host.ask("sha-2", None).await;
        assert!(again.joined && again.job.id == second.job.id);
        let third = host.ask("sha-3", None).await.job.id;
        let superseded = row(&host, &second.job.id).await;
        assert_eq!((superseded.job.state, superseded.superseded_by), (JobState::Superseded, Some(third.clone())));
        assert_eq!(row(&host, &first).await.job.state, JobState::Running, "a running pull is never superseded");
        release(&proxy);
        for id in [&first, &third] {
            let ended = host.end(id).await;
            assert_eq!(ended.job.state, JobState::Succeeded, "{:?}", ended.outcome);
        }
        assert!(host.has("app:sha-1").await && host.has("app:sha-3").await && !host.has("app:sha-2").await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_gets_a_new_number_and_is_the_newest_for_the_prune() {
    on_each(|engine, number| async move {
        let (registry, _proxy, pushed) = slow(81, number, 2, Bytes(90_000));
        let host = bare(engine, &registry.host()).await;
        host.ship("sha-1", None).await;
        host.ship("sha-2", None).await;
        let numbers = || async {
            let tags = host.keeper.status().await.runtime.remove(0).tags;
            tags.into_iter().map(|tag| (tag.image.rsplit_once(':').unwrap().1.to_owned(), tag.deploy.unwrap()))
        };
        let before: Vec<_> = numbers().await.collect();
        assert_eq!(before.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), ["sha-2", "sha-1"]);
        let back = host.ship("sha-1", Some(pushed[0].digest)).await;
        assert_eq!((back.moved_bytes, back.pull), (0, None));
        let after: Vec<_> = numbers().await.collect();
        assert_eq!(after[0].0, "sha-1");
        assert!(after[0].1 > before[0].1, "{after:?} after {before:?}");
        host.wind(Duration::from_secs(7200));
        let prune = host.prune(false).await;
        let gone: Vec<_> = prune.removals.iter().filter(|r| r.outcome == "removed").map(|r| &r.name).collect();
        assert_eq!(gone, [&host.name("app:sha-2").to_string()], "{prune:?}");
        assert!(host.has("app:sha-1").await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_goes_before_kept_images_that_wait() {
    on_each(|engine, number| async move {
        let (registry, proxy, _) = slow(82, number, 1, Bytes(90_000));
        let kept = ["base", "cache-python", "cache-node"];
        for (n, name) in (10..).zip(kept) {
            let image = Image::new().layer(layer(82, number, n, Bytes(3_000_000)));
            image.push(&registry, &format!("acme/{name}:1")).unwrap();
        }
        hold(&proxy);
        let host = Host::plain_at(engine, &proxy.host()).await;
        let warms = host.keeper.prewarm(&[], 0).await.unwrap();
        until_moved(&host, &warms[0].job.id).await;
        let deploy = host.ask("sha-1", None).await.job.id;
        release(&proxy);
        let deployed = host.end(&deploy).await;
        assert_eq!(deployed.job.state, JobState::Succeeded, "{:?}", deployed.outcome);
        let mut started = vec![deployed.started];
        for warm in &warms {
            started.push(host.end(&warm.job.id).await.started);
        }
        assert!(started[1] < started[0], "the one in hand ends first");
        assert!(started[2..].iter().all(|other| started[0] < *other), "{started:?}");
        let brought = deployed.outcome.kept.len();
        assert_eq!(brought, 2, "the deploy brought what it needs: {:?}", deployed.outcome.kept);
    })
    .await;
}

/// A keeper over a database in this directory.
async fn stored(engine: &Engine, registry: &str, dir: &Path) -> Host {
    let store = Store::open(dir, Options::default()).unwrap();
    Host::over(engine, registry, store, |settings, _| {
        settings.policy.keep.clear();
        settings.stop_timeout = Duration::from_millis(100);
    })
    .await
}

/// A stop cuts the pull; a kill, too, only that nobody says so. The next daemon over the same state takes the job up
/// again, and the report tells of both attempts.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_cut_by_a_stop_or_a_kill_is_taken_up_again_and_both_attempts_are_told() {
    on_each(|engine, number| async move {
        for (test, kill) in [(83, false), (84, true)] {
            let (registry, proxy, pushed) = slow(test, number, 1, Bytes(5_000_000));
            let scratch = Scratch::new("state").unwrap();
            let host = stored(engine, &proxy.host(), scratch.path()).await;
            hold(&proxy);
            let start = registry.mark();
            let id = host.ask("sha-1", None).await.job.id;
            until_moved(&host, &id).await;
            if kill {
                let saved = || async {
                    let attempts = row(&host, &id).await.outcome.attempts;
                    attempts.iter().any(|attempt| attempt.moved_bytes >= 400_000)
                };
                eventually(SOON, saved).await;
                host.kill().await;
            } else {
                host.stop().await;
            }
            // an engine that goes on by itself notices at the next byte; the registry writes down a request when it has ended
            proxy.throttle(Some(Bytes(50_000)));
            proxy.release();
            let first = || async { registry.bytes_of_layers(start, &pushed[0].layer_digests(), Agent::Engine).0 > 0 };
            eventually(SOON, first).await;
            proxy.throttle(None);
            let mark = registry.mark();
            let host = stored(engine, &proxy.host(), scratch.path()).await;
            let ended = host.end(&id).await;
            assert_eq!(ended.job.state, JobState::Succeeded, "{:?}", ended.outcome);
            assert_eq!(ended.job.attempts, 2, "{:?}", ended.outcome);
            let pull = ended.outcome.pull.unwrap();
            assert_eq!(pull.attempts.len(), 2, "{:?}", pull.attempts);
            let told = pull.attempts[0].failure.as_deref().unwrap();
            assert!(told.contains(if kill { "ended in mid-pull" } else { "stopped in mid-pull" }), "{told}");
            assert!(pull.wasted_bytes >= 400_000 && pull.wasted_bytes == pull.attempts[0].moved_bytes, "{pull:?}");
            assert!(
                ended.outcome.moved_bytes >= pull.wasted_bytes + pull.downloaded_bytes,
                "{:?}",
                ended.outcome.moved_bytes
            );
            assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), pushed[0].layer_bytes());
            if engine.kind() != EngineKind::C {
                let logged = registry.bytes_of_layers(mark, &pushed[0].layer_digests(), Agent::Engine);
                assert_eq!((Bytes(pull.downloaded_bytes), &*pull.certainty), (logged, "exact"), "{:?}", pull.doubts);
            }
            let idle = || async {
                let status = host.keeper.status().await;
                status.queued == 0 && status.running.is_none()
            };
            eventually(SOON, idle).await;
            host.stop().await;
        }
    })
    .await;
}
