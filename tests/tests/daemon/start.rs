//! What is wrong at the start is said, with what would be right, and nothing is bound.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use layerkeeper_tests::daemon::Daemon;

use crate::runtimes;

const NOWHERE: &str = "unix:///nowhere/docker.sock";

fn fails(daemon: &mut Daemon, code: i32, words: &[&str]) {
    assert_eq!(daemon.exit_code(Duration::from_secs(15)), Some(code), "{}", daemon.log());
    let log = daemon.log();
    for word in words {
        assert!(log.contains(word), "{word:?} is not in: {log}");
    }
}

#[test]
fn an_unknown_key_is_named_with_file_and_line_and_nothing_is_bound() {
    let mut daemon =
        Daemon::start(NOWHERE, "[[runtime]]\nrepository = \"ghcr.io/acme/app\"\nprune_tag = [\"sha-*\"]\n");
    fails(&mut daemon, 2, &["layerkeeper.toml:", "prune_tag", "prune_tags"]);
    assert!(!daemon.dir().join("control.sock").exists());
    assert!(!daemon.dir().join("state/layerkeeper.db").exists());
}

#[test]
fn a_port_in_use_is_named_by_its_key() {
    let first = Daemon::up(NOWHERE, &runtimes("ghcr.io", &["app"]));
    let mut second = Daemon::start(NOWHERE, &runtimes("ghcr.io", &["app"]));
    second.kill9();
    let (taken, own) = (first.webhook.to_string(), second.webhook.to_string());
    second.rewrite(|text| text.replace(&own, &taken));
    let mut third = second;
    third.start_without_waiting();
    fails(&mut third, 2, &[&format!("layerkeeper.toml:4: [listen] webhook = \"127.0.0.1:{taken}\"")]);
    assert!(!third.dir().join("control.sock").exists());
}

#[test]
fn a_secret_that_everybody_may_read_is_refused() {
    let mut daemon = Daemon::start(NOWHERE, &runtimes("ghcr.io", &["app"]));
    daemon.kill9();
    fs::set_permissions(daemon.dir().join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    daemon.start_without_waiting();
    fails(&mut daemon, 2, &["secret", "chmod"]);
    assert!(!daemon.log().contains(layerkeeper_tests::daemon::SECRET));
}

#[test]
fn two_daemons_do_not_share_a_state_directory() {
    let first = Daemon::up(NOWHERE, &runtimes("ghcr.io", &["app"]));
    let mut second = Daemon::start(NOWHERE, &runtimes("ghcr.io", &["app"]));
    second.kill9();
    let (taken, own) = (first.dir().join("state"), second.dir().join("state"));
    second.rewrite(|text| text.replace(&own.display().to_string(), &taken.display().to_string()));
    second.start_without_waiting();
    fails(&mut second, 1, &[&taken.display().to_string()]);
}
