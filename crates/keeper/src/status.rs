//! What the daemon tells about itself, as `/v1/status`, the page and `layerkeeper status` show it.
//!
//! Sizes are bytes, instants are milliseconds since the Unix epoch.

use layerkeeper_store::record::PruneRecord;
use serde::{Deserialize, Serialize};

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// This build.
    pub version: String,
    /// When the daemon started.
    pub started_at: i64,
    /// When this was written.
    pub now: i64,
    /// The engine answers and the first look at it is done.
    pub ready: bool,
    /// The engine.
    pub engine: EngineStatus,
    /// The kept images, in the order of the file.
    pub kept: Vec<KeptStatus>,
    /// The runtime repositories.
    pub runtime: Vec<RuntimeStatus>,
    /// File systems watched.
    pub disk: Vec<DiskStatus>,
    /// Jobs waiting.
    pub queued: u64,
    /// The job that runs.
    pub running: Option<RunningStatus>,
    /// Digests that a moved tag left behind.
    pub superseded: Vec<SupersededStatus>,
    /// Their size, as far as known.
    pub superseded_bytes: u64,
    /// What the last prune, or the last plan for one, said.
    pub last_prune: Option<PruneRecord>,
    /// Why nothing may be removed now; none when it may.
    pub prune_blocked: Option<String>,
    /// What should be here and is not.
    #[serde(default)]
    pub losses: Vec<LossStatus>,
    /// What was removed on purpose or given up, and is not brought back.
    #[serde(default)]
    pub forgotten: Vec<ForgottenStatus>,
    /// What came from a mirror while its registry was away, and waits for the registry's own word.
    #[serde(default)]
    pub from_mirrors: Vec<FromMirrorStatus>,
    /// Bytes that lie in the relay's spool: pieces of a pull under way, or of one that was cut and will be taken up again.
    #[serde(default)]
    pub spool_bytes: u64,
}

/// An image that is known by its digest only by what the daemon took down of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FromMirrorStatus {
    /// Its name.
    pub image: String,
    /// The digest by which it was pulled and verified.
    pub digest: String,
    /// Where its bytes came from.
    pub source: String,
    /// Since when.
    pub at: i64,
}

/// An image that should be here and is not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LossStatus {
    /// Which.
    pub image: String,
    /// It is a kept image, not a runtime tag.
    pub kept: bool,
    /// How it went: `prune`, `untag`, `delete`, `store flip`, `new engine`, `unknown`; `never here` for a kept image that
    /// has not come yet.
    pub cause: String,
    /// The same in a sentence.
    pub said: String,
    /// When that was seen.
    pub at: i64,
    /// When bringing it back is tried next; none while a job for it waits or runs.
    pub next_try: Option<i64>,
    /// It was taken away so often that it is tried once an hour only.
    pub slowed: bool,
}

/// An image that is not brought back until a new deploy or a prewarm names it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ForgottenStatus {
    /// Which.
    pub image: String,
    /// Who said so: `uid N`, or `layerkeeper`.
    pub who: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: i64,
}

/// The engine, as last seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Did the last call get an answer?
    pub up: bool,
    /// What the last call said when it got none.
    pub error: Option<String>,
    /// Its version.
    pub version: String,
    /// `graphdriver` or `containerd`.
    pub store: String,
    /// Storage driver or snapshotter.
    pub driver: String,
    /// `linux/amd64`
    pub platform: String,
    /// Images that it holds.
    pub images: u64,
    /// When it was last looked at.
    pub seen_at: Option<i64>,
}

/// A kept image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KeptStatus {
    /// Its name.
    pub image: String,
    /// The name exists here with the right digest.
    pub present: bool,
    /// `present`, `absent`, `moved locally`, `moved at the registry`, `pinned digest gone`, `forgotten`,
    /// `not as expected`, `unknown`.
    pub finding: String,
    /// The digest it has here.
    pub digest: Option<String>,
    /// The digest it is pinned to.
    pub pin: Option<String>,
    /// The pin is held, but the registry no longer shows it under this tag.
    pub pin_unresolvable: bool,
    /// What is not as `expect` says, each in a sentence, in the last image that came for this name.
    #[serde(default)]
    pub unmet: Vec<String>,
    /// The digest of that image, which is not called kept; none where all is as expected, or nothing is.
    #[serde(default)]
    pub unmet_digest: Option<String>,
    /// What its tag shows instead; none where the tag is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_shows: Option<String>,
    /// When the registry was last asked successfully.
    pub last_refresh: Option<i64>,
    /// Why the last refresh failed.
    pub last_error: Option<String>,
    /// When it is refreshed next.
    pub next_run: Option<i64>,
    /// The schedule as written, with its zone.
    pub schedule: String,
    /// Where its tag has the quarter in it: the name as the configuration has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// Names of earlier quarters, and of later ones that were kept once, that are here and kept no more, where this one is good; with
    /// the first image of its series.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_here: Vec<String>,
}

/// A runtime repository.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// Which.
    pub repository: String,
    /// Its tags here, newest first.
    pub tags: Vec<TagStatus>,
    /// Bytes that a deploy may move before it is counted as too many.
    pub download_budget: u64,
}

/// A tag of a runtime repository.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TagStatus {
    /// The whole name.
    pub image: String,
    /// Its digest here.
    pub digest: Option<String>,
    /// Number of its last deploy that succeeded.
    pub deploy: Option<u64>,
    /// When that was.
    pub deployed_at: Option<i64>,
    /// When it was first seen here.
    pub first_seen: Option<i64>,
    /// Containers that hold it.
    pub held_by: Vec<String>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DiskStatus {
    /// A path on it.
    pub path: String,
    /// Bytes free to us.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Inodes free.
    pub free_inodes: u64,
    /// What must stay free.
    pub min_free_bytes: u64,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// The job that runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunningStatus {
    /// Its id.
    pub id: String,
    /// What it is to bring about.
    pub intent: String,
    /// Since when.
    pub started_at: Option<i64>,
}

/// A digest that a moved tag left behind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SupersededStatus {
    /// `repository@sha256:…`
    pub reference: String,
    /// The name that it had.
    pub was: String,
    /// Bytes that its removal would free, where known.
    pub size: Option<u64>,
    /// Since when.
    pub at: i64,
}

/// An image on the engine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageStatus {
    /// The engine's id.
    pub id: String,
    /// Its tags.
    pub names: Vec<String>,
    /// Its `repository@digest` rows.
    pub digests: Vec<String>,
    /// Diff ids, bottom first.
    pub layers: Vec<String>,
    /// What its layers take unpacked; shared ones count in full.
    pub size_bytes: u64,
    /// Containers that hold it.
    pub held_by: Vec<String>,
    /// `kept`, `runtime` or `other`.
    pub role: String,
}
