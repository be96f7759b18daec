//! `layerkeeper pin` as scripts see it, where nobody need be asked: what it prints, how it exits, what is in the file.

#![allow(clippy::unwrap_used, reason = "a test panics where it must not go on")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

const ONE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const NOBODY: u32 = 65_534;

fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerkeeper"));
    command.current_dir(directory).args(["pin", "--config", "a.toml"]).args(arguments).env_remove("DOCKER_HOST");
    command
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

fn configured(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), text).unwrap();
    directory
}

fn now(directory: &tempfile::TempDir) -> String {
    std::fs::read_to_string(directory.path().join("a.toml")).unwrap()
}

#[test]
fn pinning_replacing_and_taking_out_say_the_line_that_changed() {
    let text = "# servers of May\n[[keep]]\nimage = \"nginx:1\" # base\nschedule = \"0 0 3 * * *\"\n";
    let directory = configured(text);
    let pin = |arguments: &[&str]| run(&mut program(directory.path(), arguments));
    let image = "docker.io/library/nginx:1";
    let reload = "It counts after `systemctl reload layerkeeper`.\n";

    let said = format!("{image} is now pinned to {ONE}.\n\na.toml:4\n+ digest = \"{ONE}\"\n\n{reload}");
    assert_eq!(pin(&["nginx:1", "--digest", ONE]), (Some(0), said));
    assert_eq!(now(&directory), text.replace("# base\n", &format!("# base\ndigest = \"{ONE}\"\n")));

    let said = format!("{image} is pinned to {ONE} already; nothing was written.\n");
    let before = std::fs::metadata(directory.path().join("a.toml")).unwrap();
    assert_eq!(pin(&["nginx:1", "--digest", ONE]), (Some(0), said));
    assert_eq!(std::fs::metadata(directory.path().join("a.toml")).unwrap().ino(), before.ino());

    let said = format!(
        "{image} was pinned to {ONE} and is now pinned to {TWO}.\n\na.toml:4\n- digest = \"{ONE}\"\n+ digest = \"{TWO}\"\n\n{reload}"
    );
    assert_eq!(pin(&["nginx:1", "--digest", TWO]), (Some(0), said));

    let (code, json) = pin(&["nginx:1", "--remove", "--json"]);
    let facts: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &facts["changed"], &facts["old"], &facts["new"]),
        (Some(0), &true.into(), &TWO.into(), &().into())
    );
    assert_eq!((&facts["line"], &facts["added_line"]), (&4.into(), &().into()), "{json}");
    assert_eq!(now(&directory), text, "there and back again");

    assert_eq!(pin(&["nginx:1", "--remove"]), (Some(0), format!("{image} is not pinned; nothing was written.\n")));
}

#[test]
fn the_digest_of_one_quarter_is_never_written_as_that_of_another() {
    let text = "[[keep]]\nimage = \"nginx:1-{quarter}\"\nquarter = \"2026q3\"\n";
    let directory = configured(text);
    let pin = |arguments: &[&str]| run(&mut program(directory.path(), arguments));
    for arguments in [&["nginx:1-2026q4", "--digest", ONE][..], &["nginx:1-2026q4"], &["nginx:1-2026q4", "--remove"]] {
        let (code, said) = pin(arguments);
        let advice = "`layerkeeper pin 'docker.io/library/nginx:1-{quarter}' --quarter 2026q4`";
        assert!(code == Some(4) && said.contains("stays at 2026q3") && said.contains(advice), "{code:?} {said}");
        assert_eq!(now(&directory), text, "{arguments:?}");
    }
    assert_eq!(pin(&["nginx:1-2026q3", "--digest", ONE]).0, Some(0));
    assert_eq!(pin(&["nginx:1-{quarter}", "--digest", TWO]).0, Some(0));
    assert!(now(&directory).contains(TWO));
}

#[test]
fn a_quarter_is_stayed_at_by_one_command_and_left_by_another() {
    let text = "[[keep]]\nimage = \"nginx:1-{quarter}\" # base\n[[keep]]\nimage = \"nginx:1\"\n";
    let directory = configured(text);
    let pin = |arguments: &[&str]| run(&mut program(directory.path(), arguments));
    let image = "docker.io/library/nginx:1-{quarter}";
    let (code, said) = pin(&["nginx:1-{quarter}", "--digest", ONE]);
    assert!(code == Some(4) && said.contains(&format!("`layerkeeper pin '{image}' --quarter 2026q3`")), "{said}");
    let (code, said) = pin(&["nginx:1-2026q4", "--quarter", "2026q3"]);
    let wanted = format!(
        "{image} stays at 2026q3 from now on; it was the newest. What is kept now stays so until that is here.\n\n\
         a.toml:3\n+ quarter = \"2026q3\"\n\nIt counts after `systemctl reload layerkeeper`.\n"
    );
    assert_eq!((code, said), (Some(0), wanted));
    assert_eq!(pin(&["nginx:1-2026q3", "--digest", ONE]).0, Some(0), "its content, too");
    let (code, said) = pin(&["nginx:1-2026q4", "--quarter", "2026q2"]);
    assert!(code == Some(4) && said.contains("take that out first"), "{said}");
    assert_eq!(pin(&["nginx:1-{quarter}", "--remove"]).0, Some(0), "first the digest");
    let said = format!("{image} stays at 2026q3 already; nothing was written.\n");
    assert_eq!(pin(&["nginx:1-{quarter}", "--quarter", "2026q3"]), (Some(0), said));
    assert_eq!(pin(&["nginx:1-{quarter}", "--remove"]).0, Some(0), "then the quarter");
    assert_eq!(now(&directory), text);
    let said = format!("{image} follows the newest quarter; nothing was written.\n");
    assert_eq!(pin(&["nginx:1-{quarter}", "--remove"]), (Some(0), said));
    assert_eq!(pin(&["nginx:1", "--quarter", "2026q3"]).0, Some(4), "it has none");
    assert_eq!(pin(&["nginx:1-2026q4", "--quarter", "2026"]).0, Some(2));
}

#[test]
fn what_cannot_be_pinned_is_refused_and_the_file_stays() {
    let text = "[[keep]]\nimage = \"nginx:1\"\n";
    let directory = configured(text);
    let refused = |arguments: &[&str], code: i32, words: &[&str]| {
        let (exit, said) = run(&mut program(directory.path(), arguments));
        assert_eq!(exit, Some(code), "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    };
    refused(&["nginx:2"], 4, &["nginx:2 is not a kept image; kept are docker.io/library/nginx:1", "a.toml"]);
    refused(&["nginx:1", "--digest", "sha256:12"], 2, &["sha256:12"]);
    refused(&["nginx:1", "--digest", ONE, "--remove"], 2, &["cannot be used with"]);
    // neither daemon nor engine
    let nowhere = directory.path().join("none.sock").display().to_string();
    let docker_host = format!("unix://{nowhere}");
    let mut asked = program(directory.path(), &["nginx:1", "--socket", &nowhere]);
    let (exit, said) = run(asked.env("DOCKER_HOST", docker_host));
    assert_eq!(exit, Some(3), "{said}");
    assert!(
        said.contains("Nor can the engine be asked") && said.contains("`--digest sha256:…` needs neither"),
        "{said}"
    );
    assert_eq!(now(&directory), text);

    let bad = format!("{text}no_such = 1\n");
    std::fs::write(directory.path().join("a.toml"), &bad).unwrap();
    refused(&["nginx:1", "--digest", ONE], 2, &["a.toml:3: keep.no_such: there is no such key"]);
    assert_eq!(now(&directory), bad);
}

#[test]
fn a_user_who_may_not_write_the_file_is_named() {
    let text = "[[keep]]\nimage = \"nginx:1\"\n";
    let directory = configured(text);
    let file = directory.path().join("a.toml");
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o444)).unwrap();
    let mut command = program(directory.path(), &["nginx:1", "--digest", ONE]);
    // root may write whatever the mode says
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let (code, said) = run(&mut command);
    assert_eq!(code, Some(1), "{said}");
    let wanted = format!("{}: cannot be written by the user ", file.canonicalize().unwrap().display());
    assert!(said.contains(&wanted) && said.contains("Permission denied"), "{said}");
    assert_eq!(now(&directory), text);
}
