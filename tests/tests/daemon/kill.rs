//! kill -9: nothing that was accepted is lost, and every job comes to one end.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::proxy::Proxy;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::Daemon;

use crate::runtimes;

#[test]
fn what_was_answered_202_is_there_after_kill_9_and_comes_to_its_end() {
    let registry = Registry::start(Auth::Open).unwrap();
    let names = ["one", "two", "three"];
    for (seed, name) in (6000..).zip(names) {
        let layer = Layer::random(seed, Bytes(50_000)).unwrap();
        Image::new().layer(layer).push(&registry, &format!("acme/{name}:sha-1")).unwrap();
    }
    // with the engine away the jobs stay where they are
    let mut daemon = Daemon::up("unix:///nowhere/docker.sock", &runtimes(&registry.host(), &names));
    let ids: Vec<String> =
        names.iter().map(|name| daemon.notify(&format!("{}/acme/{name}:sha-1", registry.host())).unwrap()).collect();
    daemon.kill9();
    let engine = Engines::of(EngineKind::A);
    daemon.rewrite(|text| text.replace("unix:///nowhere/docker.sock", &engine.host()));
    daemon.start_again();
    for id in ids {
        assert_eq!(daemon.end_of(&id)["state"], "succeeded");
    }
}

#[test]
fn a_kill_in_mid_pull_is_made_good_and_the_report_tells_of_it() {
    for (number, engine) in (1..).zip(Engines::all()) {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let layer = Layer::random(6100 + number, Bytes(6_000_000)).unwrap();
        let pushed = Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
        let mut daemon = Daemon::up(&engine.host(), &runtimes(&proxy.host(), &["app"]));
        proxy.throttle(Some(Bytes(500_000)));
        proxy.hold_after(Bytes(3_000_000));
        let id = daemon.notify(&format!("{}/acme/app:sha-1", proxy.host())).unwrap();
        // the attempt is in the record once it is two seconds old
        eventually_blocking(Duration::from_secs(30), || {
            let job = daemon.job(&id);
            let moved = job["report"]["attempts"][0]["moved_bytes"]
                .as_u64()
                .or(job["outcome"]["attempts"][0]["moved_bytes"].as_u64());
            moved.filter(|moved| *moved > 0).ok_or(format!("{job}"))
        });
        daemon.kill9();
        proxy.throttle(None);
        proxy.release();
        daemon.start_again();
        let job = daemon.end_of(&id);
        assert_eq!(job["state"], "succeeded", "{job}");
        let pull = if job["outcome"].is_null() { &job["report"]["pull"] } else { &job["outcome"]["pull"] };
        let attempts = pull["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2, "{pull}");
        assert!(pull["wasted_bytes"].as_u64().unwrap() > 0, "{pull}");
        let sum = pull["reused_bytes"].as_u64().unwrap() + pull["downloaded_bytes"].as_u64().unwrap();
        assert_eq!(Bytes(sum), pushed.layer_bytes());
    }
}
