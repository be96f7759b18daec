//! The cache for a LAN: its unit, judged by systemd, and what its documents show, read by the daemon. The configuration is run
//! in the test `fleet`, and the unit in the test `systemd`.

use std::process::Command;

use super::{repository, run, text};

#[test]
fn its_unit_has_no_mistakes_and_its_sandbox_is_tight() {
    let unit = repository("deploy/lan-cache/layerkeeper-lan-cache.service");
    run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--no-pager", "--threshold=13"]).arg(&unit));
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&unit));
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), Vec::<&str>::new(), "it succeeds and still complains");
}

#[test]
fn its_files_agree_on_where_things_are() {
    let unit = text("deploy/lan-cache/layerkeeper-lan-cache.service");
    let config = text("deploy/lan-cache/config.yml");
    assert!(config.contains("rootdirectory: /var/lib/layerkeeper-lan-cache\n"));
    assert!(unit.contains("\nStateDirectory=layerkeeper-lan-cache\n"));
    for document in ["deploy/lan-cache/README.md", "deploy/lan-cache/README.zh-CN.md"] {
        let document = text(document);
        for place in
            ["/etc/layerkeeper-lan-cache/config.yml", "/etc/layerkeeper-lan-cache/credentials", "10.0.0.2:5000"]
        {
            assert!(document.contains(place), "{place}");
        }
    }
}

#[test]
fn the_lines_that_its_documents_show_are_a_good_configuration() {
    for document in ["deploy/lan-cache/README.md", "deploy/lan-cache/README.zh-CN.md"] {
        let document = text(document);
        let (_, rest) = document.split_once("```toml\n").expect("an example");
        let (example, _) = rest.split_once("```").expect("its end");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("layerkeeper.toml");
        std::fs::write(&file, example).unwrap();
        let mut check = Command::new(layerkeeper_tests::daemon::binary());
        run(check.args(["check-config", "--config"]).arg(&file).env_remove("DOCKER_HOST"));
        assert!(example.contains("cache = true"), "{example}");
    }
}
