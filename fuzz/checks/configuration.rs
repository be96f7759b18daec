//! Whatever stands in a configuration: each problem is one line that names a line of the file, a comment changes nothing,
//! and what is accepted keeps the promises that the rest of the program builds on.

use std::path::Path;

use layerkeeper::config::{Config, ConfigError, Environment, Place, control_socket, state_dir};

/// Checks one file.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read = |text: &str| Config::parse(text, Path::new("a.toml"), &Environment::default());
    let result = read(text);
    match &result {
        Ok(config) => keeps_its_promises(config, text),
        Err(error) => is_told_line_by_line(error, text),
    }
    // a byte order mark is one only at the very beginning
    if !text.starts_with('\u{feff}') {
        match (result, read(&format!("# a comment\n{text}"))) {
            (Ok(config), Ok(moved)) => {
                assert_eq!(format!("{:?}", config.settings), format!("{:?}", moved.settings));
                assert_eq!((config.listen, config.webhook), (moved.listen, moved.webhook));
                assert_eq!((config.registry, config.state), (moved.registry, moved.state));
            }
            (Err(error), Err(moved)) => {
                let down = |place| if let Place::Line(line) = place { Place::Line(line + 1) } else { place };
                let places = |error: &ConfigError| error.problems.iter().map(|p| p.place).collect::<Vec<_>>();
                let wanted: Vec<Place> = places(&error).into_iter().map(down).collect();
                assert_eq!(places(&moved), wanted, "a comment above moved more than the lines");
            }
            (_, moved) => panic!("a comment changed what is accepted: {moved:?}"),
        }
    }
}

fn is_told_line_by_line(error: &ConfigError, text: &str) {
    assert!(!error.problems.is_empty(), "refused without a reason");
    let lines = text.bytes().filter(|c| *c == b'\n').count() + 1;
    for problem in &error.problems {
        if let Place::Line(line) = problem.place {
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {problem:?}");
        }
        assert!(!problem.wrong.is_empty() && !problem.right.is_empty(), "{problem:?}");
    }
    let told = error.to_string();
    assert_eq!(told.split('\n').count(), error.problems.len(), "a problem is one line: {told:?}");
    assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "something steers the terminal: {told:?}");
}

fn keeps_its_promises(config: &Config, text: &str) {
    assert!(config.listen.status.ip().is_loopback());
    assert!(config.state.dir.is_absolute() && config.listen.control.is_absolute());
    // commands find the daemon by what they read more leniently
    assert_eq!(control_socket(text), config.listen.control);
    assert_eq!(state_dir(text), config.state.dir);
    let policy = &config.settings.policy;
    for runtime in &policy.runtime {
        assert!(1 <= runtime.keep_min && runtime.keep_min <= runtime.keep_last);
        assert!(!runtime.deploy_tags.is_empty());
        for pattern in &runtime.prune_tags {
            let start: Vec<char> = pattern.to_string().chars().take(2).collect();
            assert!(start.len() == 2 && !start.iter().any(|c| matches!(c, '*' | '?')), "{pattern} is too wide");
        }
    }
    for keep in &policy.keep {
        assert!(!policy.runtime.iter().any(|runtime| runtime.may_prune(&keep.image)), "{} may go", keep.image);
    }
    assert_eq!(config.settings.schedules.len(), policy.keep.len());
}
