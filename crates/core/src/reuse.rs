//! Which bytes of an image were here and which moved: before the pull as an estimate, after it as a fact.

pub mod account;
pub mod against;
pub mod content;
pub mod estimate;
pub mod explain;
#[cfg(test)]
mod properties;

use std::fmt;
use std::time::Duration;

use crate::bytes::Bytes;
use crate::digest::{DiffId, Digest};
use crate::layers::Presence;
use crate::manifest::Compression;
use crate::reference::Reference;

pub use account::{Attempt, account};
pub use against::against;
pub use estimate::estimate;
pub use explain::{Explanation, explain};

/// One layer before the pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEstimate {
    /// The blob.
    pub blob: Digest,
    /// Its content.
    pub diff_id: DiffId,
    /// Compressed size.
    pub size: Bytes,
    /// How it is compressed.
    pub compression: Compression,
    /// Here, or to be fetched?
    pub presence: Presence,
    /// The instruction that made it.
    pub created_by: Option<String>,
}

/// A whole image before the pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// Bottom layer first.
    pub layers: Vec<LayerEstimate>,
    /// Sum of all layers' sizes.
    pub total: Bytes,
    /// What would surely not move.
    pub here: Bytes,
    /// What would surely move.
    pub fetch_least: Bytes,
    /// What would move if every unknown layer did.
    pub fetch_most: Bytes,
}

/// Where a layer's bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// They were here.
    Reused,
    /// They moved.
    Downloaded,
}

/// One layer after the pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// The blob.
    pub blob: Digest,
    /// Its content; unknown where the daemon could not read the config.
    pub diff_id: Option<DiffId>,
    /// Compressed size, the manifest's unless the engine's stream counted another one to its end; unknown for a reused
    /// layer where the daemon could not read the manifest.
    pub size: Option<Bytes>,
    /// Here, or moved?
    pub source: Source,
    /// How many of its bytes moved in the attempt that succeeded: less than `size` where the engine resumed.
    pub downloaded: Bytes,
    /// The instruction that made it.
    pub created_by: Option<String>,
}

/// How sure a report is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certainty {
    /// Stream and prediction agree.
    Exact,
    /// They do not, or one of them is missing; each reason is a sentence.
    Inferred(Vec<String>),
}

/// A whole image after the pull.
#[derive(Debug, Clone, PartialEq)]
pub struct ReuseReport {
    /// What was pulled.
    pub reference: Reference,
    /// What it resolved to.
    pub digest: Option<Digest>,
    /// Bottom layer first.
    pub layers: Vec<LayerReport>,
    /// Layer bytes that were here.
    pub reused: Bytes,
    /// Layer bytes that moved in the attempt that succeeded.
    pub downloaded: Bytes,
    /// Manifests and config.
    pub overhead: Bytes,
    /// What failed or cancelled attempts moved, ours and the engine's own.
    pub wasted: Bytes,
    /// How sure all this is.
    pub certainty: Certainty,
    /// What was expected; none where the daemon could not read the manifest.
    pub estimate: Option<Estimate>,
    /// Every attempt, the one that succeeded last.
    pub attempts: Vec<Attempt>,
    /// What the attempts took; waits between them do not count.
    pub duration: Duration,
}

impl ReuseReport {
    /// Reused over all, 0 to 1; 1 for an image without layers. None where the manifest could not be read: then nobody
    /// knows how large the layers are that were here.
    pub fn ratio(&self) -> Option<f64> {
        self.estimate.as_ref().map(|_| self.reused.ratio_of(self.reused + self.downloaded))
    }

    /// Everything that moved for this image.
    pub fn moved(&self) -> Bytes {
        self.downloaded + self.overhead + self.wasted
    }

    /// By how much the layer bytes that moved lie above what was expected, or below (negative): 0 within the range. None where
    /// nothing was expected.
    pub fn estimate_error(&self) -> Option<i64> {
        let estimate = self.estimate.as_ref()?;
        let beyond = |bytes: Bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX);
        let (over, under) = (self.downloaded - estimate.fetch_most, estimate.fetch_least - self.downloaded);
        Some(beyond(over) - beyond(under))
    }

    /// How many layers came from there.
    pub fn layers_from(&self, source: Source) -> usize {
        self.layers.iter().filter(|layer| layer.source == source).count()
    }
}

impl Source {
    /// As metrics and tables name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::Downloaded => "downloaded",
        }
    }
}

impl Presence {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Here, Self::Repeated, Self::ToFetch, Self::Unknown];

    /// As tables name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Repeated => "repeated",
            Self::ToFetch => "to fetch",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_wrong_by_what_moved_beyond_its_range() {
        let report = |range: Option<(u64, u64)>, moved: u64| ReuseReport {
            reference: "ghcr.io/acme/app:1".parse().unwrap(),
            digest: None,
            layers: Vec::new(),
            reused: Bytes::ZERO,
            downloaded: Bytes(moved),
            // neither of these was estimated
            overhead: Bytes(5_000),
            wasted: Bytes(70_000),
            certainty: Certainty::Exact,
            estimate: range.map(|(least, most)| Estimate {
                layers: Vec::new(),
                total: Bytes(10_000),
                here: Bytes::ZERO,
                fetch_least: Bytes(least),
                fetch_most: Bytes(most),
            }),
            attempts: Vec::new(),
            duration: Duration::ZERO,
        };
        for (range, moved, error) in [
            (Some((100, 100)), 100, Some(0)),
            (Some((100, 100)), 101, Some(1)),
            (Some((100, 100)), 0, Some(-100)),
            (Some((100, 400)), 100, Some(0)),
            (Some((100, 400)), 250, Some(0)),
            (Some((100, 400)), 400, Some(0)),
            (Some((100, 400)), 401, Some(1)),
            (Some((100, 400)), 99, Some(-1)),
            (Some((0, 0)), 9_000, Some(9_000)),
            (None, 9_000, None),
        ] {
            assert_eq!(report(range, moved).estimate_error(), error, "{moved} where {range:?} was expected");
        }
    }
}
