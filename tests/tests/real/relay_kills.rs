//! kill -9 of the engine and of the registry at each step of a pull through the relay. (In mid-blob: `relay.rs` and
//! `relay_cut.rs`; of the daemon: `tests/daemon/points.rs` and `relay_kill.rs`.)

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layerkeeper_core::JobState;
use layerkeeper_keeper::RELAY_POINTS;
use layerkeeper_testkit::{Auth, Engine, EngineKind, Pushed, Registry, eventually};
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use crate::relay::{relaying, rows, version};

const LONG: Duration = Duration::from_secs(60);

/// Has `kill` called once, as soon as a job comes to this point; the flag says that it was.
fn at_point(host: &Host, point: &'static str, mut kill: impl FnMut() + Send + 'static) -> Arc<AtomicBool> {
    let killed = Arc::new(AtomicBool::new(false));
    let told = killed.clone();
    host.at_each_point(move |at| {
        if at == point && !told.load(Ordering::SeqCst) {
            kill();
            told.store(true, Ordering::SeqCst);
        }
    });
    killed
}

/// By what the engine lists, the image is here under its name, and under none of the relay's.
async fn is_as_it_should_be(
    told: impl Fn() -> Vec<String>,
    (registry, tag): (&str, &str),
    pushed: &Pushed,
    point: &str,
) {
    let (digest, name) = (pushed.digest.to_string(), format!("{registry}/acme/app {tag} "));
    let ours = || told().into_iter().filter(|row| row.contains(&digest));
    eventually(LONG, async || {
        let strange: Vec<String> = ours().filter(|row| !row.starts_with(registry)).collect();
        if strange.is_empty() && ours().any(|row| row.starts_with(&name)) {
            Ok(())
        } else {
            Err(format!("{point}: {:?}", told()))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_at_any_step_loses_no_deploy() {
    for kind in EngineKind::ALL {
        let engine = Engine::start(kind).unwrap();
        let registry = Registry::start(Auth::Open).unwrap();
        let host = relaying(&engine, &registry.host()).await;
        let engine = Arc::new(Mutex::new(engine));
        for (n, point) in (1..).zip(RELAY_POINTS) {
            let tag = format!("sha-{n}");
            let pushed = version(150, n).push(&registry, &format!("acme/app:{tag}")).unwrap();
            let victim = engine.clone();
            let killed = at_point(&host, point, move || victim.lock().unwrap().kill9());
            let job = host.ask(&tag, None).await.job.id;
            eventually(LONG, async || killed.load(Ordering::SeqCst)).await;
            engine.lock().unwrap().start_again().unwrap();
            let row = host.end(&job).await;
            assert_eq!(row.job.state, JobState::Succeeded, "{kind:?}, {point}: {:?}", row.outcome);
            let told = || rows(&engine.lock().unwrap(), "/acme/app");
            is_as_it_should_be(told, (&registry.host(), &tag), &pushed, point).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_killed_at_any_step_loses_no_deploy() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let address = registry.host();
        let host = relaying(engine, &address).await;
        let images: Vec<(String, Pushed)> = (1..=RELAY_POINTS.len() as u64)
            .map(|n| {
                let tag = format!("sha-{n}");
                let pushed = version(number + 160, n).push(&registry, &format!("acme/app:{tag}")).unwrap();
                (tag, pushed)
            })
            .collect();
        let registry = Arc::new(Mutex::new(registry));
        for ((tag, pushed), point) in images.iter().zip(RELAY_POINTS) {
            let victim = registry.clone();
            let killed = at_point(&host, point, move || victim.lock().unwrap().kill9());
            let job = host.ask(tag, None).await.job.id;
            eventually(LONG, async || killed.load(Ordering::SeqCst)).await;
            // it stays away until a take of the job has failed of it, or has got by without it
            let felt = async || {
                let row = host.store().job(&job).await.unwrap().unwrap();
                row.job.state.is_final() || row.outcome.error.is_some()
            };
            eventually(LONG, felt).await;
            registry.lock().unwrap().start_again().unwrap();
            let row = host.end(&job).await;
            assert_eq!(row.job.state, JobState::Succeeded, "{point}: {:?}", row.outcome);
            is_as_it_should_be(|| rows(engine, "/acme/app"), (&address, tag), pushed, point).await;
        }
    })
    .await;
}
