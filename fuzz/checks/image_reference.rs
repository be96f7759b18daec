//! Whatever is taken for an image reference prints as one by the book (`github.com/distribution/reference`), and reads
//! back as the same.

use layerkeeper_core::{Digest, ImageName, Reference, Repository, Selector};

/// Checks one text.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let reference = text.parse::<Reference>();
    let name = text.parse::<ImageName>();
    match &reference {
        Ok(reference) => {
            let printed = reference.to_string();
            assert_eq!(printed.parse().as_ref(), Ok(reference), "{text:?} does not survive printing");
            assert_eq!(reference.repository.by_digest(Digest::of(b"x")).repository, reference.repository);
            assert!(is_repository(&reference.repository), "{:?} is no repository", reference.repository);
            if let Selector::Tag(tag) = &reference.selector {
                assert!(is_tag(tag.as_str()), "{tag:?} is no tag");
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(name.is_err(), "{text:?} is a name, but not a reference: {error}");
        }
    }
    if let Ok(name) = name {
        assert!(!text.contains('@'), "{text:?} has a digest, and is no name");
        assert_eq!(reference.as_ref(), Ok(&name.to_reference()));
        assert_eq!(name.to_reference().name().as_ref(), Some(&name));
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    if let Ok(repository) = text.parse::<Repository>() {
        assert!(is_repository(&repository), "{repository:?} is no repository");
        assert_eq!(repository.to_string().parse(), Ok(repository), "{text:?} does not survive printing");
    }
}

/// The grammar of the normalised form, read from the specification and not from our code.
fn is_repository(repository: &Repository) -> bool {
    let (host, path) = (repository.registry(), repository.path());
    let official = host != "docker.io" || path.contains('/');
    host.len() + 1 + path.len() <= 255 && official && is_host(host) && path.split('/').all(is_component)
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_fits = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()));
    let name_fits = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => !v6.is_empty() && v6.bytes().all(|c| c.is_ascii_hexdigit() || c == b':'),
        None => name.split('.').all(|label| {
            let word = |c: char| c.is_ascii_alphanumeric();
            label.starts_with(word) && label.ends_with(word) && label.chars().all(|c| word(c) || c == '-')
        }),
    };
    port_fits && name_fits
}

/// Words of `[a-z0-9]`, between them one `.`, `_` or `__`, or dashes.
fn is_component(component: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joints = component.split(word).filter(|joint| !joint.is_empty());
    let joint_fits = |joint: &str| matches!(joint, "." | "_" | "__") || joint.chars().all(|c| c == '-');
    component.starts_with(word) && component.ends_with(word) && joints.into_iter().all(joint_fits)
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}
