//! The program as scripts see it: exit codes, and which stream says what.

#![allow(clippy::unwrap_used, reason = "a test panics where it must not go on")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerkeeper"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    for name in ["DOCKER_HOST", "CREDENTIALS_DIRECTORY", "LAYERKEEPER_LOG", "RUST_LOG", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command
}

fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program(directory, arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_good_configuration_exits_with_0_and_says_what_was_not_checked() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), "[[keep]]\nimage = \"nginx:1\"\n").unwrap();
    let (code, stdout, stderr) = run(directory.path(), &["check-config", "--config", "a.toml"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("a.toml: good, 1 image to keep, 0 repositories to deploy to\nnote: "), "{stdout}");
    let (code, stdout, _) = run(directory.path(), &["check-config", "--config", "a.toml", "--json"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("\"kept\": 1"), "{stdout}");
}

#[test]
fn a_bad_configuration_exits_with_2_from_check_and_from_run_with_the_same_words() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), "[disk]\nmin_free = \"4\"\nmin = 1\n").unwrap();
    let (code, stdout, checked) = run(directory.path(), &["check-config", "--config", "a.toml"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(checked.starts_with("a.toml:2: disk.min_free: \"4\" has no unit; "), "{checked}");
    assert!(checked.contains("\na.toml:3: disk.min: there is no such key; "), "{checked}");
    let (code, _, logged) = run(directory.path(), &["run", "--config", "a.toml"]);
    assert_eq!(code, Some(2));
    assert!(checked.lines().all(|line| logged.contains(line)), "{logged}");
}

#[test]
fn an_unfit_secret_file_exits_with_2_and_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hunter2").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!("[webhook]\nsecret_file = \"{}\"\n", secret.display());
    std::fs::write(directory.path().join("a.toml"), text).unwrap();
    let (code, _, stderr) = run(directory.path(), &["check-config", "--config", "a.toml"]);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("a.toml:2: webhook.secret_file: "), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_bad_certificate_and_a_bad_key_are_told_apart_by_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let write = |name: &str, content: &str| {
        std::fs::write(at(name), content).unwrap();
        std::fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("secret", "0123456789abcdef");
    let dir = directory.path().display();
    let text = format!(
        "[webhook]\nsecret_file = \"{dir}/secret\"\ntls_cert = \"{dir}/cert.pem\"\ntls_key = \"{dir}/key.pem\"\n"
    );
    write("a.toml", &text);
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (cert, key, wanted) in [
        ("nothing", "hunter2", "a.toml:3: webhook.tls_cert: "),
        (certificate, "hunter2", "a.toml:4: webhook.tls_key: "),
    ] {
        write("cert.pem", cert);
        write("key.pem", key);
        let (code, _, stderr) = run(directory.path(), &["check-config", "--config", "a.toml"]);
        assert_eq!(code, Some(2));
        assert!(stderr.starts_with(wanted), "{stderr}");
        assert!(stderr.contains(".pem: no ") && !stderr.contains("hunter2"), "{stderr}");
    }
}

#[test]
fn a_secret_that_may_not_be_read_is_named_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    listening(dir, "127.0.0.1:0", "127.0.0.1:0");
    let secret = dir.join("secret");
    let mut command = program(dir, &["check-config", "--config", "a.toml"]);
    if rustix::process::geteuid().is_root() {
        // somebody else's, and without the right to read everything
        std::os::unix::fs::chown(&secret, Some(65_534), Some(65_534)).unwrap();
        let binary = command.get_program().to_owned();
        command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override,-dac_read_search", "--"]).arg(binary);
        command.args(["check-config", "--config", "a.toml"]).current_dir(dir).env_remove("DOCKER_HOST");
    } else {
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let words = format!("a.toml:6: webhook.secret_file: {} cannot be read: Permission denied", secret.display());
    assert!(stderr.starts_with(&words), "{stderr}");
    assert!(stderr.contains("the daemon's user may read it"), "{stderr}");
}

/// A configuration that starts in this directory with these addresses.
fn listening(directory: &Path, webhook: &str, status: &str) {
    let secret = directory.join("secret");
    std::fs::write(&secret, "0123456789abcdef").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let dir = directory.display();
    let text = format!(
        "[listen]\nwebhook = \"{webhook}\"\nstatus = \"{status}\"\ncontrol = \"{dir}/control.sock\"\n\
         [webhook]\nsecret_file = \"{dir}/secret\"\n[state]\ndir = \"{dir}/state\"\n"
    );
    std::fs::write(directory.join("a.toml"), text).unwrap();
}

#[test]
fn a_port_in_use_exits_with_2_by_file_and_line_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let status = taken.local_addr().unwrap().to_string();
    listening(directory.path(), "127.0.0.1:0", &status);
    let (code, _, logged) = run(directory.path(), &["run", "--config", "a.toml"]);
    assert_eq!(code, Some(2), "{logged}");
    let words = format!("a.toml:3: [listen] status = \"{status}\": another process listens on this address");
    assert!(logged.contains(&words), "{logged}");
    assert!(!directory.path().join("control.sock").exists() && !directory.path().join("state").exists());
}

#[test]
fn an_address_that_may_still_come_exits_with_1_so_that_it_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    // RFC 5737: an address for documents, on no machine
    listening(directory.path(), "192.0.2.1:9317", "127.0.0.1:0");
    let (code, _, logged) = run(directory.path(), &["run", "--config", "a.toml"]);
    assert_eq!(code, Some(1), "{logged}");
    assert!(logged.contains("a.toml:2: [listen] webhook = \"192.0.2.1:9317\": this machine has no such"), "{logged}");
}

#[test]
fn without_a_daemon_the_exit_code_is_3() {
    let directory = tempfile::tempdir().unwrap();
    for command in [&["status"][..], &["deploy", "ghcr.io/acme/app:1"], &["prune", "--dry-run"], &["history"]] {
        let (code, stdout, stderr) = run(directory.path(), &[&["--socket", "none.sock"], command].concat());
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{stderr}");
        assert!(stderr.contains("none.sock"), "{stderr}");
    }
}

#[test]
fn a_look_at_the_state_exits_with_0_where_it_is_good_and_with_1_where_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(directory.path().join("a.toml"), format!("[state]\ndir = \"{}\"\n", state.display())).unwrap();
    let (code, stdout, stderr) = run(directory.path(), &["check-state", "--config", "a.toml"]);
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    assert!(stdout.contains("layerkeeper.db: UNREADABLE\n"), "{stdout}");
    std::fs::write(state.join("layerkeeper.db"), "").unwrap();
    let (code, stdout, _) = run(directory.path(), &["check-state", "--config", "a.toml"]);
    assert_eq!(code, Some(0), "{stdout}");
    std::fs::write(state.join("layerkeeper.db"), "no database ".repeat(500)).unwrap();
    let (code, stdout, _) = run(directory.path(), &["check-state", "--state", "state", "--json"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("\"verdict\": \"damaged\""), "{stdout}");
    assert_eq!(run(directory.path(), &["check-state", "--config", "none.toml"]).0, Some(2));
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1, "something was made");
}

/// A server whose every connection gets these bytes, and no end.
fn answering(answer: &'static str) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).unwrap();
            kept.push(stream);
        }
    });
    url
}

#[test]
fn a_notify_that_waits_no_longer_says_what_it_has_heard_of_the_server() {
    const TAKEN: &str = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 53\r\n\r\n\
                         {\"id\":\"a\",\"state\":\"queued\",\"status_url\":\"/v1/jobs/a\"}";
    const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\n\
                        Content-Length: 85\r\n\r\n\
                        {\"type\":\"queue-full\",\"title\":\"Busy\",\"status\":429,\"detail\":\"200 jobs wait already...\"}";
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), "0123456789abcdef").unwrap();
    let notify = |urls: &[&str]| {
        let mut arguments =
            vec!["notify", "ghcr.io/acme/app:1", "--follow", "--timeout", "1s", "--secret-file", "secret"];
        arguments.extend(urls.iter().flat_map(|url| ["--url", url]));
        run(directory.path(), &arguments)
    };
    let silent = answering("");
    let unheard = format!("does not answer at {silent}: it gave no answer within 1s, so nobody knows");
    let (code, _, stderr) = notify(&[&silent]);
    assert!(code == Some(3) && stderr.contains(&unheard), "{code:?} {stderr}");
    let (code, _, stderr) = notify(&[&answering(BUSY)]);
    assert!(code == Some(1) && stderr.contains("has not taken it after 1s; what it said last: "), "{code:?} {stderr}");
    let (code, _, stderr) = notify(&[&answering(TAKEN)]);
    assert!(code == Some(1) && stderr.contains("no end after 1s; the server goes on with it"), "{code:?} {stderr}");
    // many at once are told of one by one
    let (_, stdout, _) = notify(&[&silent, &answering(TAKEN)]);
    assert!(stdout.contains("it gave no answer within 1s") && stdout.contains("goes on with it"), "{stdout}");
}

#[test]
fn wrong_usage_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["fly"][..], &["deploy", "ghcr.io/acme/app"], &["status", "--config", "none.toml"]] {
        assert_eq!(run(directory.path(), arguments).0, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program(directory.path(), &["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
