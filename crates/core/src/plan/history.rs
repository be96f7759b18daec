//! What only our own record knows about names: when they came, which number their deploy had, what we made.

use std::time::Duration;

use crate::digest::{Digest, ImageId};
use crate::reference::{ImageName, Reference, Repository};
use crate::time::Timestamp;

/// A name's record on this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameHistory {
    /// Its place in the one order of first sightings and succeeded deploys; higher is newer.
    pub place: u64,
    /// Number and time of its newest succeeded deploy.
    pub deployed: Option<(u64, Timestamp)>,
    /// When it was first seen here; anew when it had been gone.
    pub first_seen: Timestamp,
    /// When a container was last seen holding it.
    pub last_held: Option<Timestamp>,
}

impl NameHistory {
    /// now − max(first seen, last deployed, last held)
    pub fn age(&self, now: Timestamp) -> Duration {
        let deployed = self.deployed.map(|(_, at)| at);
        let newest = [Some(self.first_seen), deployed, self.last_held].into_iter().flatten().max();
        now - newest.unwrap_or(now)
    }
}

/// A `repository@digest` row that a pull of ours made on the way to a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeName {
    /// Always by digest.
    pub reference: Reference,
    /// Since when.
    pub at: Timestamp,
}

/// A digest that a tag left behind when our own pull moved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupersededDigest {
    /// Where.
    pub repository: Repository,
    /// The old digest.
    pub digest: Digest,
    /// The name that has moved on.
    pub was: ImageName,
    /// To this digest.
    pub successor: Digest,
    /// The engine's id of the old image.
    pub image: ImageId,
    /// Since when.
    pub at: Timestamp,
}
