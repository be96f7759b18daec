//! A secret never reaches a log, an error, the page or a metric.

use std::process::Command;
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::docker_config::DockerConfig;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::{Daemon, SECRET};

use crate::runtimes;

const PASSWORD: &str = "correct-horse-battery-staple";

#[test]
fn passwords_and_the_webhook_secret_are_told_nowhere() {
    let auth = Auth::Htpasswd { user: "deploy".into(), password: PASSWORD.into() };
    let registry = Registry::start(auth).unwrap();
    let layer = Layer::random(6600, Bytes(50_000)).unwrap();
    let good = Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
    let engine = Engines::of(EngineKind::A);
    let scratch = layerkeeper_testkit::Scratch::new("docker-config").unwrap();
    let file = scratch.path().join("config.json");
    let right = DockerConfig::new().auth(&registry.host(), "deploy", PASSWORD);
    right.write(&file).unwrap();
    let section = format!("[registry]\ndocker_config = \"{}\"\n", file.display());
    let daemon = Daemon::up(&engine.host(), &format!("{section}{}", runtimes(&registry.host(), &["app"])));

    let id = daemon.notify(&good.name.to_string()).unwrap();
    assert_eq!(daemon.end_of(&id)["state"], "succeeded");
    let wrong = "wrong-horse-wrong-staple";
    DockerConfig::new().auth(&registry.host(), "deploy", wrong).write(&file).unwrap();
    let id = daemon.notify(&format!("{}/acme/app:sha-2", registry.host())).unwrap();
    assert_eq!(daemon.end_of(&id)["state"], "failed");

    let everything = everything(&daemon, &id);
    let encoded = right.to_json();
    let encoded = encoded.split('"').find(|word| word.len() > 40).unwrap_or(PASSWORD);
    nowhere(&everything, &[PASSWORD, wrong, SECRET, encoded]);
    assert!(everything[0].contains("access_denied"), "the failure is told: {}", everything[0]);
}

#[test]
fn what_a_credential_helper_gives_opens_the_registry_and_is_told_nowhere() {
    let auth = Auth::Htpasswd { user: "deploy".into(), password: PASSWORD.into() };
    let registry = Registry::start(auth).unwrap();
    let push = |seed, tag: &str| {
        let image = Image::new().layer(Layer::random(seed, Bytes(50_000)).unwrap());
        image.push(&registry, &format!("acme/helped:{tag}")).unwrap().name.to_string()
    };
    let (first, second) = (push(6610, "sha-1"), push(6611, "sha-2"));
    let scratch = layerkeeper_testkit::Scratch::new("docker-helper").unwrap();
    let file = scratch.path().join("config.json");
    std::fs::write(&file, format!(r#"{{"credHelpers":{{"{}":"shelf"}}}}"#, registry.host())).unwrap();
    let helper = |script: &str| {
        let (from, to) = (scratch.path().join("script"), scratch.path().join("docker-credential-shelf"));
        std::fs::write(&from, format!("#!/bin/sh\n{script}\n")).unwrap();
        // by another process: a file that this one has open for writing could be inherited by a fork and not be run
        assert!(Command::new("install").args(["-m", "755"]).args([&from, &to]).status().unwrap().success());
    };
    let section = format!("[registry]\ndocker_config = \"{}\"\n", file.display());
    let engine = Engines::of(EngineKind::A);
    let daemon = Daemon::up(&engine.host(), &format!("{section}{}", runtimes(&registry.host(), &["helped"])));

    let gives = format!(r#"echo '{{"ServerURL":"x","Username":"deploy","Secret":"{PASSWORD}"}}'"#);
    helper(&gives);
    let id = daemon.notify(&first).unwrap();
    assert_eq!(daemon.end_of(&id)["state"], "succeeded", "{}", daemon.log());
    helper(&format!("{gives}; echo not today >&2; exit 1"));
    let id = daemon.notify(&second).unwrap();
    let waits = || daemon.log().contains("docker-credential-shelf failed (exit status: 1): not today");
    layerkeeper_testkit::eventually_blocking(
        Duration::from_secs(30),
        || if waits() { Ok(()) } else { Err(daemon.log()) },
    );
    // a failure of a helper may pass
    helper(&gives);
    assert_eq!(daemon.end_of(&id)["state"], "succeeded", "{}", daemon.log());
    nowhere(&everything(&daemon, &id), &[PASSWORD, SECRET]);
}

/// All that the daemon tells.
fn everything(daemon: &Daemon, id: &str) -> Vec<String> {
    let told = |path: &str| daemon.local().get(path).unwrap().text();
    vec![
        daemon.log(),
        told("/"),
        told("/metrics"),
        told("/v1/status"),
        told("/v1/jobs"),
        told("/v1/events"),
        told(&format!("/v1/jobs/{id}")),
        daemon.job(id).to_string(),
    ]
}

fn nowhere(everything: &[String], secrets: &[&str]) {
    for text in everything {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} stands in: {text}");
        }
    }
}
