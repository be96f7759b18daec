//! Which way content came, and why.

use serde::{Deserialize, Serialize};

use layerkeeper_core::plan::TransferChoice;

/// The way of a pull.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TransferRecord {
    /// `engine` or `relay`: which way the content came in the end.
    pub way: String,
    /// Why this way, with the numbers that it was chosen by.
    pub reason: String,
    /// How long the engine's own pull was expected to take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_seconds: Option<f64>,
    /// How long the relay was expected to take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_seconds: Option<f64>,
    /// The most connections that were found to be worth it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Bytes by source, the origin first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceRecord>,
    /// Bytes that lay in the spool from an attempt that was cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resumed_bytes: u64,
    /// Sources that were passed over, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Why the relay was given up, where it was begun with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// A place that blobs came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// `host[:port]`
    pub source: String,
    /// Bytes that came from it, layers and config.
    pub bytes: u64,
}

impl From<&TransferChoice> for TransferRecord {
    fn from(choice: &TransferChoice) -> Self {
        Self {
            way: choice.way.to_string(),
            reason: choice.reason.clone(),
            engine_seconds: choice.engine_seconds,
            relay_seconds: choice.relay_seconds,
            ..Self::default()
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}
