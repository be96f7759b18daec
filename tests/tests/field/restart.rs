//! 4: the engine is restarted, killed or stuck in the middle of a pull (moby/moby#26146, containrrr/watchtower#2023).

use std::time::Duration;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_store::{Options, Store};
use layerkeeper_testkit::{Auth, Image, Proxy, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::host::Host;

use crate::{SOON, moved, on_own, until};

const SIZE: u64 = 10_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn field_failure_04_the_engine_is_restarted_in_mid_pull() {
    on_own(|mut engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(&engine, &proxy.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.policy.runtime[0].min_age = Duration::ZERO;
            settings.max_attempts = 10;
        })
        .await;
        let mut shipped = Vec::new();
        for (n, percent) in (1..).zip([10, 50, 90]) {
            let image = Image::new().layer(layer(95, number, n, Bytes(SIZE)));
            let pushed = image.push(&registry, &format!("acme/app:sha-{n}")).unwrap();
            // slow enough for the engine to tell of bytes before they stop
            proxy.throttle(Some(Bytes(4_000_000)));
            proxy.hold_after(Bytes(SIZE * percent / 100 + 200_000));
            let tag = format!("sha-{n}");
            let id = host.ask(&tag, None).await.job.id;
            eventually(SOON, || async { proxy.is_holding() }).await;
            moved(&host, &id, Bytes(1)).await;
            // as an update does, and as a crash does
            engine = tokio::task::spawn_blocking(move || {
                if percent == 50 {
                    engine.kill9();
                    engine.start_again().unwrap();
                } else {
                    engine.restart().unwrap();
                }
                engine
            })
            .await
            .unwrap();
            proxy.throttle(None);
            proxy.release();
            // the engine was away: nothing goes on anybody's word until a deploy has succeeded
            if n > 1 {
                until(&host, "removals are blocked", |seen| {
                    seen.status.prune_blocked.is_some() || seen.jobs[0].job.state.is_final()
                })
                .await;
            }
            let row = host.end(&id).await;
            assert_eq!(row.job.state, JobState::Succeeded, "at {percent} %: {:?}", row.outcome);
            let pull = row.outcome.pull.unwrap();
            assert!(pull.attempts.len() >= 2, "at {percent} %: {:?}", pull.attempts);
            assert!(pull.wasted_bytes > 0, "{pull:?}");
            assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), pushed.layer_bytes());
            let here = host.here(&format!("app:{tag}")).await.unwrap();
            assert_eq!(here.layers, pushed.diff_ids());
            shipped.push(id);
            assert!(host.keeper.status().await.prune_blocked.is_none(), "a deploy has succeeded");
        }
    })
    .await;
}

/// dockerd stays and starts it again by itself. The classic store pulls on without it; the containerd store cannot.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_is_killed_in_mid_pull_and_the_deploy_succeeds() {
    on_own(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(&engine, &proxy.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.max_attempts = 10;
        })
        .await;
        let mut here = Vec::new();
        for (n, percent) in (1..).zip([10, 50, 90]) {
            let image = Image::new().layer(layer(97, number, n, Bytes(SIZE)));
            let pushed = image.push(&registry, &format!("acme/app:sha-{n}")).unwrap();
            // slow enough for the engine to tell of bytes before they stop
            proxy.throttle(Some(Bytes(4_000_000)));
            proxy.hold_after(Bytes(SIZE * percent / 100 + 700_000));
            let tag = format!("sha-{n}");
            let id = host.ask(&tag, None).await.job.id;
            eventually(SOON, || async { proxy.is_holding() }).await;
            moved(&host, &id, Bytes(1)).await;
            let before = engine.kill_containerd().unwrap();
            eventually(SOON, || async { engine.containerd().is_some_and(|pid| pid != before) }).await;
            proxy.throttle(None);
            proxy.release();
            let row = host.end(&id).await;
            assert_eq!(row.job.state, JobState::Succeeded, "at {percent} %: {:?}", row.outcome);
            let pull = row.outcome.pull.unwrap();
            assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), pushed.layer_bytes(), "{pull:?}");
            assert_eq!(host.here(&format!("app:{tag}")).await.unwrap().layers, pushed.diff_ids());
            // and nothing that was here is lost
            here.push(tag);
            for tag in &here {
                assert!(host.has(&format!("app:{tag}")).await, "{tag} at {percent} %");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_accepts_and_never_answers_is_waited_for_and_nothing_is_lost() {
    on_own(|mut engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let image = Image::new().layer(layer(96, number, 1, Bytes(400_000)));
        image.push(&registry, "acme/app:sha-1").unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(&engine, &registry.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.look_every = Duration::from_secs(1);
        })
        .await;
        until(&host, "the engine is seen", |seen| seen.status.ready).await;
        engine.freeze().unwrap();
        let id = host.ask("sha-1", None).await.job.id;
        until(&host, "it is seen as away", |seen| !seen.status.ready).await;
        assert!(!host.keeper.job(&id).await.unwrap().unwrap().job.state.is_final());
        engine.thaw().unwrap();
        let row = host.end(&id).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    })
    .await;
}
