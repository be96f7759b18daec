//! Why a name goes or stays, in words an operator acts on.

use std::fmt;
use std::time::Duration;

use crate::inventory::ContainerState;
use crate::reference::{ImageName, Reference};
use crate::time::{Timestamp, human};

/// Why a name goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovalReason {
    /// An old tag of a runtime repository.
    Old {
        /// Its image's place among the repository's, 1 being the newest.
        rank: usize,
        /// How many stay.
        keep_last: usize,
        /// Since it was last seen for the first time, deployed or held.
        age: Duration,
        /// Never deployed by us: all we know is when we first saw it.
        age_unknown: Option<Timestamp>,
    },
    /// An old tag that makes room for a pull which would not fit.
    Pressure {
        /// Its image's place among the repository's, 1 being the newest.
        rank: usize,
        /// How many stay whatever the need.
        keep_min: usize,
    },
    /// A `repository@digest` row that our own pull made on the way to this tag.
    OwnRow {
        /// The tag.
        of: ImageName,
    },
    /// A digest that a moved tag left behind.
    Superseded {
        /// The tag.
        was: ImageName,
    },
    /// One of the above, but the image stays under another name.
    OnlyUntags {
        /// Why this name goes.
        reason: Box<RemovalReason>,
        /// What still holds the image.
        holder: Reference,
    },
}

/// Why a name stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// No `prune_tags` pattern matches it.
    NotPrunable,
    /// It is a kept image.
    KeptImage(ImageName),
    /// Among the newest.
    Newest {
        /// 1 is the newest.
        rank: usize,
        /// How many stay.
        keep_last: usize,
        /// Number of its newest succeeded deploy; none for a tag that we never deployed.
        deployed: Option<u64>,
    },
    /// A container, in whatever state, holds its image.
    Held {
        /// Its name.
        container: String,
        /// Its state.
        state: ContainerState,
    },
    /// Too young.
    Young {
        /// Its age.
        age: Duration,
        /// The age from which on it may go.
        min_age: Duration,
        /// Never deployed by us: all we know is when we first saw it.
        age_unknown: Option<Timestamp>,
    },
    /// Nothing may be removed now.
    Blocked(String),
    /// Ages cannot be trusted now.
    ClockDoubt(String),
    /// A superseded digest, and the policy lets it stay.
    Superseded,
    /// A superseded digest that has a tag again.
    HasTag(ImageName),
    /// A superseded digest, or a tag's, to which a kept image is pinned.
    Pinned,
    /// A superseded digest whose successor is not here.
    NoSuccessor(ImageName),
    /// It alone has layers that the incoming image builds on.
    Needed,
    /// Among the newest that stay whatever the need.
    Least {
        /// 1 is the newest.
        rank: usize,
        /// How many stay.
        keep_min: usize,
    },
    /// Taking it away would free nothing: this name has the image too.
    FreesNothing(Reference),
    /// Enough room was made without it.
    Enough,
}

impl RemovalReason {
    pub(super) fn only_untags(self, holder: Reference) -> Self {
        Self::OnlyUntags { reason: Box::new(self), holder }
    }

    /// Why the name goes, whatever becomes of the image.
    pub fn what(&self) -> &Self {
        match self {
            Self::OnlyUntags { reason, .. } => reason.what(),
            reason => reason,
        }
    }
}

impl KeepReason {
    /// A stable word, for metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::NotPrunable => "not_prunable",
            Self::KeptImage(_) => "kept_image",
            Self::Newest { .. } => "newest",
            Self::Held { .. } => "held",
            Self::Young { .. } => "young",
            Self::Blocked(_) => "blocked",
            Self::ClockDoubt(_) => "clock",
            Self::Superseded => "superseded",
            Self::HasTag(_) => "tagged",
            Self::Pinned => "pinned",
            Self::NoSuccessor(_) => "no_successor",
            Self::Needed => "needed",
            Self::Least { .. } => "newest",
            Self::FreesNothing(_) => "frees_nothing",
            Self::Enough => "enough",
        }
    }

    /// All classes.
    pub const CLASSES: [&str; 14] = [
        "not_prunable",
        "kept_image",
        "newest",
        "held",
        "young",
        "blocked",
        "clock",
        "superseded",
        "tagged",
        "pinned",
        "no_successor",
        "needed",
        "frees_nothing",
        "enough",
    ];
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old { rank, keep_last, age, age_unknown } => {
                write!(f, "number {rank} by age where the newest {keep_last} stay, ")?;
                match age_unknown {
                    Some(seen) => write!(f, "age unknown, first seen {seen}"),
                    None => write!(f, "{} old", human(*age)),
                }
            }
            Self::Pressure { rank, keep_min } => {
                write!(f, "makes room for a pull that would not fit: number {rank}, where the newest {keep_min} stay")
            }
            Self::OwnRow { of } => write!(f, "a row that our own pull of {of} made"),
            Self::Superseded { was } => write!(f, "superseded: {was} has moved on"),
            Self::OnlyUntags { reason, holder } => write!(f, "{reason}; frees nothing, {holder} still has the image"),
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrunable => f.write_str("no prune_tags pattern matches it"),
            Self::KeptImage(name) => write!(f, "{name} is a kept image"),
            Self::Newest { rank, keep_last, deployed: Some(number) } => {
                write!(f, "number {rank} of the newest {keep_last} (deploy {number})")
            }
            Self::Newest { rank, keep_last, deployed: None } => {
                write!(f, "number {rank} of the newest {keep_last} (never deployed by us)")
            }
            Self::Held { container, state } => write!(f, "held by container {container} ({state})"),
            Self::Young { age, min_age, age_unknown: None } => {
                write!(f, "{} old, younger than {}", human(*age), human(*min_age))
            }
            Self::Young { min_age, age_unknown: Some(seen), .. } => {
                write!(f, "age unknown, first seen {seen}, less than {} ago", human(*min_age))
            }
            Self::Blocked(why) => write!(f, "nothing is removed now: {why}"),
            Self::ClockDoubt(why) => write!(f, "nothing is removed by age now: {why}"),
            Self::Superseded => f.write_str(
                "superseded, and remove_superseded lets it stay; `layerkeeper prune --superseded` removes it",
            ),
            Self::HasTag(name) => write!(f, "{name} stands for it"),
            Self::Pinned => f.write_str("a kept image is pinned to it"),
            Self::Needed => f.write_str("it alone has layers that the incoming image builds on"),
            Self::Least { rank, keep_min } => write!(f, "number {rank} of the newest {keep_min} that always stay"),
            Self::FreesNothing(name) => write!(f, "taking it away would free nothing, {name} has the image too"),
            Self::Enough => f.write_str("enough room is made without it"),
            Self::NoSuccessor(name) => write!(f, "{name} is not here with a newer digest"),
        }
    }
}
