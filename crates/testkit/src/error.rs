//! What can go wrong while real parts are set up.

use std::io;

/// Why a part could not be made, started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// A part was started and did not become ready.
    #[error("{what} did not become ready: {why}; the end of its log:\n{log}")]
    NotReady {
        /// Which part.
        what: String,
        /// What it last answered, or how it ended.
        why: String,
        /// Its last lines.
        log: String,
    },
    /// Something on this machine is missing, or a command failed.
    #[error("{what}: {why}")]
    Failed {
        /// What was tried.
        what: String,
        /// What came of it.
        why: String,
    },
    /// A server answered what it should not have.
    #[error("{request} answered {status}: {body}")]
    Answer {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// The start of the body.
        body: String,
    },
}

/// What the testkit's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what was tried when the operating system refuses.
pub(crate) trait Doing<T> {
    /// Adds the words; they are made only for an error.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}

impl Error {
    pub(crate) fn failed(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Failed { what: what.into(), why: why.to_string() }
    }
}
