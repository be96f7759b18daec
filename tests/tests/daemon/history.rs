//! `layerkeeper history REF`: which digest a tag had when, and how it went each time.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Pushed, Registry};
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
