//! What can go wrong between us and a registry, told apart as far as the worker decides differently.

mod detail;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use layerkeeper_core::{Digest, Platform, Reference};

pub use detail::Detail;
pub(crate) use detail::{printable, quotable};

use crate::credential::Login;

/// Why a registry did not give what was asked of it. No variant holds a secret or an address with a query.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The registry says that it has no such manifest or blob (404).
    #[error("{reference} is not in its registry{detail}")]
    NotFound {
        /// What was asked for.
        reference: Box<Reference>,
        /// The registry's words.
        detail: Detail,
    },
    /// The reference is there, and something that it is made of is not (404).
    #[error("{what} is not in its registry, which is damaged or was cleaned too far{detail}")]
    Missing {
        /// What was asked for.
        what: String,
        /// The registry's words.
        detail: Detail,
    },
    /// The registry or its token server does not know these credentials, or wants some (401).
    #[error(
        "{registry} refused access to {repository} {login}{detail}; the repository may not exist there, or need other credentials"
    )]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The path in it.
        repository: String,
        /// What was shown.
        login: Login,
        /// The registry's words.
        detail: Detail,
    },
    /// The registry knows the credentials and refuses all the same (403).
    #[error("{registry} forbids access to {repository} {login}{detail}")]
    Forbidden {
        /// The registry.
        registry: String,
        /// The path in it.
        repository: String,
        /// What was shown.
        login: Login,
        /// The registry's words.
        detail: Detail,
    },
    /// Too fast or too much (429).
    #[error("{registry} answers 429 Too Many Requests{detail}")]
    TooManyRequests {
        /// The registry.
        registry: String,
        /// What it asked us to wait, within 1 s and 15 min; none where it did not say so in words that mean something.
        retry_after: Option<Duration>,
        /// The registry's words.
        detail: Detail,
    },
    /// Any other status that is no success.
    #[error("{registry} answers with status {status}{detail}")]
    Server {
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What it asked us to wait, as above.
        retry_after: Option<Duration>,
        /// The registry's words.
        detail: Detail,
    },
    /// No answer: name, connection, TLS or time.
    #[error("{registry} cannot be reached: {cause}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The lower layers' words.
        cause: String,
    },
    /// The answer broke off, or is not as long as announced.
    #[error("{what} broke off after {got} bytes{}", expected.map(|n| format!(" of {n}")).unwrap_or_default())]
    Truncated {
        /// What was being read.
        what: String,
        /// How much came.
        got: u64,
        /// How much should have come, where that is known.
        expected: Option<u64>,
    },
    /// Longer than we are willing to read.
    #[error("{what} is longer than {limit} bytes, the most that is read")]
    TooLarge {
        /// What was being read.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The bytes are not what their digest says.
    #[error(
        "{what} should have digest {wanted} and has {got}: the registry, or something before it, serves wrong bytes"
    )]
    DigestMismatch {
        /// What was read.
        what: String,
        /// The digest that it should have.
        wanted: Digest,
        /// The digest of the bytes that came.
        got: Digest,
    },
    /// There is something under this reference, but it cannot be pulled as an image.
    #[error("{reference}: {kind}")]
    NotAnImage {
        /// What was asked for.
        reference: Box<Reference>,
        /// What it is instead.
        kind: NotAnImage,
    },
    /// The image does not exist for the engine's platform.
    #[error("{reference} has no image for {wanted}; it has {}", list(available))]
    NoPlatform {
        /// What was asked for.
        reference: Box<Reference>,
        /// The engine's platform.
        wanted: Box<Platform>,
        /// What there is, sorted, attestations left out.
        available: Vec<Platform>,
    },
    /// The answer breaks its specification.
    #[error("{what}")]
    Malformed {
        /// What is wrong, as a sentence that names where.
        what: String,
    },
    /// Docker's `config.json`, or the credential helper that it names, cannot be used. Never shows what is in the file or
    /// what the helper gave.
    #[error("credentials for {registry} from {}: {problem}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The registry that they were wanted for.
        registry: String,
        /// What is wrong, as a sentence.
        problem: String,
        /// A credential helper failed in a way that may pass.
        may_pass: bool,
    },
}

/// What stands where an image was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAnImage {
    /// What BuildKit's `--cache-to type=registry` writes.
    BuildCache,
    /// Any other artifact, by the media type that gave it away.
    Artifact(String),
    /// Docker's image manifest version 1.
    Schema1,
    /// Layers that the registry does not hold (foreign, nondistributable).
    ForeignLayers,
}

impl Error {
    /// May the same question succeed later without anybody's doing?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TooManyRequests { .. } | Self::Unreachable { .. } | Self::Truncated { .. } => true,
            Self::Credentials { may_pass, .. } => *may_pass,
            Self::Server { status, .. } => *status >= 500 || matches!(status, 408 | 425),
            _ => false,
        }
    }

    /// Could we not even talk to the registry? The engine, with its own proxy and mirrors, maybe can.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// It answers, and is broken (5xx): what a digest names may be had elsewhere meanwhile.
    pub fn is_server_error(&self) -> bool {
        matches!(self, Self::Server { status, .. } if *status >= 500)
    }

    /// What the registry asked us to wait, within 1 s and 15 min.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The same failure, for somebody who would ask again before this time is over.
    #[must_use]
    pub fn asked_to_wait(mut self, wait: Duration) -> Self {
        if let Self::TooManyRequests { retry_after, .. } | Self::Server { retry_after, .. } = &mut self {
            *retry_after = Some(wait);
        }
        self
    }

    pub(crate) fn malformed(what: impl fmt::Display) -> Self {
        Self::Malformed { what: printable(&what.to_string(), 300) }
    }

    pub(crate) fn not_an_image(reference: &Reference, kind: NotAnImage) -> Self {
        Self::NotAnImage { reference: Box::new(reference.clone()), kind }
    }
}

fn list(platforms: &[Platform]) -> String {
    const SHOWN: usize = 12;
    if platforms.is_empty() {
        return "none at all".to_owned();
    }
    let mut text = platforms.iter().take(SHOWN).map(Platform::to_string).collect::<Vec<_>>().join(", ");
    if platforms.len() > SHOWN {
        text += &format!(" and {} more", platforms.len() - SHOWN);
    }
    text
}

impl fmt::Display for NotAnImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuildCache => f.write_str(
                "this is a build cache, not an image (BuildKit wrote it with --cache-to); push the image under a tag of its own",
            ),
            Self::Artifact(media_type) => write!(f, "this is an artifact of type {media_type:?}, not an image"),
            Self::Schema1 => f.write_str(
                "this is an image manifest of version 1, which Docker has given up; push the image anew with a current Docker",
            ),
            Self::ForeignLayers => {
                f.write_str("this image has foreign (nondistributable) layers, which the registry does not hold")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_another_try_is_told_apart() {
        let server = |status| Error::Server {
            registry: "r".into(),
            status,
            retry_after: Some(Duration::from_secs(3)),
            detail: Detail::default(),
        };
        assert!(server(503).is_transient() && !server(400).is_transient());
        assert_eq!(server(503).retry_after(), Some(Duration::from_secs(3)));
        let unreachable = Error::Unreachable { registry: "r".into(), cause: "c".into() };
        assert!(unreachable.is_unreachable() && unreachable.is_transient());
        assert!(!Error::malformed("x").is_transient());
    }

    #[test]
    fn a_long_list_of_platforms_is_cut() {
        let one = |i| Platform { os: "linux".into(), architecture: format!("a{i}"), variant: None };
        assert_eq!(list(&[]), "none at all");
        assert_eq!(list(&[one(1), one(2)]), "linux/a1, linux/a2");
        assert!(list(&(0..20).map(one).collect::<Vec<_>>()).ends_with("linux/a11 and 8 more"));
    }
}
