//! What a job leaves behind, as JSON: kept in the store, shown by the listeners and the CLI in the same words.
//!
//! Sizes are bytes, instants are milliseconds since the Unix epoch, digests are `sha256:…`.

pub mod pull;
pub mod removal;
pub mod transfer;

use serde::{Deserialize, Serialize};

pub use pull::{
    AttemptRecord, CauseRecord, EstimateRecord, LayerEstimateRecord, LayerRecordJson, PhasesRecord, PullRecord,
    ShareRecord,
};
pub use removal::{KeptRecord, PruneRecord, RemovalRecord};
pub use transfer::{SourceRecord, TransferRecord};

/// What a job did, step by step; written as it goes, so that a crash loses no finished step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The outcome in one sentence; empty while the job runs.
    #[serde(default)]
    pub summary: String,
    /// Pulls of kept images that the job did first, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<PullRecord>,
    /// The pull of the job's own image; none when nothing had to move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<PullRecord>,
    /// What was expected before the pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateRecord>,
    /// The digest that the job's image has here now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What went and what stayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneRecord>,
    /// What went to make room for the pull, and what stayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<PruneRecord>,
    /// What went wrong without failing the job, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Failed attempts so far that no report lists yet, oldest first: at the job's own image and at kept ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptRecord>,
    /// Why the job failed or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
    /// Bytes that the whole job moved: kept pulls, its own, overhead and waste.
    #[serde(default)]
    pub moved_bytes: u64,
    /// The repository's `download_budget`, where the job has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_bytes: Option<u64>,
}

/// Why a job did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// A stable word to branch on, such as `not_found`, `registry_unreachable`, `engine_unreachable`.
    pub class: String,
    /// For everybody: what happened, without paths, container names or raw engine text.
    pub message: String,
    /// For the operator: the raw cause and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}
