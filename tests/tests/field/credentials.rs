//! 7: credentials expire, or the program that keeps them fails (ECR's last 12 h, ACR's 3; basecamp/kamal#1163).

use std::fs;
use std::process::Command;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry, Scratch};
use layerkeeper_tests::daemon::Daemon;

const PASSWORD: &str = "the token of this hour";

#[test]
fn field_failure_07_credentials_expire_or_their_helper_fails() {
    let registry = Registry::start(Auth::Htpasswd { user: "deploy".into(), password: PASSWORD.into() }).unwrap();
    let image = Image::new().layer(Layer::random(9700, Bytes(40_000)).unwrap());
    let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
    let scratch = Scratch::new("helpers").unwrap();
    let config = scratch.path().join("config.json");
    fs::write(&config, format!(r#"{{"credHelpers":{{"{}":"field"}}}}"#, registry.host())).unwrap();
    let helper = |script: &str| {
        let (from, to) = (scratch.path().join("script"), scratch.path().join("docker-credential-field"));
        fs::write(&from, format!("#!/bin/sh\n{script}\n")).unwrap();
        assert!(Command::new("install").args(["-m", "755"]).args([&from, &to]).status().unwrap().success());
    };
    let rest = format!(
        "[registry]\ndocker_config = \"{}\"\n[limits]\nmax_attempts = 1\n[disk]\nmin_free = \"1 MB\"\n[[runtime]]\n\
         repository = \"{}/acme/app\"\nprune_tags = [\"sha-*\"]\n",
        config.display(),
        registry.host()
    );
    let daemon = Daemon::up(&Engines::of(EngineKind::A).host(), &rest);
    let gives = |secret: &str| format!(r#"echo '{{"ServerURL":"x","Username":"deploy","Secret":"{secret}"}}'"#);
    let cases = [
        ("exit 1", "credentials", "exit status: 1"),
        ("echo no json", "credentials", "docker-credential-field"),
        ("sleep 60 & wait", "credentials", "docker-credential-field"),
        (&gives("the token of an hour ago"), "access_denied", "refused"),
    ];
    for (script, class, said) in cases {
        helper(script);
        let mark = registry.mark();
        let id = daemon.notify(&pushed.name.to_string()).unwrap();
        let job = daemon.end_of(&id);
        assert_eq!(job["state"], "failed", "{script}: {job}");
        let error = &job["outcome"]["error"];
        assert_eq!(error["class"], class, "{script}: {job}");
        assert!(error["detail"].as_str().unwrap().contains(said), "{script}: {error}");
        assert!(registry.bytes_of_layers(mark, &pushed.layer_digests(), layerkeeper_testkit::Agent::Engine).0 == 0);
    }
    helper(&gives(PASSWORD));
    let id = daemon.notify(&pushed.name.to_string()).unwrap();
    assert_eq!(daemon.end_of(&id)["state"], "succeeded", "{}", daemon.log());
}
