//! Every file in `bad-config` is refused, with messages that say file, line, key, what is wrong and what would be right.

#![allow(clippy::unwrap_used, reason = "a test panics where it must not go on")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use layerkeeper::config::{Config, Environment};

fn bad_files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-config");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn bad_files_are_refused_with_everything_that_is_wrong() {
    let mut shown = String::new();
    for path in bad_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap();
        let error = Config::parse(&text, Path::new(name), &Environment::default()).unwrap_err();
        writeln!(shown, "{error}\n").unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_missing_file_says_what_to_do() {
    let error = Config::read(Path::new("/nonexistent/layerkeeper.toml"), &Environment::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/layerkeeper.toml: the configuration cannot be read: No such file or directory (os error 2); \
         name the file with --config, or copy config/layerkeeper.toml there and change it"
    );
}

#[test]
fn docker_host_wins_over_the_file_and_is_checked_like_it() {
    let with = |host: &str| {
        let environment = Environment { docker_host: Some(host.to_owned()), ..Environment::default() };
        Config::parse("[engine]\nhost = \"unix:///run/other.sock\"\n", Path::new("a.toml"), &environment)
    };
    assert_eq!(with("tcp://127.0.0.1:2375").unwrap().engine_host, "tcp://127.0.0.1:2375");
    let error = with("ssh://deploy@example.net").unwrap_err().to_string();
    assert!(error.starts_with("environment: DOCKER_HOST: \"ssh://deploy@example.net\" is no address"), "{error}");
}
