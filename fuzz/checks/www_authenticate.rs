//! Whatever is read out of a `WWW-Authenticate` header is bounded, and written down by the book it reads back as the
//! same (RFC 9110, 11.6.1).

use layerkeeper_registry::challenge::{Challenge, parse};

/// More challenges, and more parameters of one, are never read.
const MOST: usize = 32;

/// Checks one header, read as the session reads it.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let read = parse(&text);
    assert!(read.len() <= MOST && read.iter().all(|challenge| challenge.params.len() <= MOST));
    for challenge in &read {
        let names = challenge.params.iter().map(|(name, _)| name);
        for word in names.chain([&challenge.scheme]) {
            assert!(!word.is_empty() && word.bytes().all(is_token), "{word:?} is no token");
        }
        for (name, _) in &challenge.params {
            let first = challenge.params.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
            assert_eq!(challenge.param(name), first);
        }
        let length: usize = challenge.params.iter().map(|(_, value)| value.len()).sum();
        assert!(length <= text.len(), "more came out than went in");
    }
    assert_eq!(parse(&printed(&read)), read, "{text:?} does not survive printing");
}

fn printed(challenges: &[Challenge]) -> String {
    let quoted = |value: &str| value.replace('\\', r"\\").replace('"', r#"\""#);
    let one = |challenge: &Challenge| {
        let params = challenge.params.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value)));
        format!("{} {}", challenge.scheme, params.collect::<Vec<_>>().join(", "))
    };
    challenges.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `tchar`, without capitals.
fn is_token(c: u8) -> bool {
    c.is_ascii_digit() || c.is_ascii_lowercase() || b"!#$%&'*+-.^_`|~".contains(&c)
}
