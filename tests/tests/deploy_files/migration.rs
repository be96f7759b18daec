//! `deploy/MIGRATION.md`: its recipe finds what it should, and both languages say the same.

use std::fs;
use std::process::Command;

use super::{run, text};

fn code_blocks(page: &str) -> Vec<String> {
    // comments are translated, commands are not
    let commands = |block: &str| block.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    page.split("```").skip(1).step_by(2).map(commands).collect()
}

#[test]
fn the_recipe_finds_what_cleans_and_nothing_else() {
    let page = text("deploy/MIGRATION.md");
    let pattern = page.split("grep -rnsE '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let harmful = [
        "0 4 * * * root docker system prune -af",
        "ExecStart=/usr/bin/docker image prune --all --force --filter until=24h",
        "ssh host 'docker compose pull && docker compose up -d'",
        "docker pull ghcr.io/acme/base:1",
        "docker rmi $(docker images -q)",
        "docker run -d spotify/docker-gc",
        "image: containrrr/watchtower",
    ];
    let harmless = ["docker compose up -d --pull never", "docker ps", "layerkeeper prune --dry-run", "docker login"];
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cron"), [harmful.join("\n"), harmless.join("\n")].join("\n")).unwrap();
    let found = run(Command::new("grep").args(["-rhsE", pattern]).arg(dir.path()));
    assert_eq!(found.lines().skip(1).collect::<Vec<_>>(), harmful);
}

#[test]
fn both_languages_hold_the_same_commands_and_rows() {
    let (english, chinese) = (text("deploy/MIGRATION.md"), text("deploy/MIGRATION.zh-CN.md"));
    assert_eq!(code_blocks(&english), code_blocks(&chinese));
    let count = |page: &str, start: &str| page.lines().filter(|line| line.starts_with(start)).count();
    for start in ["#", "|", "1. ", "6. ", "**"] {
        assert_eq!(count(&english, start), count(&chinese, start), "lines that start with {start:?}");
    }
}
