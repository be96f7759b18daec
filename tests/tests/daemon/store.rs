//! The state under faults: a start on a bad file or disk says so and leaves the file as it is; a disk that fills up later
//! costs nothing but time.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_testkit::disk::Disk;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::proxy::Proxy;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::{Daemon, binary};
use serde_json::Value;

use crate::runtimes;

const NOWHERE: &str = "unix:///nowhere/docker.sock";

/// A configuration that lets a test post as fast as it can.
fn unlimited(registry: &str, names: &[&str]) -> String {
    format!("[limits]\nwebhook_rate = 10000\nwebhook_burst = 10000\n{}", runtimes(registry, names))
}

/// A daemon that ran and was stopped, with a queued job and some history in its state.
fn stopped() -> Daemon {
    let mut daemon = Daemon::up(NOWHERE, &unlimited("ghcr.io", &["app", "other"]));
    for n in 0..30 {
        daemon.notify(&format!("ghcr.io/acme/app:sha-{n}")).unwrap();
    }
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(Duration::from_secs(15)), Some(0), "{}", daemon.log());
    daemon
}

fn database(state: &Path) -> PathBuf {
    state.join("layerkeeper.db")
}

fn hash(state: &Path) -> Digest {
    Digest::of(&fs::read(database(state)).unwrap())
}

/// A start ends with exit code 1 and these words, and the database is the same afterwards.
fn refuses(daemon: &mut Daemon, state: &Path, words: &[&str]) {
    let (before, told) = (hash(state), daemon.log().len());
    daemon.start_without_waiting();
    assert_eq!(daemon.exit_code(Duration::from_secs(15)), Some(1), "{}", daemon.log());
    let log = daemon.log().split_off(told);
    for word in words {
        assert!(log.contains(word), "{word:?} is not in: {log}");
    }
    assert_eq!(log.matches("ERROR").count(), 1, "one error line: {log}");
    assert_eq!(hash(state), before, "the file was changed");
}

/// What `layerkeeper check-state` finds; it changes nothing.
fn looked_at(daemon: &Daemon, state: &Path, code: i32) -> Value {
    let before = hash(state);
    let seen = looked_at_live(daemon, state, code);
    assert_eq!(hash(state), before, "the file was changed");
    seen
}

/// The same beside a daemon that runs, and writes when it wants to.
fn looked_at_live(daemon: &Daemon, state: &Path, code: i32) -> Value {
    let output = daemon.cli(&["check-state", "--json", "--state", &state.display().to_string()]);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same daemon over a copy of its state on this disk.
fn moved_to(disk: &Disk) -> (Daemon, PathBuf) {
    let daemon = stopped();
    let state = disk.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(database(&daemon.state()), database(&state)).unwrap();
    let old = daemon.state().display().to_string();
    daemon.rewrite(|text| text.replace(&old, &state.display().to_string()));
    (daemon, state)
}

/// Not a byte more goes onto it.
fn fill(disk: &Disk) {
    disk.fill_to(Bytes(64 << 10)).unwrap();
    let mut rest = File::options().create(true).append(true).open(disk.path().join("rest")).unwrap();
    let mut before = None;
    // ext4 gives back what it had set aside once data is on the disk
    while before != Some(rest.metadata().unwrap().len()) {
        before = Some(rest.metadata().unwrap().len());
        while rest.write_all(&[0; 512]).is_ok() {}
        rest.sync_all().unwrap();
    }
}

fn make_room(disk: &Disk) {
    for name in ["filler", "rest"] {
        fs::remove_file(disk.path().join(name)).unwrap();
    }
}

/// What the -wal file holds already takes some writes more, each of them as durable as ever: the ids of the jobs that were
/// taken, and the problem after them.
fn post_until_refused(daemon: &Daemon, registry: &str) -> (Vec<String>, String) {
    let mut taken = Vec::new();
    loop {
        let n = taken.len();
        match daemon.post(&format!("full_{n}"), &format!("{registry}/acme/other:sha-{n}")) {
            (503, problem) => return (taken, problem),
            (202, answer) => {
                let answer: Value = serde_json::from_str(&answer).unwrap();
                taken.push(answer["id"].as_str().unwrap().to_owned());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_header_that_is_overwritten_is_named_and_left() {
    let mut daemon = stopped();
    let state = daemon.state();
    File::options().write(true).open(database(&state)).unwrap().write_all_at(&[0xee; 100], 0).unwrap();
    let file = database(&state).display().to_string();
    refuses(&mut daemon, &state, &[&file, "damaged or no database", "check-state", "move it"]);
    assert_eq!(looked_at(&daemon, &state, 1)["verdict"], "damaged");
}

#[test]
fn a_page_that_is_overwritten_in_the_middle_is_named_and_left_and_the_rest_is_told() {
    let mut daemon = stopped();
    let state = daemon.state();
    let whole = looked_at(&daemon, &state, 0);
    assert_eq!((&whole["jobs"]["superseded"], &whole["jobs"]["queued"]), (&29.into(), &1.into()));
    let middle = fs::metadata(database(&state)).unwrap().len() / 4096 / 2;
    let file = File::options().write(true).open(database(&state)).unwrap();
    file.write_all_at(&[0xee; 4096], middle * 4096).unwrap();
    let file = database(&state).display().to_string();
    refuses(&mut daemon, &state, &[&file, "damaged", "check-state", "restore a copy"]);
    let seen = looked_at(&daemon, &state, 1);
    assert_eq!(seen["verdict"], "damaged");
    assert!(!seen["damage"].as_array().unwrap().is_empty(), "{seen}");
    assert_eq!(seen["unfinished"][0]["image"], "ghcr.io/acme/app:sha-29", "{seen}");
}

#[test]
fn a_newer_file_is_named_and_left_and_told_as_far_as_it_is_understood() {
    let mut daemon = stopped();
    let state = daemon.state();
    // PRAGMA user_version: big-endian at byte 60 (the file format, section 1.3)
    let file = File::options().write(true).open(database(&state)).unwrap();
    file.write_all_at(&99u32.to_be_bytes(), 60).unwrap();
    let file = database(&state).display().to_string();
    refuses(&mut daemon, &state, &[&file, "schema version 99", "run the newer layerkeeper"]);
    let seen = looked_at(&daemon, &state, 1);
    assert_eq!((&seen["verdict"], &seen["version"]), (&"newer".into(), &99.into()));
    assert_eq!(seen["unfinished"].as_array().unwrap().len(), 1, "{seen}");
}

#[test]
fn a_read_only_mount_is_named_and_left() {
    let disk = Disk::ext4(Bytes(16 << 20), None).unwrap();
    let (mut daemon, state) = moved_to(&disk);
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap();
    assert!(status.success());
    refuses(&mut daemon, &state, &[&state.display().to_string(), "cannot be written", "mounted read-only"]);
    let seen = looked_at(&daemon, &state, 0);
    assert_eq!(seen["jobs"]["queued"], 1, "{seen}");
}

#[test]
fn a_directory_without_permission_is_named_and_left() {
    let daemon = stopped();
    let state = daemon.state();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&state, Some(65_534), Some(65_534)).unwrap();
    let before = hash(&state);
    // even root is bound by permissions without these
    let powerless = |args: &[&str]| -> Output {
        let mut command = Command::new("timeout");
        command.args(["20", "setpriv", "--bounding-set=-dac_override,-dac_read_search"]).arg(binary());
        command.arg("--config").arg(daemon.config()).args(args).env_remove("DOCKER_HOST").output().unwrap()
    };
    let started = powerless(&["run"]);
    let log = String::from_utf8_lossy(&started.stderr);
    assert_eq!(started.status.code(), Some(1), "{log}");
    for word in [&*state.display().to_string(), "Permission denied", "belongs to the user"] {
        assert!(log.contains(word), "{word:?} is not in: {log}");
    }
    let seen = powerless(&["check-state"]);
    let text = String::from_utf8_lossy(&seen.stdout);
    assert_eq!(seen.status.code(), Some(1), "{text}");
    assert!(text.contains("UNREADABLE") && text.contains("Permission denied"), "{text}");
    assert_eq!(hash(&state), before, "the file was changed");
}

#[test]
fn a_full_disk_is_named_at_the_start_and_with_room_the_start_succeeds() {
    let disk = Disk::ext4(Bytes(16 << 20), None).unwrap();
    let (mut daemon, state) = moved_to(&disk);
    fill(&disk);
    let file = database(&state).display().to_string();
    refuses(&mut daemon, &state, &[&file, "the file system is full", "make room"]);
    assert_eq!(looked_at(&daemon, &state, 0)["jobs"]["queued"], 1);
    make_room(&disk);
    daemon.start_again();
    assert_eq!(daemon.json("/v1/status")["queued"], 1);
}

#[test]
fn a_first_start_on_a_full_disk_leaves_nothing_that_hinders_the_next() {
    let disk = Disk::ext4(Bytes(16 << 20), None).unwrap();
    let (mut daemon, state) = moved_to(&disk);
    fs::write(database(&state), "").unwrap();
    fill(&disk);
    daemon.start_without_waiting();
    assert_eq!(daemon.exit_code(Duration::from_secs(15)), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("the file system is full"), "{}", daemon.log());
    make_room(&disk);
    daemon.start_again();
    assert_eq!(looked_at_live(&daemon, &state, 0)["verdict"], "fine");
}

#[test]
fn while_the_disk_is_full_webhooks_get_503_and_with_room_they_are_taken_again() {
    let disk = Disk::ext4(Bytes(16 << 20), None).unwrap();
    let (mut daemon, state) = moved_to(&disk);
    daemon.start_again();
    fill(&disk);
    let (taken, problem) = post_until_refused(&daemon, "ghcr.io");
    assert!(problem.contains("not-stored") && problem.contains("nothing was taken"), "{problem}");
    assert!(!problem.contains("layerkeeper.db"), "no paths for strangers: {problem}");
    assert_eq!(daemon.json("/v1/status")["ready"], false, "it is up, and tells");
    assert!(daemon.log().contains("the file system is full"), "{}", daemon.log());
    let seen = looked_at_live(&daemon, &state, 0);
    let jobs = seen["rows"]["jobs"].as_u64().unwrap();
    assert_eq!(jobs as usize, 30 + taken.len(), "a refused request left something: {seen}");
    make_room(&disk);
    let n = taken.len();
    let (status, answer) = daemon.post(&format!("full_{n}"), &format!("ghcr.io/acme/other:sha-{n}"));
    assert_eq!(status, 202, "the same request again: {answer}");
    for id in &taken {
        assert_eq!(daemon.job(id)["id"], id.as_str());
    }
    daemon.kill9();
    daemon.start_again();
    assert_eq!(looked_at_live(&daemon, &state, 0)["rows"]["jobs"], jobs + 1);
}

#[test]
fn a_disk_that_fills_up_in_mid_job_delays_its_end_and_no_more() {
    let registry = Registry::start(Auth::Open).unwrap();
    let proxy = Proxy::start(&registry.host()).unwrap();
    let layer = Layer::random(6700, Bytes(3_000_000)).unwrap();
    Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
    let disk = Disk::ext4(Bytes(16 << 20), None).unwrap();
    let mut daemon = Daemon::start(&Engines::of(EngineKind::A).host(), &unlimited(&proxy.host(), &["app", "other"]));
    daemon.kill9();
    let (old, new) = (daemon.state().display().to_string(), disk.path().join("state").display().to_string());
    daemon.rewrite(|text| text.replace(&old, &new));
    daemon.start_again();
    proxy.hold_after(Bytes(600_000));
    let id = daemon.notify(&format!("{}/acme/app:sha-1", proxy.host())).unwrap();
    eventually_blocking(Duration::from_secs(30), || proxy.is_holding());
    fill(&disk);
    post_until_refused(&daemon, &proxy.host());
    assert_eq!(daemon.job(&id)["state"], "running", "too late for what this test is about");
    proxy.release();
    eventually_blocking(Duration::from_secs(60), || {
        if daemon.log().contains("could not store how the job ended") { Ok(()) } else { Err(daemon.log()) }
    });
    assert_eq!(daemon.job(&id)["state"], "running");
    make_room(&disk);
    let job = daemon.end_of(&id);
    assert_eq!(job["state"], "succeeded", "{job}");
}
