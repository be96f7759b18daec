//! Clocks that change under a running daemon: daylight saving in both directions, and a day ahead or back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Auth, Engine, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::clock::FakeClock;
use layerkeeper_tests::daemon::{Daemon, binary};
use serde_json::Value;

use crate::runtimes;
use crate::schedule::until_present;

/// A change of the clocks during a night, and what is due around it.
struct Night {
    zone: &'static str,
    line: &'static str,
    /// An hour or so before the first run.
    begin: &'static str,
    /// The instants at which the first run may come.
    first: [&'static str; 2],
    /// Shortly after the clock shows the time of the first run once more, or would have shown it.
    again: &'static str,
    /// The run after that.
    second: &'static str,
}

/// Shanghai's clocks were changed last in 1991.
const NIGHTS: [Night; 4] = [
    Night {
        zone: "Europe/Berlin",
        line: "0 30 2 * * *",
        begin: "2026-10-24T23:30:00Z",
        first: ["2026-10-25T00:30:00Z"; 2],
        again: "2026-10-25T01:30:01Z",
        second: "2026-10-26T01:30:00Z",
    },
    Night {
        zone: "Europe/Berlin",
        line: "0 30 2 * * *",
        begin: "2026-03-29T00:00:00Z",
        first: ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        again: "2026-03-29T01:30:01Z",
        second: "2026-03-30T00:30:00Z",
    },
    Night {
        zone: "Asia/Shanghai",
        line: "0 30 1 * * *",
        begin: "1991-09-14T15:30:00Z",
        first: ["1991-09-14T16:30:00Z"; 2],
        again: "1991-09-14T17:30:01Z",
        second: "1991-09-15T17:30:00Z",
    },
    Night {
        zone: "Asia/Shanghai",
        line: "0 30 2 * * *",
        begin: "1991-04-13T17:00:00Z",
        first: ["1991-04-13T18:00:00Z", "1991-04-13T18:30:00Z"],
        again: "1991-04-13T18:30:01Z",
        second: "1991-04-14T17:30:00Z",
    },
];

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// So many seconds before an instant.
fn before(at: DateTime<Utc>, seconds: i64) -> String {
    (at - chrono::Duration::seconds(seconds)).to_rfc3339()
}

/// A daemon that keeps one image by this line, on this clock.
fn keeping(engine: &Engine, registry: &Registry, line: &str, zone: &str, clock: &FakeClock) -> Daemon {
    let image = format!("{}/acme/base:1", registry.host());
    let keep = format!(
        "[limits]\nlook_every = \"1s\"\n[schedule]\njitter = \"0s\"\n[[keep]]\nimage = \"{image}\"\nschedule = \"{line}\"\ntimezone = \"{zone}\"\n"
    );
    let daemon = Daemon::on_clock(&engine.host(), &keep, clock);
    // a run that comes due while the first pull is under way joins it
    until_present(&daemon);
    daemon
}

fn registry(seed: u64) -> Registry {
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = Layer::random(seed, Bytes(50_000)).unwrap();
    Image::new().layer(layer).push(&registry, "acme/base:1").unwrap();
    registry
}

/// When the image is due next.
fn next_run(daemon: &Daemon) -> DateTime<Utc> {
    let status = daemon.json("/v1/status");
    let at = status["kept"][0]["next_run"].as_i64().unwrap_or_default();
    DateTime::from_timestamp_millis(at).unwrap()
}

/// Waits until so many scheduled runs have succeeded; there must never be more.
fn until_runs(daemon: &Daemon, wanted: usize) {
    eventually_blocking(Duration::from_secs(60), || {
        let jobs = daemon.json("/v1/jobs?kind=warm");
        let scheduled: Vec<&Value> =
            jobs.as_array().unwrap().iter().filter(|job| job["trigger"] == "schedule").collect();
        assert!(scheduled.len() <= wanted, "{} runs where {wanted} were due: {jobs}", scheduled.len());
        let done = scheduled.iter().filter(|job| job["state"] == "succeeded").count();
        if done == wanted { Ok(()) } else { Err(format!("{done} of {wanted} runs: {jobs}\n{}", daemon.log())) }
    });
}

/// Waits until the daemon, whose bell for schedules rings every half second, has looked around at this instant or later.
fn until_looked(daemon: &Daemon, at: DateTime<Utc>) {
    eventually_blocking(Duration::from_secs(30), || {
        let seen = daemon.json("/v1/status")["engine"]["seen_at"].as_i64().unwrap_or_default();
        if seen >= at.timestamp_millis() { Ok(()) } else { Err(format!("{seen}")) }
    });
}

#[test]
fn each_run_happens_once_in_the_nights_in_which_clocks_change() {
    // not while the clock goes
    binary();
    let engine = Engines::of(EngineKind::A);
    let registry = registry(6600);
    std::thread::scope(|scope| {
        for night in &NIGHTS {
            let registry = &registry;
            scope.spawn(move || {
                let clock = FakeClock::at(night.begin);
                let daemon = keeping(engine, registry, night.line, night.zone, &clock);
                let first = eventually_blocking(Duration::from_secs(10), || {
                    let at = next_run(&daemon);
                    if at.timestamp() > 0 { Ok(at) } else { Err("nothing is due") }
                });
                let [earliest, latest] = night.first.map(instant);
                assert!(first >= earliest && first <= latest, "{first}");
                clock.set(&before(first, 2));
                until_runs(&daemon, 1);
                assert_eq!(next_run(&daemon), instant(night.second), "{}", night.zone);
                clock.set(night.again);
                until_looked(&daemon, instant(night.again) + chrono::Duration::seconds(2));
                clock.set(&before(instant(night.second), 2));
                until_runs(&daemon, 2);
            });
        }
    });
}

#[test]
fn a_clock_that_is_set_a_day_ahead_or_back_runs_nothing_twice_and_leaves_nothing_out() {
    binary();
    let engine = Engines::of(EngineKind::A);
    let registry = registry(6601);
    let clock = FakeClock::at("2026-06-10T18:00:00Z");
    let daemon = keeping(engine, &registry, "0 0 3 * * *", "Asia/Shanghai", &clock);
    let due = |day: u32| instant(&format!("2026-06-{day}T19:00:00Z"));
    until_next(&daemon, due(10));
    clock.set(&before(due(10), 2));
    until_runs(&daemon, 1);
    // a day back: the run of that instant has been
    clock.set("2026-06-09T19:00:30Z");
    eventually_blocking(Duration::from_secs(60), || {
        let log = daemon.log();
        if log.contains("the wall clock was set back") { Ok(()) } else { Err(log) }
    });
    until_next(&daemon, due(11));
    clock.set(&before(due(10), 2));
    until_looked(&daemon, due(10) + chrono::Duration::seconds(2));
    clock.set(&before(due(11), 2));
    until_runs(&daemon, 2);
    // a day ahead, over an instant: it is made up at once
    clock.set("2026-06-12T19:30:00Z");
    until_runs(&daemon, 3);
    until_next(&daemon, due(13));
    // and where the daemon was down meanwhile, at its start
    let mut daemon = daemon;
    daemon.kill9();
    clock.set("2026-06-15T20:00:00Z");
    daemon.start_again();
    until_runs(&daemon, 4);
    until_next(&daemon, due(16));
}

fn until_next(daemon: &Daemon, at: DateTime<Utc>) {
    eventually_blocking(Duration::from_secs(30), || {
        let next = next_run(daemon);
        if next == at { Ok(()) } else { Err(format!("{next} where {at} is due")) }
    });
}

#[test]
fn nothing_goes_by_its_age_on_a_clock_that_has_jumped() {
    binary();
    let engine = Engines::of(EngineKind::A);
    let registry = Registry::start(Auth::Open).unwrap();
    let clock = FakeClock::at("2026-06-10T12:00:00Z");
    let rest = runtimes(&registry.host(), &["app"]) + "keep_last = 1\nkeep_min = 1\nmin_age = \"24h\"\n";
    let daemon = Daemon::on_clock(&engine.host(), &rest, &clock);
    for n in 1..=2 {
        let layer = Layer::random(6610 + n, Bytes(50_000)).unwrap();
        let pushed = Image::new().layer(layer).push(&registry, &format!("acme/app:sha-{n}")).unwrap();
        let shipped = daemon.cli(&["deploy", &pushed.name.to_string(), "--follow"]);
        assert!(shipped.status.success(), "{shipped:?}");
    }
    clock.set("2026-06-13T12:00:00Z");
    let pruned = daemon.cli(&["prune"]);
    assert!(pruned.status.success(), "{pruned:?}");
    let jobs = daemon.json("/v1/jobs?kind=prune");
    let id = jobs[0]["id"].as_str().unwrap();
    let prune = daemon.end_of(id)["outcome"]["prune"].clone();
    assert_eq!(prune["removals"].as_array().map(Vec::len), Some(0), "{prune}");
    assert!(prune["kept"].to_string().contains("the wall clock jumped by"), "{prune}");
    assert!(daemon.log().contains("the wall clock jumped"), "{}", daemon.log());
    let images = engine.list_images(&["--format", "{{.Repository}}:{{.Tag}}"]).unwrap();
    assert!(images.contains(&format!("{}/acme/app:sha-1\n", registry.host())), "{images}");
}
