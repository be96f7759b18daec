//! A kept image by quarter, from the file to the registry: the newest comes, one command goes back, and history tells both.

use std::time::Duration;

use chrono::Datelike;
use layerkeeper_core::{Bytes, Quarter};
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Pushed, Registry, Scratch};
use layerkeeper_tests::daemon::Daemon;

use crate::cli::says;

fn cache(registry: &Registry, quarter: Quarter, seed: u64) -> Pushed {
    let layer = Layer::random(6950 + seed, Bytes(40_000)).unwrap();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    Image::new().layer(layer).push(registry, &format!("acme/quarterly:python-{arch}-{quarter}")).unwrap()
}

/// Waits until this is all that is kept, and here.
fn keeps(daemon: &Daemon, pushed: &Pushed) {
    eventually_blocking(Duration::from_secs(30), || {
        let kept = daemon.json("/v1/status")["kept"].clone();
        let only = kept.as_array().is_some_and(|kept| kept.len() == 1);
        let is_it = kept[0]["image"] == *pushed.name.to_string() && kept[0]["present"] == true;
        if only && is_it { Ok(()) } else { Err(kept.to_string()) }
    });
}

#[test]
fn a_quarter_is_gone_back_from_by_one_command_and_history_has_the_digest_of_both() {
    let registry = Registry::start(Auth::Open).unwrap();
    let today = chrono::Utc::now();
    let this = Quarter::of(today.year(), today.month());
    let last = this.previous().unwrap();
    let (old, new) = (cache(&registry, last, 1), cache(&registry, this, 2));
    let template = format!("{}/acme/quarterly:python-{{arch}}-{{quarter}}", registry.host());
    let engine = Engines::of(EngineKind::A);
    let rest = format!("[[keep]] # by quarter\nimage = \"{template}\" # ours\n");
    let mut daemon = Daemon::up(&engine.host(), &rest);
    says(&daemon, &["prewarm", &template, "--follow"], 0, &[&new.name.to_string()]);
    keeps(&daemon, &new);

    let before = std::fs::read_to_string(daemon.config()).unwrap();
    let line = format!("quarter = \"{last}\"");
    let quarter = last.to_string();
    let told = [format!("+ {line}"), "systemctl reload".to_owned(), format!("stays at {last} from now on")];
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    says(&daemon, &["pin", &new.name.to_string(), "--quarter", &quarter], 0, &told);
    let written = std::fs::read_to_string(daemon.config()).unwrap();
    assert_eq!(
        written,
        before.replace("# ours\n", &format!("# ours\n{line}\n")),
        "one line came, and nothing else changed"
    );
    says(&daemon, &["check-config"], 0, &["1 image to keep"]);
    daemon.signal("HUP");
    keeps(&daemon, &old);
    says(&daemon, &["status"], 0, &[&format!("`docker rmi {}` frees its room", new.name)]);
    let root = Scratch::new("quarter").unwrap();
    let doctor = daemon.cli(&["doctor", "--root", &root.path().display().to_string()]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains(&format!("docker rmi {}", new.name)), "{doctor}");
    for pushed in [&old, &new] {
        // the pull's own record has the digest, too: here it is what the name stood for
        let json = says(&daemon, &["--json", "history", &pushed.name.to_string()], 0, &[]);
        let told: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(told["changes"][0]["digest"], pushed.digest.to_string(), "{json}");
    }

    says(&daemon, &["pin", &template, "--remove"], 0, &["follows the newest quarter again"]);
    assert_eq!(std::fs::read_to_string(daemon.config()).unwrap(), before);
    daemon.signal("HUP");
    keeps(&daemon, &new);
}
