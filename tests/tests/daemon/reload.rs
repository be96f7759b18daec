//! SIGHUP: a bad new configuration changes nothing and says so; a good one takes effect.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::Daemon;

use crate::runtimes;
use crate::stop::pulling;

#[test]
fn a_bad_configuration_changes_nothing_and_a_good_one_warms_its_new_image() {
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = Layer::random(6300, Bytes(50_000)).unwrap();
    let base = Image::new().layer(layer).push(&registry, "acme/base:1").unwrap();
    let engine = Engines::of(EngineKind::A);
    let mut daemon = Daemon::up(&engine.host(), &runtimes(&registry.host(), &["app"]));
    daemon.rewrite(|text| format!("{text}\nno_such_key = 1\n"));
    daemon.signal("HUP");
    let log = until_logged(&daemon, "the old one stays in force");
    assert!(log.contains("no_such_key"), "{log}");
    assert_eq!(daemon.json("/v1/status")["kept"].as_array().unwrap().len(), 0);

    daemon.rewrite(|text| {
        let text = text.replace("\nno_such_key = 1\n", "");
        format!("{text}\n[[keep]]\nimage = \"{}\"\n", base.name)
    });
    daemon.signal("HUP");
    eventually_blocking(Duration::from_secs(30), || {
        let kept = daemon.json("/v1/status")["kept"].clone();
        if kept[0]["present"] == true { Ok(()) } else { Err(kept.to_string()) }
    });
}

#[test]
fn no_reload_touches_a_pull() {
    let (mut daemon, proxy, _registry, id) = pulling("");
    let said = |daemon: &Daemon, words: &str| daemon.log().matches(words).count();
    daemon.rewrite(|text| format!("{text}\nno_such_key = 1\n"));
    daemon.signal("HUP");
    until_logged(&daemon, "the old one stays in force");
    // the good one takes away the repository's block itself
    daemon.rewrite(|text| text.split("[disk]").next().unwrap().to_owned());
    daemon.signal("HUP");
    until_logged(&daemon, "reloaded");
    assert_eq!(daemon.job(&id)["state"], "running");
    proxy.throttle(None);
    proxy.release();
    let job = daemon.end_of(&id);
    assert_eq!(job["state"], "succeeded", "{job}");
    let pull = if job["outcome"].is_null() { &job["report"]["pull"] } else { &job["outcome"]["pull"] };
    assert_eq!((pull["attempts"].as_array().unwrap().len(), &pull["wasted_bytes"]), (1, &0.into()), "{pull}");
    assert_eq!((said(&daemon, "begins"), said(&daemon, "pulls")), (1, 1), "{}", daemon.log());
}

fn until_logged(daemon: &Daemon, words: &str) -> String {
    eventually_blocking(Duration::from_secs(10), || {
        let log = daemon.log();
        if log.contains(words) { Ok(log) } else { Err(log) }
    })
}
