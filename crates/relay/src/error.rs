//! Why a relay cannot go on. The pull then goes the engine's own way.

use layerkeeper_core::{Bytes, Digest};

/// What ended a relay, or kept it from being opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RelayError {
    /// No port on loopback.
    #[error("cannot listen on loopback: {0}")]
    Listen(String),
    /// The operating system gave no random numbers for its credentials.
    #[error("no random numbers for the relay's credentials: {0}")]
    Random(String),
    /// The spool cannot be written or read.
    #[error("the spool at {path}: {cause}")]
    Spool {
        /// The folder or file.
        path: String,
        /// The operating system's words.
        cause: String,
    },
    /// A blob alone does not fit into the spool.
    #[error("the spool holds at most {limit}, and one blob has {wanted}")]
    SpoolFull {
        /// `spool_max`.
        limit: Bytes,
        /// What would be in it.
        wanted: Bytes,
    },
    /// Every source was passed over.
    #[error("no source is left for {blob}: {}", reasons.join("; "))]
    NoSource {
        /// The blob that was wanted.
        blob: String,
        /// A sentence per source.
        reasons: Vec<String>,
    },
    /// The bytes are not what the digest says, twice.
    #[error("{blob} came with wrong bytes from every source ({got} and not what was asked for)")]
    Wrong {
        /// What was wanted.
        blob: Digest,
        /// What came.
        got: Digest,
    },
}

impl RelayError {
    /// A stable word for metrics and records.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Listen(_) | Self::Random(_) => "listen",
            Self::Spool { .. } => "spool",
            Self::SpoolFull { .. } => "spool_full",
            Self::NoSource { .. } => "source",
            Self::Wrong { .. } => "wrong_bytes",
        }
    }
}
