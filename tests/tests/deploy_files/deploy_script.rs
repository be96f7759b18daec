//! `deploy/deploy.sh` with stand-ins for layerkeeper and docker that write down how they were called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use super::{repository, told};

const NEW: &str = "ghcr.io/acme/app:sha-2222222";

/// A directory with the stand-ins; they end with these codes.
fn directory(layerkeeper: u8, docker: u8) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, code) in [("layerkeeper", layerkeeper), ("docker", docker)] {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\necho \"{name} $* APP_IMAGE=$APP_IMAGE\" >>calls\nexit {code}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir
}

fn deploy(dir: &Path, args: &[&str]) -> Output {
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(repository("deploy/deploy.sh"));
    command.args(args).current_dir(dir).env("PATH", path).env("APP_IMAGE", "").output().unwrap()
}

fn calls(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn it_pulls_first_and_then_starts_without_a_pull() {
    let dir = directory(0, 0);
    let env = dir.path().join(".env");
    fs::write(&env, "TOKEN=secret\nAPP_IMAGE=ghcr.io/acme/app:sha-1111111\nLAST=1").unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o640)).unwrap();
    let output = deploy(dir.path(), &[NEW]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(
        calls(dir.path()),
        [
            format!("layerkeeper deploy {NEW} --follow APP_IMAGE="),
            format!("docker compose up -d --pull never APP_IMAGE={NEW}"),
        ]
    );
    // the next start, by whomever, is the same version
    assert_eq!(fs::read_to_string(&env).unwrap(), format!("TOKEN=secret\nLAST=1\nAPP_IMAGE={NEW}\n"));
    assert_eq!(fs::metadata(&env).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn without_an_argument_it_deploys_what_the_env_file_says() {
    for line in [
        "APP_IMAGE=x/y:sha-1",
        "APP_IMAGE=old\nexport APP_IMAGE=\"x/y:sha-1\"",
        " APP_IMAGE='x/y:sha-1' ",
        "APP_IMAGE= x/y:sha-1 # the one that runs",
        "APP_IMAGE=\"x/y:sha-1\" # \"quoted\"",
        "APP_IMAGE='x/y:sha-1'# 'close'",
    ] {
        let dir = directory(0, 0);
        fs::write(dir.path().join(".env"), line).unwrap();
        assert!(deploy(dir.path(), &[]).status.success());
        assert_eq!(calls(dir.path())[0], "layerkeeper deploy x/y:sha-1 --follow APP_IMAGE=", "{line}");
        assert_eq!(fs::read_to_string(dir.path().join(".env")).unwrap(), line, "nothing to change");
    }
}

#[test]
fn an_env_file_that_cannot_be_written_is_no_failed_deploy_and_starts_nothing() {
    let dir = directory(0, 0);
    let script = repository("deploy/deploy.sh");
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(script);
    command.arg(NEW).current_dir(dir.path()).env("PATH", path).env("APP_IMAGE", "").env("ENV_FILE", "none/.env");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", told(&output));
    assert!(told(&output).contains(&format!("{NEW} is here, but none/.env cannot be written")), "{}", told(&output));
    assert_eq!(calls(dir.path()).len(), 1, "compose would start the old one at its next start");

    // what was there stays as it was, and nothing lies beside it
    let dir = directory(0, 0);
    fs::write(dir.path().join(".env"), "APP_IMAGE=x/y:sha-1\n").unwrap();
    fs::create_dir(dir.path().join(".env.new")).unwrap();
    assert_eq!(deploy(dir.path(), &[NEW]).status.code(), Some(10));
    assert_eq!(fs::read_to_string(dir.path().join(".env")).unwrap(), "APP_IMAGE=x/y:sha-1\n");
}

#[test]
fn a_deploy_that_does_not_succeed_starts_nothing_and_keeps_its_exit_code() {
    for code in [1, 3, 4, 5] {
        let dir = directory(code, 0);
        let output = deploy(dir.path(), &[NEW]);
        assert_eq!(output.status.code(), Some(i32::from(code)), "{}", told(&output));
        assert_eq!(calls(dir.path()).len(), 1);
        assert!(!dir.path().join(".env").exists());
    }
    let dir = directory(0, 1);
    assert_eq!(deploy(dir.path(), &[NEW]).status.code(), Some(10));
    for wrong in [&[][..], &["a", "b"], &["--help"]] {
        let dir = directory(0, 0);
        assert_eq!(deploy(dir.path(), wrong).status.code(), Some(2));
        assert!(calls(dir.path()).is_empty());
    }
}
