//! Scripts, judged by the shells that run them and by shellcheck.

use std::process::Command;

use super::{repository, run};

const SCRIPTS: [(&str, &str); 3] =
    [("sh", "deploy/install.sh"), ("sh", "deploy/deploy.sh"), ("bash", "deploy/github-actions/notify.sh")];

#[test]
fn every_script_parses_and_shellcheck_has_nothing_to_say() {
    for (shell, script) in SCRIPTS {
        run(Command::new(shell).arg("-n").arg(repository(script)));
        run(Command::new("shellcheck").arg("--shell").arg(shell).arg(repository(script)));
    }
}
