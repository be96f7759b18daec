//! Durable units of work.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::reference::{ImageName, Repository};
use crate::time::Timestamp;

/// 128 random bits in 32 hexadecimal digits. Whoever has it may read that one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

/// A text that is no job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a job id: 32 hexadecimal digits")]
pub struct JobIdError;

/// What a job is to bring about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Intent {
    /// Bring a kept image here, or refresh it.
    Warm {
        /// The kept image.
        image: ImageName,
        /// The digest that the sender said it has: what comes is compared with it.
        digest: Option<Digest>,
    },
    /// Bring a runtime tag here.
    Deploy {
        /// The tag.
        image: ImageName,
        /// The digest it must have, where the sender named one.
        digest: Option<Digest>,
        /// It may move more than its repository's `download_limit`.
        over_limit: bool,
    },
    /// Bring back what somebody removed.
    Heal {
        /// The kept image, or a tag that the last plan kept.
        image: ImageName,
    },
    /// Remove old tags.
    Prune {
        /// Also the superseded digests, on the operator's word.
        superseded: bool,
    },
}

/// The kind of an intent, as metrics and tables name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobKind {
    /// See [`Intent::Deploy`]. Comes first.
    Deploy,
    /// See [`Intent::Heal`].
    Heal,
    /// See [`Intent::Warm`].
    Warm,
    /// See [`Intent::Prune`]. Comes last.
    Prune,
}

/// Who or what asked for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// A signed webhook with this `webhook-id`.
    Webhook(String),
    /// The cron schedule.
    Schedule,
    /// What the engine told us, or what a listing found missing.
    Event,
    /// The daemon's start.
    Start,
    /// A person at the control socket.
    Operator {
        /// The peer's user id.
        uid: u32,
    },
}

/// Where a job stands. The last four are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Accepted and durable; maybe waiting (`not_before`).
    Queued,
    /// The worker has it.
    Running,
    /// Done.
    Succeeded,
    /// Not done.
    Failed,
    /// The policy forbade it.
    Refused,
    /// A newer deploy of the repository took its place.
    Superseded,
}

/// A durable unit of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its public, unguessable id.
    pub id: JobId,
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// What it is to bring about.
    pub intent: Intent,
    /// Who asked.
    pub trigger: Trigger,
    /// Where it stands.
    pub state: JobState,
    /// Not to be taken before this instant.
    pub not_before: Option<Timestamp>,
    /// How often the worker took it up.
    pub attempts: u32,
    /// When it was accepted.
    pub created: Timestamp,
}

impl JobId {
    /// The id with these bits.
    pub fn from_bits(bits: [u8; 16]) -> Self {
        Self(bits.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Intent {
    /// The kind of this intent.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Warm { .. } => JobKind::Warm,
            Self::Deploy { .. } => JobKind::Deploy,
            Self::Heal { .. } => JobKind::Heal,
            Self::Prune { .. } => JobKind::Prune,
        }
    }

    /// The image it is about.
    pub fn image(&self) -> Option<&ImageName> {
        match self {
            Self::Warm { image, .. } | Self::Heal { image } | Self::Deploy { image, .. } => Some(image),
            Self::Prune { .. } => None,
        }
    }

    /// The repository it is about.
    pub fn repository(&self) -> Option<&Repository> {
        self.image().map(|image| &image.repository)
    }
}

impl JobKind {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Deploy, Self::Heal, Self::Warm, Self::Prune];

    /// The queue's order: the smaller goes first.
    pub fn priority(self) -> u8 {
        self as u8
    }

    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Heal => "heal",
            Self::Warm => "warm",
            Self::Prune => "prune",
        }
    }
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Refused, Self::Superseded];

    /// Will it never change again?
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
        }
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        let valid = text.len() == 32 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(text.to_owned())) } else { Err(JobIdError) }
    }
}

impl FromStr for JobState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

impl FromStr for JobKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Warm { image, digest: None } => write!(f, "warm {image}"),
            Self::Warm { image, digest: Some(digest) } => write!(f, "warm {image} as {digest}"),
            Self::Deploy { image, digest: None, .. } => write!(f, "deploy {image}"),
            Self::Deploy { image, digest: Some(digest), .. } => write!(f, "deploy {image} as {digest}"),
            Self::Heal { image } => write!(f, "heal {image}"),
            Self::Prune { superseded: false } => f.write_str("prune old tags"),
            Self::Prune { superseded: true } => f.write_str("prune old tags and superseded digests"),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(id) => write!(f, "webhook {id}"),
            Self::Schedule => f.write_str("schedule"),
            Self::Event => f.write_str("engine event"),
            Self::Start => f.write_str("start"),
            Self::Operator { uid } => write!(f, "operator (uid {uid})"),
        }
    }
}
