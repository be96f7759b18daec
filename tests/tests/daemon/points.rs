//! kill -9 at every step of a job, and at any moment: nothing that was accepted is lost, each job comes to one end, and
//! its report is true.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_keeper::{AWAY_POINTS, POINTS, RELAY_POINTS};
use layerkeeper_testkit::{Auth, Engine, EngineKind, Engines, Image, Layer, Pushed, Registry};
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

/// Posts a deploy to a daemon that dies at this step, and once more to the one after it, as CI does whose answer was lost.
/// What it pulled once it has ended, all of which must be told.
fn deploy_over(daemon: &mut Daemon, point: &str, image: &str, pushed: &Pushed) -> Value {
    daemon.kill9();
    daemon.die_at(Some(point));
    daemon.start_again();
    let request = image.replace('.', "-");
    // the answer may be lost: the first step is taken as soon as the job is on the disk
    let first = daemon.try_post(&request, image);
    let limit = Duration::from_secs(60);
    assert!(daemon.ends_within(limit), "{point}: {first:?}, and it never came to this step: {}", daemon.log());
    daemon.die_at(None);
    daemon.start_again();
    let (status, again) = daemon.post(&request, image);
    assert!(matches!(status, 200 | 202), "{point}: {status} {again}");
    let id = |answer: &str| serde_json::from_str::<Value>(answer).unwrap()["id"].as_str().unwrap().to_owned();
    if let Ok((_, first)) = first {
        assert_eq!(id(&first), id(&again), "{point}: one request is one job");
    }
    let job = daemon.end_of(&id(&again));
    assert_eq!(job["state"], "succeeded", "{point}: {job}");
    let of = if job["outcome"].is_null() { &job["report"] } else { &job["outcome"] };
    let pull = of["pull"].clone();
    let sum = pull["reused_bytes"].as_u64().unwrap() + pull["downloaded_bytes"].as_u64().unwrap();
    assert_eq!(Bytes(sum), pushed.layer_bytes(), "{point}: {pull}");
    pull
}

#[test]
fn kill_9_at_every_step_of_a_job_loses_nothing() {
    on_each(|engine, number| {
        let registry = Registry::start(Auth::Open).unwrap();
        let rest = runtimes(&registry.host(), &["app"]) + "keep_last = 1\nkeep_min = 1\nmin_age = \"0s\"\n";
        let mut daemon = Daemon::up(&engine.host(), &rest);
        let push = |n| version(6200 + number, n).push(&registry, &format!("acme/app:sha-{n}")).unwrap();
        let image = |n: u64| format!("{}/acme/app:sha-{n}", registry.host());
        push(1);
        let first = daemon.notify(&image(1)).unwrap();
        assert_eq!(daemon.end_of(&first)["state"], "succeeded");
        for (n, point) in (2..).zip(POINTS) {
            let pull = deploy_over(&mut daemon, point, &image(n), &push(n));
            assert_eq!(pull["attempts"].as_array().unwrap().last().unwrap()["failure"], Value::Null, "{point}: {pull}");
            let images = engine.list_images(&["--format", "{{.Repository}}:{{.Tag}}"]).unwrap();
            let here = |n| images.contains(&format!("{}\n", image(n)));
            assert!(here(n) && !here(n - 1), "{point}: {images}");
            let state = daemon.cli(&["check-state"]);
            assert!(state.status.success(), "{point}: {}", String::from_utf8_lossy(&state.stderr));
        }
        let jobs = daemon.json("/v1/jobs?limit=100");
        let open = jobs.as_array().unwrap().iter().filter(|job| job["state"] != "succeeded").count();
        assert_eq!(open, 0, "{jobs}");
        assert_eq!(
            jobs.as_array().unwrap().len(),
            1 + POINTS.len(),
            "a request that was sent twice is one job: {jobs}"
        );
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
            deploy_over(&mut daemon, point, &format!("{}/acme/app:sha-{n}", registry.host()), &pushed);
            let images = engine.list_images(&["--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]);
            let images = images.unwrap();
            let digest = pushed.digest.to_string();
            let strange = |row: &&str| row.contains(&digest) && !row.starts_with(&registry.host());
            assert_eq!(images.lines().find(strange), None, "{point}: {images}");
            assert!(images.contains(&format!("{}/acme/app sha-{n}", registry.host())), "{point}: {images}");
        }
    });
}

#[test]
fn kill_9_at_every_step_while_the_registry_is_away_loses_nothing_and_leaves_no_name_of_the_relays() {
    on_each(|engine, number| {
        let (mut origin, mirror) = (Registry::start(Auth::Open).unwrap(), Registry::start(Auth::Open).unwrap());
        let rest = format!("[[mirror]]\nregistry = \"{}\"\nendpoints = [\"{}\"]\n", origin.host(), mirror.host());
        let mut daemon = Daemon::up(&engine.host(), &(rest + &runtimes(&origin.host(), &["app"])));
        origin.stop();
        for (n, point) in (1..).zip(AWAY_POINTS) {
            let pushed = version(6500 + number, n).push(&mirror, &format!("acme/app:sha-{n}")).unwrap();
            let image = format!("{}/acme/app:sha-{n}", origin.host());
            deploy_over(&mut daemon, point, &format!("{image}@{}", pushed.digest), &pushed);
            let images = engine.list_images(&["--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}"]);
            let images = images.unwrap();
            assert!(images.contains(&format!("{image} ")), "{point}: {images}");
            let digest = pushed.digest.to_string();
            let strange = |row: &&str| row.contains(&digest) && !row.starts_with(&origin.host());
            assert_eq!(images.lines().find(strange), None, "{point}: {images}");
        }
        let from = daemon.json("/v1/status")["from_mirrors"].as_array().unwrap().len();
        assert_eq!(from, AWAY_POINTS.len(), "each of them waits for its registry");
        origin.start_again().unwrap();
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
