//! Why a command ends otherwise than done.

use std::io;

use super::exit::Exit;
use crate::config::ConfigError;

/// A command that did not do what it was asked. What is printed is the whole message.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The configuration, or something that it names, is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Arguments that do not fit, beyond what clap sees.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers.
    #[error("the daemon does not answer at {at}: {cause}")]
    Unreachable {
        /// The socket or URL.
        at: String,
        /// What the connection said.
        cause: String,
    },
    /// What may be otherwise in a moment: a full queue, a broken connection.
    #[error("{cause}")]
    Passing {
        /// What happened.
        cause: String,
        /// Not before so many seconds.
        retry_after: Option<u64>,
    },
    /// The policy forbids it.
    #[error("refused: {0}")]
    Refused(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
    /// Nothing can be printed.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Trouble {
    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Usage(_) => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Refused(_) => Exit::Refused,
            Self::Passing { .. } | Self::Failed(_) | Self::Output(_) => Exit::Failed,
        }
    }

    /// May the same be answered otherwise in a moment?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Passing { .. })
    }
}
