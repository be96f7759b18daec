//! The unit, judged by systemd itself. What it does when it runs is in the test `systemd`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{repository, run, text};

#[test]
fn the_unit_has_no_mistakes_and_its_sandbox_is_tight() {
    let unit = repository("systemd/layerkeeper.service");
    // the score times ten
    run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--no-pager", "--threshold=13"]).arg(&unit));

    // verify wants the program to be there
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("layerkeeper");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("layerkeeper.service");
    let changed = text("systemd/layerkeeper.service").replace("/usr/local/bin/layerkeeper", program.to_str().unwrap());
    fs::write(&copy, changed).unwrap();
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&copy));
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), Vec::<&str>::new(), "it succeeds and still complains");
}

#[test]
fn the_unit_waits_longer_than_a_stop_takes() {
    // [limits] stop_timeout is 10m unless somebody changes it
    let unit = text("systemd/layerkeeper.service");
    assert!(text("config/layerkeeper.toml").contains("#stop_timeout = \"10m\""));
    assert!(unit.contains("\nTimeoutStopSec=11min\n"));
    assert!(!unit.contains("\nRequires="), "the engine may be away");
}
