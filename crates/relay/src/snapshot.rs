//! How far a relay is, for whoever watches.

use std::collections::HashMap;

use layerkeeper_core::{Bytes, Digest};

use crate::error::RelayError;

/// A relay at this moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every blob that the engine has asked for.
    pub blobs: HashMap<Digest, BlobSnapshot>,
    /// Over the wire, in the last quarter of a second.
    pub bytes_per_second: u64,
    /// Requests under way.
    pub connections: usize,
    /// What so many connections gave.
    pub speed: Speed,
    /// Bytes by source, the origin first.
    pub sources: Vec<(String, Bytes)>,
    /// Sources that were passed over, a sentence each.
    pub remarks: Vec<String>,
    /// A blob waits for a cache that is fetching it for itself. Nothing comes meanwhile, and nothing is stuck.
    pub filling: bool,
    /// Why it cannot go on.
    pub failure: Option<RelayError>,
}

/// One blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobSnapshot {
    /// By its manifest.
    pub size: Bytes,
    /// In the spool.
    pub here: Bytes,
    /// Over the wire, again and in vain included: from which of [`Snapshot::sources`], by its place there, how much.
    pub from: Vec<(usize, Bytes)>,
    /// From an earlier pull.
    pub resumed: Bytes,
    /// Whole and verified.
    pub is_ready: bool,
}

/// What a link gave, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Speed {
    /// With one connection.
    pub one: Option<f64>,
    /// With as many as an engine uses for itself, three.
    pub three: Option<f64>,
    /// With the number of connections that gave most, and that number.
    pub many: Option<(usize, f64)>,
}

impl Speed {
    /// Reads it off measurements by number of connections, fewest first.
    pub(crate) fn of(seen: &[(usize, f64)]) -> Self {
        let at = |wanted: usize| seen.iter().find(|(connections, _)| *connections == wanted).map(|(_, rate)| *rate);
        let between = match (at(2), at(4)) {
            (Some(two), Some(four)) => Some((two + four) / 2.0),
            _ => None,
        };
        let most = seen.iter().copied().reduce(|best, other| if other.1 > best.1 * 1.05 { other } else { best });
        Self { one: at(1), three: at(3).or(between), many: most }
    }
}

impl BlobSnapshot {
    /// Over the wire, again and in vain included.
    pub fn came(&self) -> Bytes {
        self.from.iter().map(|(_, bytes)| *bytes).sum()
    }
}

impl Snapshot {
    /// Bytes over the wire, whatever became of them.
    pub fn came(&self) -> Bytes {
        self.blobs.values().map(BlobSnapshot::came).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_three_connections_give_lies_between_two_and_four() {
        let speed = Speed::of(&[(1, 4.0), (2, 8.0), (4, 16.0), (8, 16.1)]);
        assert_eq!(speed, Speed { one: Some(4.0), three: Some(12.0), many: Some((4, 16.0)) });
        assert_eq!(Speed::of(&[]), Speed::default());
    }
}
