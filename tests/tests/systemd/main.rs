//! The real unit under a real systemd: one boot, all cases in a row.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod container;
mod lan_cache;
mod service;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{SystemTime, UNIX_EPOCH};

use container::{Container, until};
use layerkeeper_testkit::{Engine, EngineKind};
use service::{SECRET, Service};

#[test]
fn the_unit_starts_serves_reloads_recovers_and_stops() {
    let mut engine = Engine::start(EngineKind::A).unwrap();
    let container = Container::boot(&engine, &service::binary());
    let service = Service::new(&container);

    a_missing_secret_is_told_and_not_tried_again(&service);
    a_bad_configuration_is_told_and_not_tried_again(&service);
    a_credential_helper_is_installed(&service);
    it_is_up_while_the_engine_is_down(&service, &mut engine);
    it_serves_from_inside_its_sandbox(&service);
    its_sandbox_is_as_tight_as_it_says(&service);
    the_doctor_finds_the_unit_as_shipped_and_what_loosens_it(&service);
    ci_deploys_with_the_script(&service);
    the_credential_helper_runs_inside_the_sandbox(&service);
    a_good_reload_takes_effect(&service);
    a_bad_reload_changes_nothing_and_says_so(&service);
    a_daemon_that_stands_still_is_replaced(&service);
    a_killed_daemon_comes_back(&service);
    a_hung_engine_kills_nobody(&service, &mut engine);
    a_stop_takes_as_long_as_it_may_whatever_the_unit_says(&service, &mut engine);
    a_stop_is_clean(&service);
    another_state_directory_needs_the_drop_in_that_the_documents_show(&service);
    lan_cache::it_serves_keeps_and_waits_for_its_registry(&container);
}

fn a_missing_secret_is_told_and_not_tried_again(service: &Service) {
    let secret = service.container.path(SECRET);
    let content = fs::read(&secret).expect("the installer made one");
    fs::remove_file(&secret).unwrap();
    service.fails_to_start("webhook-secret");
    fs::write(&secret, content).unwrap();
}

fn a_bad_configuration_is_told_and_not_tried_again(service: &Service) {
    service.configure("[disk]\nmin_fre = \"1 GB\"\n");
    service.fails_to_start("min_fre");
    service.configure("");
}

fn a_credential_helper_is_installed(service: &Service) {
    let config = r#"{"credHelpers":{"127.0.0.1:5000":"probe"}}"#;
    fs::write(service.container.path("/etc/layerkeeper/docker-config.json"), config).unwrap();
    let helper = service.container.path("/usr/local/bin/docker-credential-probe");
    // as helpers do that keep what they learn in a folder of their own
    let script = "#!/bin/sh\nread -r server\necho \"$server\" >\"$HOME/probe\" || exit 2\n\
                  echo credentials not found in native keychain\nexit 1\n";
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The deploy that CI has just asked for makes the daemon ask it.
fn the_credential_helper_runs_inside_the_sandbox(service: &Service) {
    let probe = service.container.path("/var/lib/layerkeeper/probe");
    let asked = until("the helper to be asked", || fs::read_to_string(&probe).ok().filter(|text| !text.is_empty()));
    assert_eq!(asked, "127.0.0.1:5000\n");
}

fn it_is_up_while_the_engine_is_down(service: &Service, engine: &mut Engine) {
    engine.stop();
    // returns when READY=1 came
    service.container.ok(&["systemctl", "start", "layerkeeper"]);
    assert_eq!(service.container.property("ActiveState"), "active");
    assert_eq!(service.get("/healthz").0, 200);
    assert_eq!(service.get("/readyz").0, 503, "the engine is away");

    engine.start_again().unwrap();
    service.container.share(engine);
    until("the engine to be seen", || (service.get("/readyz").0 == 200).then_some(()));
    assert!(service.metric("layerkeeper_engine_up").contains(" 1\n"));
}

fn it_serves_from_inside_its_sandbox(service: &Service) {
    let (status, page) = service.get("/");
    assert!(status == 200 && page.contains("<html"), "{status} {page}");
    assert_eq!(service.post_unsigned(), 401);
    // statvfs on a data root that it may not read, and its own numbers although /proc shows it little else
    let free = service.metric("layerkeeper_disk_free_bytes{");
    assert!(free.contains("path=\"/var/lib/docker\"") && !free.contains("} 0\n"), "{free}");
    assert!(!service.metric("process_resident_memory_bytes").is_empty());
    let started = service.metric("process_start_time_seconds");
    let started: u64 = started.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now - 600..=now).contains(&started), "{started} is not just before {now}");

    let socket = fs::metadata(service.container.path("/run/layerkeeper/control.sock")).unwrap();
    let directory = fs::metadata(service.container.path("/run/layerkeeper")).unwrap();
    assert_eq!((socket.mode() & 0o777, socket.gid()), (0o660, directory.gid()), "its group reaches it");
    assert_eq!(directory.mode() & 0o777, 0o750);
    let status = service.container.ok(&["layerkeeper", "status"]);
    assert!(!status.is_empty());
    let stranger = service.container.run(&["setpriv", "--reuid=nobody", "--clear-groups", "layerkeeper", "status"]);
    assert_eq!(stranger.status.code(), Some(3), "{stranger:?}");
}

fn its_sandbox_is_as_tight_as_it_says(service: &Service) {
    // what is left, and why, stands in docs/security.md; the threshold is the score times ten
    let command = ["systemd-analyze", "security", "--no-pager", "--threshold=13", "layerkeeper"];
    let judged = service.container.ok(&command);
    assert!(judged.contains("Overall exposure level for layerkeeper.service: 1."), "{judged}");
}

fn the_doctor_finds_the_unit_as_shipped_and_what_loosens_it(service: &Service) {
    let container = &service.container;
    let doctor = || {
        let told = container.run(&["layerkeeper", "--json", "doctor"]);
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{told:?}"));
        told["findings"].as_array().unwrap().clone()
    };
    let of_the_unit = |found: &[serde_json::Value]| -> Vec<String> {
        let ids = found.iter().filter_map(|finding| finding["id"].as_str());
        ids.filter(|id| id.starts_with("unit.")).map(str::to_owned).collect()
    };
    container.ok(&["systemctl", "enable", "layerkeeper"]);
    let found = doctor();
    assert_eq!(of_the_unit(&found), ["unit.ok"], "{found:#?}");
    let is_there = |id: &str| found.iter().any(|finding| finding["id"] == id);
    assert!(is_there("daemon.ok") && is_there("engine.ok"), "{found:#?}");
    // a file that root's run of the helper left would be in the way of the daemon's
    assert!(is_there("registry.unasked") && !container.path("/var/lib/layerkeeper/probe").exists(), "{found:#?}");

    let loose = container.path("/etc/systemd/system/layerkeeper.service.d/loose.conf");
    fs::write(&loose, "[Service]\nProtectSystem=full\nMemoryDenyWriteExecute=no\n").unwrap();
    container.ok(&["systemctl", "daemon-reload"]);
    let found = doctor();
    assert_eq!(of_the_unit(&found), ["unit.sandbox"], "{found:#?}");
    let told = found.iter().find(|finding| finding["id"] == "unit.sandbox").unwrap()["what"].as_str().unwrap();
    assert!(told.contains("loose.conf: ProtectSystem=full (shipped: strict), MemoryDenyWriteExecute=no"), "{told}");
    fs::remove_file(&loose).unwrap();
    container.ok(&["systemctl", "daemon-reload"]);
}

fn ci_deploys_with_the_script(service: &Service) {
    let secret = fs::read_to_string(service.container.path(SECRET)).unwrap();
    let image = "127.0.0.1:5000/acme/app:sha-7654321";
    for (image, secret, code, words) in [
        (image, secret.as_str(), 0, "is accepted for"),
        (image, "another secret, long enough", 1, "HTTP 401"),
        ("127.0.0.1:5000/acme/other:sha-7654321", &secret, 4, "HTTP 403"),
    ] {
        let (exit, said) = service.notify(image, secret);
        assert!(exit == Some(code) && said.contains(words), "{exit:?} {said}");
    }
    assert!(service.get("/v1/jobs").1.contains(image));
}

fn a_good_reload_takes_effect(service: &Service) {
    let pid = service.pid();
    assert!(service.metric("layerkeeper_disk_min_free_bytes").ends_with(" 4000000000\n"));
    service.configure("[disk]\nmin_free = \"1 GB\"\n");
    service.container.ok(&["systemctl", "reload", "layerkeeper"]);
    until("the new floor", || {
        service.metric("layerkeeper_disk_min_free_bytes").ends_with(" 1000000000\n").then_some(())
    });
    assert_eq!(service.pid(), pid);
}

fn a_bad_reload_changes_nothing_and_says_so(service: &Service) {
    let pid = service.pid();
    service.configure("[disk]\nmin_free = \"2 GB\"\nmin_freee = 1\n");
    let told = |command: &[&str]| {
        let before = service.container.journal().len();
        let output = service.container.run(command);
        let said = until("the complaint", || {
            let journal = service.container.journal().split_off(before);
            journal.contains("min_freee").then_some(journal)
        });
        assert!(said.contains("layerkeeper.toml:"), "it names file and line: {said}");
        output.status.success()
    };
    assert!(!told(&["systemctl", "reload", "layerkeeper"]), "whoever reloads sees it fail");
    assert_eq!(service.container.property("ActiveState"), "active");
    // without the check before it
    assert!(told(&["systemctl", "kill", "--kill-who=main", "--signal=HUP", "layerkeeper"]));
    until("the end of the reload", || (service.container.property("ActiveState") == "active").then_some(()));
    assert_eq!(service.pid(), pid);
    assert_eq!(service.get("/readyz").0, 200);
    assert!(service.metric("layerkeeper_disk_min_free_bytes").ends_with(" 1000000000\n"));
    let shown = service.container.property("StatusText");
    assert!(shown.contains("reload failed"), "systemctl status tells it too: {shown:?}");
    service.configure("");
}

fn a_daemon_that_stands_still_is_replaced(service: &Service) {
    let restarted = service.replaced(&["systemctl", "kill", "--kill-who=main", "--signal=STOP", "layerkeeper"]);
    assert!(restarted.contains("Watchdog timeout"), "{restarted}");
}

fn a_killed_daemon_comes_back(service: &Service) {
    let restarted = service.replaced(&["systemctl", "kill", "--kill-who=main", "--signal=KILL", "layerkeeper"]);
    assert!(restarted.contains("status=9/KILL"), "{restarted}");
}

fn a_hung_engine_kills_nobody(service: &Service, engine: &mut Engine) {
    let pid = service.pid();
    engine.freeze().unwrap();
    service.container.ok(&["layerkeeper", "deploy", "127.0.0.1:5000/acme/app:sha-1234567"]);
    until("the worker to take the job", || service.get("/v1/jobs").1.contains("\"running\"").then_some(()));
    let stood = service.watchdog_fed();
    // longer than the 4 seconds after which systemd would end it
    until("the watchdog to be fed meanwhile", || (service.watchdog_fed() > stood + 6_000_000).then_some(()));
    assert!(service.get("/v1/jobs").1.contains("\"running\""), "it still waits for the engine");
    assert_eq!((service.pid(), service.get("/healthz").0), (pid, 200));
    engine.thaw().unwrap();
    until("the engine to be seen again", || (service.get("/readyz").0 == 200).then_some(()));
}

fn a_stop_takes_as_long_as_it_may_whatever_the_unit_says(service: &Service, engine: &mut Engine) {
    let shorter = service.container.path("/etc/systemd/system/layerkeeper.service.d/stop.conf");
    fs::write(&shorter, "[Service]\nTimeoutStopSec=1s\n").unwrap();
    service.container.ok(&["systemctl", "daemon-reload"]);
    engine.freeze().unwrap();
    service.container.ok(&["layerkeeper", "deploy", "127.0.0.1:5000/acme/app:sha-2345678"]);
    until("the worker to take the job", || service.get("/v1/jobs").1.contains("\"running\"").then_some(()));
    let before = service.container.journal().len();
    service.container.ok(&["systemctl", "stop", "layerkeeper"]);
    let said = service.container.journal().split_off(before);
    let shown = |name| service.container.property(name);
    assert_eq!((shown("Result"), shown("ExecMainStatus")), ("success".into(), "0".into()), "{said}");
    assert!(said.contains("stays queued"), "it had the five seconds of stop_timeout: {said}");
    engine.thaw().unwrap();
    fs::remove_file(&shorter).unwrap();
    service.container.ok(&["systemctl", "daemon-reload"]);
    service.container.ok(&["systemctl", "start", "layerkeeper"]);
}

fn a_stop_is_clean(service: &Service) {
    service.container.ok(&["systemctl", "stop", "layerkeeper"]);
    let shown = |name| service.container.property(name);
    assert_eq!(
        (shown("ActiveState"), shown("Result"), shown("ExecMainStatus")),
        ("inactive".into(), "success".into(), "0".into())
    );
    assert!(!service.container.path("/run/layerkeeper").exists());
    assert!(service.container.path("/var/lib/layerkeeper").read_dir().unwrap().next().is_some(), "its state stays");
}

fn another_state_directory_needs_the_drop_in_that_the_documents_show(service: &Service) {
    let page = include_str!("../../../docs/operations.md");
    let shown = page.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(shown.contains("ReadWritePaths=/srv/layerkeeper"), "{shown}");
    service.configure("[state]\ndir = \"/srv/layerkeeper\"\n");
    service.container.ok(&[
        "install",
        "-d",
        "-o",
        "layerkeeper",
        "-g",
        "layerkeeper",
        "-m",
        "0700",
        "/srv/layerkeeper",
    ]);
    service.container.run(&["systemctl", "start", "layerkeeper"]);
    until("the refusal", || service.container.journal().contains("/srv/layerkeeper").then_some(()));
    service.container.ok(&["systemctl", "stop", "layerkeeper"]);
    let dropped = service.container.path("/etc/systemd/system/layerkeeper.service.d/place.conf");
    fs::write(dropped, shown).unwrap();
    service.container.ok(&["systemctl", "daemon-reload"]);
    service.container.ok(&["systemctl", "start", "layerkeeper"]);
    assert_eq!(service.container.property("ActiveState"), "active");
    assert!(service.container.path("/srv/layerkeeper/layerkeeper.db").exists());
    service.container.ok(&["systemctl", "stop", "layerkeeper"]);
}
