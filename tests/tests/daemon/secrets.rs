//! A secret never reaches a log, an error, the page or a metric.

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

    let told = |path: &str| daemon.local().get(path).unwrap().text();
    let everything = [
        daemon.log(),
        told("/"),
        told("/metrics"),
        told("/v1/status"),
        told("/v1/jobs"),
        told("/v1/events"),
        told(&format!("/v1/jobs/{id}")),
        daemon.job(&id).to_string(),
    ];
    let encoded = right.to_json();
    let encoded = encoded.split('"').find(|word| word.len() > 40).unwrap_or(PASSWORD);
    for text in &everything {
        for secret in [PASSWORD, wrong, SECRET, encoded] {
            assert!(!text.contains(secret), "{secret} stands in: {text}");
        }
    }
    assert!(everything[0].contains("access_denied"), "the failure is told: {}", everything[0]);
}
