//! The command line against the running daemon, over its control socket: what it prints, and how it exits.

use std::process::Output;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::Daemon;

use crate::runtimes;

/// Runs a command, which must exit with this code and say all of these words; its standard output.
#[track_caller]
pub fn says(daemon: &Daemon, args: &[&str], code: i32, words: &[&str]) -> String {
    let Output { status, stdout, stderr } = daemon.cli(args);
    let stdout = String::from_utf8(stdout).unwrap();
    let told = stdout.clone() + &String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{args:?}: {told}\n{}", daemon.log());
    for word in words {
        assert!(told.contains(word), "{args:?}: {word:?} is not in: {told}");
    }
    stdout
}

#[test]
fn every_command_does_what_it_says_and_exits_as_scripts_expect() {
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = |seed: u64, size| Layer::random(6700 + seed, Bytes(size)).unwrap();
    let base = Image::new().layer(layer(1, 50_000).created_by("RUN install base"));
    let kept = base.push(&registry, "acme/base:1").unwrap().name.to_string();
    let app = Image::from(&base).layer(layer(2, 30_000).created_by("COPY app /app"));
    let app = app.push(&registry, "acme/app:sha-1").unwrap();
    let (own, app) = (app.layers[1].size, app.name.to_string());
    let engine = Engines::of(EngineKind::A);
    let rest = format!(
        "[limits]\nnot_yet_timeout = \"0s\"\n{}[[keep]]\nimage = \"{kept}\"\n",
        runtimes(&registry.host(), &["app"])
    );
    let daemon = Daemon::up(&engine.host(), &rest);

    says(&daemon, &["status", "--wait-idle"], 0, &["Kept images: 1 of 1 here", "nothing waits, nothing runs"]);
    says(&daemon, &["prewarm", "--follow"], 0, &[&kept, "succeeded", "nothing moved"]);
    says(&daemon, &["prewarm", &app], 4, &["is not a kept image"]);

    says(&daemon, &["plan", &app], 0, &["RUN install base", "here", "COPY app /app", "to fetch"]);
    says(&daemon, &["plan", &format!("{}/acme/app:sha-9", registry.host())], 1, &["sha-9"]);

    says(&daemon, &["plan", &app], 0, &["Why it moves, compared with", &kept, "it is new on top of"]);
    let build =
        says(&daemon, &["plan", &app, "--against", &kept], 0, &[&format!("This build moves {own}"), "COPY app /app"]);
    assert!(!build.contains("budget"), "no server was asked: {build}");
    says(&daemon, &["plan", &app, "--against", &format!("{}/acme/base:9", registry.host())], 1, &["base:9"]);
    says(&daemon, &["plan", &app, "--platform", "linux/arm64"], 2, &["--against"]);

    says(&daemon, &["deploy", &app, "--follow"], 0, &["succeeded", "downloaded", "reused"]);
    says(&daemon, &["deploy", &format!("{}/acme/app:sha-9", registry.host()), "--follow"], 1, &["failed", "sha-9"]);
    says(&daemon, &["deploy", &format!("{}/acme/app:latest", registry.host())], 4, &["deploy_tags"]);
    says(&daemon, &["deploy", &format!("{}/acme/other:sha-1", registry.host())], 4, &["neither a runtime repository"]);

    let stays = says(&daemon, &["prune", "--dry-run"], 0, &["nothing goes", &app, "number 1 of the newest"]);
    assert!(!stays.contains("no deploy has succeeded"), "{stays}");
    let pruned = says(&daemon, &["--json", "prune"], 0, &[]);
    let pruned: serde_json::Value = serde_json::from_str(&pruned).unwrap();
    assert_eq!((&pruned["kind"], &pruned["state"]), (&"prune".into(), &"succeeded".into()), "{pruned}");

    let all = says(&daemon, &["history"], 0, &[&format!("deploy {app}"), &format!("warm {kept}"), "prune", "failed"]);
    assert!(all.lines().count() >= 5, "{all}");
    let one = says(&daemon, &["history", &app, "--limit", "1"], 0, &[&app, "COPY app /app", "downloaded"]);
    assert!(!one.contains("warm"), "{one}");
    says(&daemon, &["history", &app], 0, &["What the name stood for", "in job"]);
    let then = says(&daemon, &["history", "--at", "2126-01-01"], 0, &[&app, &kept, "SINCE"]);
    assert!(!says(&daemon, &["history", "--at", "2026-01-01"], 0, &["Nothing is known"]).contains(&app), "{then}");
    says(&daemon, &["history", "--at", "tuesday"], 2, &["write 2026-11-24"]);
    let csv = says(&daemon, &["history", "--csv"], 0, &["time,job,kind,state,what,name,digest,reused_bytes", "pull"]);
    assert!(csv.lines().count() >= 5 && csv.lines().all(|line| line.split(',').count() >= 21), "{csv}");
    let json = says(&daemon, &["--json", "history"], 0, &[]);
    let jobs: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(jobs.as_array().is_some_and(|jobs| jobs.len() >= 5), "{json}");
    // who changed something is in the log
    let uid = format!("uid={}", own_uid());
    assert!(daemon.log().lines().any(|line| line.contains("operator's request taken") && line.contains(&uid)));
}

/// Our own user, as the kernel names it to the daemon.
fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}
