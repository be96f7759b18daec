//! kill -9 at every step of a job, and at any moment: nothing that was accepted is lost, each job comes to one end, and
//! its report is true.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_keeper::{POINTS, RELAY_POINTS};
use layerkeeper_testkit::{Auth, Engine, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::Daemon;
use serde_json::Value;

use crate::runtimes;

/// On A, B and C at once; the number tells them apart.
fn on_each(test: impl Fn(&'static Engine, u64) + Send + Sync) {
    std::thread::scope(|scope| {
        for (number, kind) in (1..).zip(EngineKind::ALL) {
            let test = &test;
            scope.spawn(move || test(Engines::of(kind), number));
        }
    });
}

fn version(seed: u64, n: u64) -> Image {
    let layer = |n| Layer::random(seed * 1000 + n, Bytes(60_000)).unwrap();
    Image::new().layer(layer(0)).layer(layer(n))
}

fn pull_of(job: &Value) -> &Value {
    if job["outcome"].is_null() { &job["report"]["pull"] } else { &job["outcome"]["pull"] }
}

#[test]
fn kill_9_at_every_step_of_a_job_loses_nothing() {
    on_each(|engine, number| {
        let registry = Registry::start(Auth::Open).unwrap();
        let rest = runtimes(&registry.host(), &["app"]) + "keep_last = 1\nkeep_min = 1\nmin_age = \"0s\"\n";
        let mut daemon = Daemon::up(&engine.host(), &rest);
        let mut n = 0;
        let mut ship = |daemon: &Daemon| {
            n += 1;
            let pushed = version(6200 + number, n).push(&registry, &format!("acme/app:sha-{n}")).unwrap();
            let id = daemon.notify(&format!("{}/acme/app:sha-{n}", registry.host())).unwrap();
            (id, pushed, n)
        };
        let (first, ..) = ship(&daemon);
        assert_eq!(daemon.end_of(&first)["state"], "succeeded");
        for point in POINTS {
            daemon.kill9();
            daemon.die_at(Some(point));
            daemon.start_again();
            let (id, pushed, n) = ship(&daemon);
            let limit = Duration::from_secs(60);
            assert!(daemon.ends_within(limit), "{point}: the daemon never came to this step: {}", daemon.log());
            daemon.die_at(None);
            daemon.start_again();
            let job = daemon.end_of(&id);
            assert_eq!(job["state"], "succeeded", "{point}: {job}");
            let pull = pull_of(&job);
            let sum = pull["reused_bytes"].as_u64().unwrap() + pull["downloaded_bytes"].as_u64().unwrap();
            assert_eq!(Bytes(sum), pushed.layer_bytes(), "{point}: {pull}");
            assert_eq!(pull["attempts"].as_array().unwrap().last().unwrap()["failure"], Value::Null, "{point}: {pull}");
            let images = engine.run_docker(["images", "--format", "{{.Repository}}:{{.Tag}}"]).unwrap();
            let here = |n: u64| images.contains(&format!("{}/acme/app:sha-{n}\n", registry.host()));
            assert!(here(n) && !here(n - 1), "{point}: {images}");
            let state = daemon.cli(&["check-state"]);
            assert!(state.status.success(), "{point}: {}", String::from_utf8_lossy(&state.stderr));
        }
        let jobs = daemon.json("/v1/jobs?limit=100");
        let open = jobs.as_array().unwrap().iter().filter(|job| job["state"] != "succeeded").count();
        assert_eq!(open, 0, "{jobs}");
    });
}

#[test]
fn kill_9_at_every_step_of_the_relay_loses_nothing_and_leaves_no_name_of_its() {
    on_each(|engine, number| {
        let registry = Registry::start(Auth::Open).unwrap();
        let rest = "[pull]\ntransfer = \"relay\"\n".to_owned() + &runtimes(&registry.host(), &["app"]);
        let mut daemon = Daemon::up(&engine.host(), &rest);
        for (n, point) in (1..).zip(RELAY_POINTS) {
            let pushed = version(6400 + number, n).push(&registry, &format!("acme/app:sha-{n}")).unwrap();
            daemon.kill9();
            daemon.die_at(Some(point));
            daemon.start_again();
            let id = daemon.notify(&format!("{}/acme/app:sha-{n}", registry.host())).unwrap();
            let limit = Duration::from_secs(60);
            assert!(daemon.ends_within(limit), "{point}: the daemon never came to this step: {}", daemon.log());
            daemon.die_at(None);
            daemon.start_again();
            let job = daemon.end_of(&id);
            assert_eq!(job["state"], "succeeded", "{point}: {job}");
            let pull = pull_of(&job);
            let sum = pull["reused_bytes"].as_u64().unwrap() + pull["downloaded_bytes"].as_u64().unwrap();
            assert_eq!(Bytes(sum), pushed.layer_bytes(), "{point}: {pull}");
            let images = engine.run_docker(["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]);
            let images = images.unwrap();
            let digest = pushed.digest.to_string();
            let strange = |row: &&str| row.contains(&digest) && !row.starts_with(&registry.host());
            assert_eq!(images.lines().find(strange), None, "{point}: {images}");
            assert!(images.contains(&format!("{}/acme/app sha-{n}", registry.host())), "{point}: {images}");
        }
    });
}

#[test]
fn fifty_kills_at_any_moment_lose_nothing() {
    on_each(|engine, number| {
        let registry = Registry::start(Auth::Open).unwrap();
        let names = ["one", "two", "three"];
        let mut daemon = Daemon::up(&engine.host(), &runtimes(&registry.host(), &names));
        let mut accepted = Vec::new();
        // 51 on the three of them
        for n in 0..17u64 {
            let name = names[n as usize % names.len()];
            version(6300 + number, n + 1).push(&registry, &format!("acme/{name}:sha-{n}")).unwrap();
            accepted.push(daemon.notify(&format!("{}/acme/{name}:sha-{n}", registry.host())).unwrap());
            // a spread that is the same in every run, from right after the 202 to well after the end
            std::thread::sleep(Duration::from_millis((n * 7919 + number * 104_729) % 900));
            daemon.kill9();
            daemon.start_again();
        }
        let last = accepted.len() - names.len();
        for (at, id) in accepted.iter().enumerate() {
            let job = daemon.end_of(id);
            let state = job["state"].as_str().unwrap().to_owned();
            // a newer one of the repository may have taken its place while it waited, but never the newest's
            assert!(state == "succeeded" || (state == "superseded" && at < last), "{job}");
        }
        daemon.kill9();
        let state = daemon.cli(&["check-state"]);
        assert!(state.status.success(), "{}", String::from_utf8_lossy(&state.stdout));
    });
}
