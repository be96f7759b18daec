//! `layerkeeper history REF` and `plan REF`: which digest a tag had when, how it went each time, and who was due then.

use std::fs;
use std::time::Duration;

use chrono::{Local, TimeZone, Timelike};
use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Pushed, Registry, Scratch};
use layerkeeper_tests::daemon::Daemon;
use serde_json::Value;

use crate::cli::says;

fn pushed(registry: &Registry, number: u64) -> Pushed {
    let layer = Layer::random(7100 + number, Bytes(40_000)).unwrap();
    Image::new().layer(layer).push(registry, &format!("acme/dated:sha-{number}")).unwrap()
}

/// Only the newest tag stays, however young the others are.
fn daemon(registry: &Registry) -> Daemon {
    let rest = format!(
        "[disk]\nmin_free = \"1 MB\"\n[[runtime]]\nrepository = \"{}/acme/dated\"\nprune_tags = [\"sha-*\"]\nkeep_last = 1\n\
         min_age = \"0s\"\n",
        registry.host()
    );
    Daemon::up(&Engines::of(EngineKind::A).host(), &rest)
}

/// All that history has of a name, as JSON.
fn history(daemon: &Daemon, name: &str, more: &[&str]) -> Value {
    let args = [&["--json", "history", name], more].concat();
    serde_json::from_str(&says(daemon, &args, 0, &[])).unwrap()
}

/// Waits until so many changes of a name are taken down; the newest first.
fn changes(daemon: &Daemon, name: &str, number: usize) -> Vec<Value> {
    eventually_blocking(Duration::from_secs(30), || {
        let changes = daemon.json(&format!("/v1/changes?name={name}")).as_array().unwrap().clone();
        if changes.len() == number { Ok(changes) } else { Err(format!("{changes:?}")) }
    })
}

/// A command takes a tag away, and the look that misses it is taken down.
fn remove(daemon: &Daemon, name: &str, before: usize) {
    Engines::of(EngineKind::A).run_docker(["rmi", name]).unwrap();
    changes(daemon, name, before + 1);
}

#[test]
fn which_digest_a_tag_had_when_and_how_it_went_is_in_text_json_and_csv() {
    let registry = Registry::start(Auth::Open).unwrap();
    let (one, two) = (pushed(&registry, 1), pushed(&registry, 2));
    let (first, second) = (one.name.to_string(), two.name.to_string());
    let daemon = daemon(&registry);
    says(&daemon, &["deploy", &first, "--follow"], 0, &["succeeded"]);
    says(&daemon, &["deploy", &second, "--follow"], 0, &["succeeded"]);

    // another job's prune
    let gone = changes(&daemon, &first, 2).remove(0);
    let reason = gone["reason"].as_str().unwrap();
    assert!(reason.starts_with("layerkeeper removed it (removed: ") && reason.contains("freed"), "{reason}");
    let told = history(&daemon, &first, &[]);
    assert_eq!(told["changes"][0], gone);
    assert_eq!(told["changes"][1]["digest"], one.digest.to_string(), "{told}");
    let newest = &told["jobs"][0];
    assert_eq!((&newest["kind"], told["jobs"].as_array().unwrap().len()), (&"deploy".into(), 1), "{told}");
    assert_eq!(newest["outcome"]["pull"]["layers"].as_array().unwrap().len(), 1, "the newest is whole: {told}");
    says(&daemon, &["history", &first], 0, &["How it went:", "layerkeeper removed it (removed: "]);
    let csv = says(&daemon, &["history", &first, "--csv"], 0, &[]);
    let line = |what: &str, name: &str, end: &str| {
        let part = format!(",{what},{name},{end}");
        csv.lines().find(|line| line.contains(&part)).unwrap_or_else(|| panic!("{part} is not in {csv}")).to_owned()
    };
    line("named", &first, &one.digest.to_string());
    assert!(line("went", &first, "").contains("layerkeeper removed it (removed: "), "{csv}");

    // somebody else: it comes back, and both are remembered
    remove(&daemon, &second, 1);
    let changes = changes(&daemon, &second, 3);
    let reason = changes[1]["reason"].as_str().unwrap();
    assert!(reason.contains(": somebody ") && changes[0]["digest"] == two.digest.to_string(), "{changes:?}");
    says(&daemon, &["history", &second], 0, &[reason]);
    let csv = says(&daemon, &["history", &second, "--csv"], 0, &[]);
    assert!(csv.lines().any(|line| line.contains(",went,") && line.contains(reason)), "{csv}");
    assert_eq!(history(&daemon, &second, &[])["changes"][1]["reason"], reason);
}

#[test]
fn who_was_due_on_this_host_when_something_was_lost_is_said_by_plan_and_by_history() {
    let registry = Registry::start(Auth::Open).unwrap();
    let name = pushed(&registry, 3).name.to_string();
    let daemon = daemon(&registry);
    says(&daemon, &["deploy", &name, "--follow"], 0, &["succeeded"]);
    // it would be healed
    says(&daemon, &["forget", &name], 0, &[]);
    remove(&daemon, &name, 1);

    let seen = changes(&daemon, &name, 2)[0]["at"].as_i64().unwrap();
    let minute = Local.timestamp_millis_opt(seen).unwrap();
    let tree = Scratch::new("cleaned").unwrap();
    let root = tree.path().display().to_string();
    fs::create_dir_all(tree.path().join("etc/cron.d")).unwrap();
    let line = format!("{} {} * * * root docker system prune -af\n", minute.minute(), minute.hour());
    fs::write(tree.path().join("etc/cron.d/cleanup"), line).unwrap();
    let due = "at that minute /etc/cron.d/cleanup:1 runs `docker system prune -af`";
    let why = |record: &Value| record["layers"][0]["causes"][0]["why"].as_str().unwrap_or_default().to_owned();

    let told = |args: &[&str]| {
        let text = says(&daemon, args, 0, &[]);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(told(&["plan", &name, "--root", &root]).contains(due), "{}", told(&["plan", &name]));
    assert!(!told(&["plan", &name]).contains("cron.d/cleanup"), "only where it is due");
    let plan: Value =
        serde_json::from_str(&says(&daemon, &["--json", "plan", &name, "--root", &root], 0, &[])).unwrap();
    assert!(why(&plan["estimate"]).contains(due), "{plan}");

    // and afterwards of the deploy that moved it again, and of the name
    says(&daemon, &["deploy", &name, "--follow"], 0, &["succeeded"]);
    let text = told(&["history", &name, "--root", &root]);
    assert_eq!(text.matches(due).count(), 2, "beside the layer's cause, and beside how the name went: {text}");
    let json = history(&daemon, &name, &["--root", &root]);
    assert!(why(&json["jobs"][0]["outcome"]["pull"]["estimate"]).contains(due), "{json}");
    assert!(json["changes"][1]["reason"].as_str().unwrap().contains(due), "{json}");
    assert!(!told(&["history", &name]).contains("cron.d/cleanup"), "only where it is due");
}
