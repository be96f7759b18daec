//! `layerkeeper pin`: what is here is written into the configuration, and from the reload on no moving tag changes it.

use std::process::Output;
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Pushed, Registry};
use layerkeeper_tests::daemon::Daemon;
use serde_json::Value;

use crate::runtimes;

fn base(registry: &Registry, seed: u64) -> Pushed {
    let layer = Layer::random(6900 + seed, Bytes(40_000)).unwrap();
    Image::new().layer(layer).push(registry, "acme/pinned:1").unwrap()
}

/// Runs a command, which must exit with this code; all that it said.
#[track_caller]
fn says(daemon: &Daemon, args: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = daemon.cli(args);
    let told = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{args:?}: {told}\n{}", daemon.log());
    told
}

fn text(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.config()).unwrap()
}

fn reload(daemon: &mut Daemon, pin: Value) {
    daemon.signal("HUP");
    eventually_blocking(Duration::from_secs(10), || {
        let kept = daemon.json("/v1/status")["kept"][0].clone();
        if kept["pin"] == pin { Ok(()) } else { Err(kept.to_string()) }
    });
}

fn prewarmed(daemon: &Daemon, name: &str) -> Value {
    says(daemon, &["prewarm", name, "--follow"], 0);
    daemon.json("/v1/status")["kept"][0].clone()
}

#[test]
fn a_pinned_digest_stays_when_its_tag_moves_until_the_pin_is_taken_out() {
    let registry = Registry::start(Auth::Open).unwrap();
    let one = base(&registry, 1);
    let (name, first) = (one.name.to_string(), one.digest.to_string());
    let engine = Engines::of(EngineKind::A);
    let rest = format!("{}[[keep]] # the base\nimage = \"{name}\" # by tag\n", runtimes(&registry.host(), &["app"]));
    let mut daemon = Daemon::up(&engine.host(), &rest);
    assert_eq!(prewarmed(&daemon, &name)["digest"], *first);

    let before = text(&daemon);
    let said = says(&daemon, &["pin", &name], 0);
    assert!(said.contains(&format!("{name} is now pinned to {first}, which is here")), "{said}");
    assert!(said.contains(&format!("+ digest = \"{first}\"")) && said.contains("systemctl reload"), "{said}");
    let wanted = before.replace("# by tag\n", &format!("# by tag\ndigest = \"{first}\"\n"));
    assert_eq!(text(&daemon), wanted, "one line came, and nothing else changed");
    reload(&mut daemon, first.clone().into());

    let two = base(&registry, 2);
    assert_ne!(one.digest, two.digest, "the tag has moved");
    let kept = prewarmed(&daemon, &name);
    assert_eq!((&kept["digest"], &kept["present"]), (&first.clone().into(), &true.into()), "{kept}");
    assert_eq!(kept["pin_unresolvable"], true, "the tag shows something else, and that is told: {kept}");
    assert_eq!(kept["tag_shows"], *two.digest.to_string(), "{kept}");
    let by_now = format!("pinned; its tag shows {} by now, not followed", two.digest.short());
    let status = says(&daemon, &["status"], 0);
    assert!(status.split_whitespace().collect::<Vec<_>>().join(" ").contains(&by_now), "{status}");

    let again = says(&daemon, &["pin", &name], 0);
    assert!(again.contains("already; nothing was written"), "{again}");
    says(&daemon, &["pin", &name, "--remove"], 0);
    assert_eq!(text(&daemon), before);
    reload(&mut daemon, Value::Null);
    assert_eq!(prewarmed(&daemon, &name)["digest"], *two.digest.to_string(), "the tag is followed again");
}

#[test]
fn without_a_daemon_the_engine_is_asked_and_what_is_not_here_or_made_here_is_refused() {
    let registry = Registry::start(Auth::Open).unwrap();
    let one = base(&registry, 3);
    let name = one.name.to_string();
    let engine = Engines::of(EngineKind::A);
    let rest = format!("[[keep]]\nimage = \"{name}\"\n");
    let mut daemon = Daemon::up(&engine.host(), &rest);
    prewarmed(&daemon, &name);
    let missing = format!("{}/acme/never:1", registry.host());
    let local = format!("{}/acme/local:1", registry.host());
    engine.run_docker(["tag", &name, &local]).unwrap();
    daemon.kill9();
    daemon.rewrite(|text| format!("{text}[[keep]]\nimage = \"{missing}\"\n[[keep]]\nimage = \"{local}\"\n"));
    let before = text(&daemon);

    let absent = says(&daemon, &["pin", &missing], 1);
    assert!(absent.contains(&format!("layerkeeper prewarm {missing}")), "{absent}");
    let made = says(&daemon, &["pin", &local], 1);
    assert!(made.contains("was made on this host"), "{made}");
    assert_eq!(text(&daemon), before);

    let facts: Value = serde_json::from_str(&says(&daemon, &["--json", "pin", &name], 0)).unwrap();
    assert_eq!((&facts["new"], &facts["is_here"]), (&one.digest.to_string().into(), &true.into()), "{facts}");
    assert!(text(&daemon).contains(&format!("image = \"{name}\"\ndigest = \"{}\"\n", one.digest)));
}
