//! Image references, always normalised: `nginx` is `docker.io/library/nginx`.
//!
//! Grammar: `github.com/distribution/reference`, and the OCI distribution specification for repository names.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("an image reference may not be empty")]
    Empty,
    /// Longer than the 255 characters that a repository name may have.
    #[error("the repository name {0:?} is longer than 255 characters")]
    TooLong(String),
    /// Upper-case letters in the repository's name.
    #[error("repository names are lower-case; {0:?} is not")]
    Uppercase(String),
    /// The repository breaks the grammar.
    #[error(
        "{0:?} is not a repository name: path components are lower-case letters and digits, joined by \".\", \"_\", \"__\" or dashes"
    )]
    Repository(String),
    /// The registry's host breaks the grammar.
    #[error("{0:?} is not a registry host")]
    Registry(String),
    /// The tag breaks the grammar.
    #[error("{0:?} is not a tag: up to 128 letters, digits, \"_\", \".\" and \"-\", not starting with \".\" or \"-\"")]
    Tag(String),
    /// The digest breaks the grammar.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A tag is needed and none is there.
    #[error("{0:?} has no tag; write it as \"{0}:TAG\"")]
    NoTag(String),
}

/// A registry's host and a path in it, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    path: String,
}

/// A tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// A repository with a tag: the only kind of name that we ever make, move or remove as a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageName {
    /// Where it is.
    pub repository: Repository,
    /// Which one.
    pub tag: Tag,
}

/// What a [`Reference`] picks inside its repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// `:tag`
    Tag(Tag),
    /// `@sha256:…`
    Digest(Digest),
}

/// A repository with a tag or a digest: what can be pulled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Where it is.
    pub repository: Repository,
    /// Which one.
    pub selector: Selector,
}

impl Repository {
    /// The registry's host, with its port where one was given (`docker.io`, `ghcr.io`, `127.0.0.1:5000`).
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry (`library/nginx`).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// This repository with a tag.
    pub fn tagged(&self, tag: Tag) -> ImageName {
        ImageName { repository: self.clone(), tag }
    }

    /// This repository by digest.
    pub fn by_digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), selector: Selector::Digest(digest) }
    }
}

impl Tag {
    /// A text that is known to fit.
    pub(crate) fn checked(text: String) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "{text:?}");
        Self(text)
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ImageName {
    /// This name as something to pull.
    pub fn to_reference(&self) -> Reference {
        Reference { repository: self.repository.clone(), selector: Selector::Tag(self.tag.clone()) }
    }
}

impl Reference {
    /// The name, when this picks by tag.
    pub fn name(&self) -> Option<ImageName> {
        match &self.selector {
            Selector::Tag(tag) => Some(self.repository.tagged(tag.clone())),
            Selector::Digest(_) => None,
        }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (registry, path) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => (first.to_owned(), rest.to_owned()),
            _ => ("docker.io".to_owned(), text.to_owned()),
        };
        let registry = if registry == "index.docker.io" { "docker.io".to_owned() } else { registry };
        let path = if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
        if !host_is_valid(&registry) {
            return Err(ReferenceError::Registry(registry));
        }
        if registry.len() + 1 + path.len() > 255 {
            return Err(ReferenceError::TooLong(text.to_owned()));
        }
        if path.bytes().any(|c| c.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase(text.to_owned()));
        }
        if !path.split('/').all(component_is_valid) {
            return Err(ReferenceError::Repository(text.to_owned()));
        }
        Ok(Self { registry, path })
    }
}

/// A first component is a host when it could not be a path component: it has a dot, a port, capitals, or is `localhost`.
fn is_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|c| c.is_ascii_uppercase())
}

fn host_is_valid(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, port)) if !v6.is_empty() && v6.bytes().all(|c| c.is_ascii_hexdigit() || c == b':') => {
                ("v6", port)
            }
            _ => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_valid = port.is_empty()
        || port.strip_prefix(':').is_some_and(|p| !p.is_empty() && p.bytes().all(|c| c.is_ascii_digit()));
    let label_is_valid = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    port_is_valid && name.split('.').all(label_is_valid)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn component_is_valid(component: &str) -> bool {
    let mut separator = String::new();
    let mut seen_word = false;
    for c in component.chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            let joined = separator.is_empty()
                || (seen_word && (matches!(&*separator, "." | "_" | "__") || separator.bytes().all(|c| c == b'-')));
            if !joined {
                return false;
            }
            separator.clear();
            seen_word = true;
        } else if matches!(c, '.' | '_' | '-') {
            separator.push(c);
        } else {
            return false;
        }
    }
    seen_word && separator.is_empty()
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        let valid = text.len() <= 128
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|c| word(c) || matches!(c, b'.' | b'-'));
        if valid { Ok(Self(text.to_owned())) } else { Err(ReferenceError::Tag(text.to_owned())) }
    }
}

/// Splits `repository[:tag][@digest]`; the colon of a port is not a tag's.
fn split(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    match rest.rfind(':') {
        Some(at) if !rest[at..].contains('/') => (&rest[..at], Some(&rest[at + 1..]), digest),
        _ => (rest, None, digest),
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Reads `repository:tag` or `repository@digest`; a reference with both is taken by its digest, one with neither is
    /// an error, for `latest` is never meant by a deploy.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (repository, tag, digest) = split(text);
        let repository: Repository = repository.parse()?;
        let tag = tag.map(str::parse::<Tag>).transpose()?;
        let selector = match (digest, tag) {
            (Some(digest), _) => Selector::Digest(digest.parse()?),
            (None, Some(tag)) => Selector::Tag(tag),
            (None, None) => return Err(ReferenceError::NoTag(text.to_owned())),
        };
        Ok(Self { repository, selector })
    }
}

impl FromStr for ImageName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (repository, tag, digest) = split(text);
        let repository: Repository = repository.parse()?;
        match (tag, digest) {
            (Some(tag), None) => Ok(repository.tagged(tag.parse()?)),
            _ => Err(ReferenceError::NoTag(text.to_owned())),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl fmt::Display for Selector {
    /// As the distribution API's path wants it: the bare tag or the digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Selector::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (given, wanted) in [
            ("nginx:1", "docker.io/library/nginx:1"),
            ("acme/app:1", "docker.io/acme/app:1"),
            ("index.docker.io/nginx:1", "docker.io/library/nginx:1"),
            ("ghcr.io/acme/app:sha-1", "ghcr.io/acme/app:sha-1"),
            ("localhost/app:1", "localhost/app:1"),
            ("127.0.0.1:5000/a/b__c/d--e:x", "127.0.0.1:5000/a/b__c/d--e:x"),
            ("[::1]:5000/a:x", "[::1]:5000/a:x"),
        ] {
            assert_eq!(given.parse::<ImageName>().unwrap().to_string(), wanted);
        }
    }

    #[test]
    fn what_is_not_a_reference_is_refused_with_its_reason() {
        use ReferenceError as E;
        let err = |text: &str| text.parse::<Reference>().unwrap_err();
        assert!(matches!(err("ghcr.io/Acme/app:1"), E::Uppercase(_)));
        assert!(matches!(err("ghcr.io/acme/app"), E::NoTag(_)));
        assert!(matches!(err("127.0.0.1:5000/app"), E::NoTag(_)));
        assert!(matches!(err("ghcr.io/acme/app@sha256:12"), E::Digest(_)));
        assert!(matches!(err("ghcr.io/acme//app:1"), E::Repository(_)));
        assert!(matches!(err("ghcr.io/acme/a..b:1"), E::Repository(_)));
        assert!(matches!(err("ghcr.io/acme/-a:1"), E::Repository(_)));
        assert!(matches!(err("ghcr.io/acme/app:-x"), E::Tag(_)));
        assert!(matches!(err("gh_cr.io/acme/app:x"), E::Registry(_)));
        assert!(matches!(err("[]:5000/app:x"), E::Registry(_)));
        assert!(matches!(err(""), E::Empty));
        assert!(matches!(err(&format!("ghcr.io/{}:x", "a".repeat(250))), E::TooLong(_)));
    }

    #[test]
    fn a_digest_wins_over_a_tag_and_is_no_name() {
        let digest = Digest::of(b"x");
        let reference: Reference = format!("ghcr.io/a/b:t@{digest}").parse().unwrap();
        assert_eq!(reference.selector, Selector::Digest(digest));
        assert_eq!(reference.name(), None);
        assert!(format!("ghcr.io/a/b@{digest}").parse::<ImageName>().is_err());
    }
}
