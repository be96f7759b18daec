//! `config/layerkeeper.toml` shows every key, at its true default.

#![allow(clippy::unwrap_used, reason = "a test panics where it must not go on")]

use std::path::Path;

use layerkeeper::config::{Config, Environment, keys, reference};

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("layerkeeper.toml"), &Environment::default()).unwrap()
}

fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/layerkeeper.toml");
    std::fs::read_to_string(path).unwrap()
}

/// The file with its commented keys and blocks put to work, up to the first line that `stop` accepts; but for `quarter`, which
/// goes only with an image that has one in its tag.
fn uncommented(text: &str, stop: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    let mut at_work = true;
    for line in text.lines() {
        at_work &= !stop(line);
        let is_code = line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' ') && !rest.is_empty());
        let is_code = is_code && !line.starts_with("#quarter =");
        out.push_str(if at_work && is_code { &line[1..] } else { line });
        out.push('\n');
    }
    out
}

/// Everything but the lines that the keys stand in.
fn shown(config: &Config) -> String {
    let Config { engine_host, listen, webhook, registry, state, max_queued, settings, .. } = config;
    format!("{engine_host:#?}{listen:#?}{webhook:#?}{registry:#?}{state:#?}{max_queued}{settings:#?}")
}

#[test]
fn the_shipped_file_is_the_one_made_from_the_table_of_keys() {
    assert_eq!(shipped(), reference::default_file(), "run `cargo xtask docs`");
}

#[test]
fn the_shipped_file_as_it_is_means_the_defaults() {
    assert_eq!(shown(&parse(&shipped())), shown(&parse("")));
}

#[test]
fn every_default_that_the_file_shows_is_the_default() {
    let defaults = uncommented(&shipped(), |line| line.starts_with("#[["));
    assert!(defaults.contains("\nhost = "), "nothing was uncommented");
    assert_eq!(shown(&parse(&defaults)), shown(&parse("")));
}

#[test]
fn the_example_blocks_are_a_valid_configuration() {
    let config = parse(&uncommented(&shipped(), |_| false));
    assert_eq!(config.settings.policy.keep.len(), 1);
    assert_eq!(config.settings.policy.runtime.len(), 1);
    assert_eq!(config.settings.schedules[0].text, "0 30 2 * * *");
}

#[test]
fn every_known_key_is_in_the_file() {
    let text = shipped();
    for key in keys::KEYS {
        assert!(text.contains(&format!("\n#{} = ", key.name)), "{}.{}", key.table, key.name);
    }
}

#[test]
fn the_example_blocks_show_the_defaults_where_a_default_is_shown() {
    let minimal = parse("[[runtime]]\nrepository = \"ghcr.io/acme/app\"\n");
    let mut example = parse(&uncommented(&shipped(), |_| false)).settings.policy.runtime;
    // it has no default: the file shows one that somebody may want
    assert!(example[0].download_limit.take().is_some());
    assert_eq!(minimal.settings.policy.runtime, example);
}
