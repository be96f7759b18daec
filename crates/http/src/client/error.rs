//! What can go wrong on the client's side.

use crate::problem::Problem;

/// Why there is no answer, or not the one wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an `http://` or `https://` URL.
    #[error("{url:?} is not a URL to talk to: {cause}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        cause: String,
    },
    /// Nobody answers.
    #[error("cannot reach the daemon at {target}: {cause}")]
    NotReachable {
        /// The socket or the address.
        target: String,
        /// Why.
        cause: String,
    },
    /// The daemon refused.
    #[error("{}: {}", .0.title, .0.detail)]
    Problem(Box<Problem>),
    /// The answer makes no sense, or broke off.
    #[error("{0}")]
    Protocol(String),
}

impl ClientError {
    /// May the same request succeed later?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Url { .. } => false,
            Self::NotReachable { .. } | Self::Protocol(_) => true,
            Self::Problem(problem) => matches!(problem.status, 408 | 429 | 500..),
        }
    }
}
