//! `deploy/install.sh` into an empty file tree. Into a booted system: the test `systemd`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use super::{repository, text, told};

fn install(root: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(repository("deploy/install.sh"));
    command.arg("--root").arg(root).args(["--binary", "/bin/true"]).args(more).output().unwrap()
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    dir
}

#[test]
fn it_installs_once_and_never_writes_over_what_is_the_operators() {
    let tree = tree();
    let at = |path: &str| tree.path().join(path);
    let first = install(tree.path(), &[]);
    assert!(first.status.success(), "{}", told(&first));
    for word in ["gh secret set LAYERKEEPER_SECRET", "systemctl enable --now layerkeeper", "MIGRATION.md"] {
        assert!(told(&first).contains(word), "{word}");
    }
    let mode = |path: &str| fs::metadata(at(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("usr/local/bin/layerkeeper"), 0o755);
    assert_eq!(mode("etc/layerkeeper/webhook-secret"), 0o600);
    let read = |path: &str| fs::read_to_string(at(path)).unwrap();
    assert_eq!(read("usr/local/lib/systemd/system/layerkeeper.service"), text("systemd/layerkeeper.service"));
    assert_eq!(read("etc/layerkeeper/layerkeeper.toml"), text("config/layerkeeper.toml"));
    assert!(read("etc/group").contains("layerkeeper:"), "sysusers ran");
    let secret = read("etc/layerkeeper/webhook-secret");
    assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44 + 1, "{} characters", secret.len());
    assert!(!told(&first).contains(secret.trim()), "it does not show the secret");

    fs::write(at("etc/layerkeeper/layerkeeper.toml"), "# mine\n").unwrap();
    let second = install(tree.path(), &[]);
    assert!(second.status.success(), "{}", told(&second));
    assert!(!told(&second).contains("\ninstalled"), "{}", told(&second));
    assert_eq!(read("etc/layerkeeper/layerkeeper.toml"), "# mine\n");
    assert_eq!(read("etc/layerkeeper/webhook-secret"), secret);

    let gone = install(tree.path(), &["--uninstall"]);
    assert!(gone.status.success(), "{}", told(&gone));
    assert!(!at("usr/local/bin/layerkeeper").exists());
    assert!(!at("usr/local/lib/systemd/system/layerkeeper.service").exists());
    assert_eq!(read("etc/layerkeeper/layerkeeper.toml"), "# mine\n");
    assert_eq!(read("etc/layerkeeper/webhook-secret"), secret);
}

#[test]
fn two_hosts_have_two_secrets() {
    let secret = || {
        let tree = tree();
        assert!(install(tree.path(), &[]).status.success());
        fs::read_to_string(tree.path().join("etc/layerkeeper/webhook-secret")).unwrap()
    };
    assert_ne!(secret(), secret());
}

#[test]
fn a_secret_is_whole_or_not_there() {
    let broken = |program: &str| {
        let tree = tree();
        let path = tree.path().join(program);
        fs::write(&path, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = Command::new(repository("deploy/install.sh"));
        command.arg("--root").arg(tree.path()).args(["--binary", "/bin/true"]);
        let path = format!("{}:{}", tree.path().display(), std::env::var("PATH").unwrap());
        let output = command.env("PATH", path).output().unwrap();
        let made = |name| fs::read_to_string(tree.path().join("etc/layerkeeper").join(name)).ok();
        (output, made("webhook-secret"), made("webhook-secret.new"))
    };
    let (output, secret, _) = broken("openssl");
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(secret.unwrap().len(), 6 + 44 + 1);
    for program in ["base64", "head"] {
        let (output, secret, unfinished) = broken(program);
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert!(told(&output).contains("no random secret could be made"), "{}", told(&output));
        assert_eq!((secret, unfinished), (None, None));
    }
}

#[test]
fn no_spelling_of_root_is_the_running_system() {
    let script = repository("deploy/install.sh");
    for root in ["", "/", "//", "/tmp/.."] {
        // should it go on all the same, it has nothing to install
        let more = ["--prefix", "/nonexistent", "--binary", "/nonexistent"];
        let output = Command::new(&script).args(["--root", root]).args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{root:?}: {}", told(&output));
        assert!(told(&output).contains("--root"), "{}", told(&output));
    }
}

#[test]
fn another_prefix_is_in_the_unit_and_a_strange_one_is_refused() {
    let tree = tree();
    assert!(install(tree.path(), &["--prefix", "/opt/lk"]).status.success());
    // systemd does not look below /opt by itself
    let unit = fs::read_to_string(tree.path().join("etc/systemd/system/layerkeeper.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/lk/bin/layerkeeper run\n"), "{unit}");
    assert!(tree.path().join("opt/lk/bin/layerkeeper").exists());

    for bad in [&["--prefix", "relative"][..], &["--prefix", "/a|b"], &["--prefix"], &["--nonsense"]] {
        let output = install(tree.path(), bad);
        assert_eq!(output.status.code(), Some(2), "{bad:?}: {}", told(&output));
    }
    let nowhere = install(Path::new("/nonexistent"), &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    let no_program = install(tree.path(), &["--binary", "/etc/passwd"]);
    assert!(told(&no_program).contains("is not a program"), "{}", told(&no_program));
}
