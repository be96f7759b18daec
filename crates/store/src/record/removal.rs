//! Prune plans and what became of them.

use serde::{Deserialize, Serialize};

/// One name that goes, or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalRecord {
    /// `repository:tag` or `repository@digest`.
    pub name: String,
    /// The engine's image id.
    pub image_id: String,
    /// Why it goes.
    pub reason: String,
    /// Bytes that this is expected to free: layers held by nobody else.
    pub freed_bytes: u64,
    /// `planned`, `removed`, `untagged`, `held` (409), `gone` (404), `skipped` or `failed`.
    pub outcome: String,
    /// What the engine or the last look said, where the outcome needs words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// One name that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRecord {
    /// `repository:tag` or `repository@digest`.
    pub name: String,
    /// The engine's image id.
    pub image_id: String,
    /// A stable word for metrics, such as `newest`, `held`, `young`.
    pub class: String,
    /// Why it stays.
    pub reason: String,
}

/// A prune: everything considered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PruneRecord {
    /// Why nothing may be removed now; none when it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// What goes, in order.
    pub removals: Vec<RemovalRecord>,
    /// What stays.
    pub kept: Vec<KeptRecord>,
    /// Bytes really freed so far.
    pub freed_bytes: u64,
}
