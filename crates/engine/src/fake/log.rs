//! What was asked of the fake, and what it is told to spoil.

use layerkeeper_core::{ImageName, Reference};

use crate::EngineError;

/// A call that changes something. Look-ups are not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A pull began.
    Pull {
        /// Of what.
        reference: Reference,
        /// The user name that came with it; never the password.
        user: Option<String>,
    },
    /// That pull came to its end.
    PullEnded {
        /// Of what.
        reference: Reference,
        /// How.
        end: PullEnd,
    },
    /// A name was made.
    Tag {
        /// For what.
        source: Reference,
        /// The name.
        name: ImageName,
    },
    /// A name was to be removed.
    Remove {
        /// Which.
        reference: Reference,
        /// Did it go?
        done: bool,
    },
}

/// How a pull ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEnd {
    /// With `Status:`.
    Succeeded,
    /// With an error.
    Failed,
    /// Nobody listened any more.
    Cancelled,
}

/// How a pull is to go wrong. Steps count the stream's lines from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Before the first line.
    Refuse(EngineError),
    /// In the place of a line.
    FailAt(usize, EngineError),
    /// The stream ends in the place of a line, without a word.
    CutAt(usize),
    /// No further line comes from this one on, until [`super::Fake::release`].
    HangAt(usize),
}
