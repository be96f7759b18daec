//! Estimates and reuse reports.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use layerkeeper_core::layers::Presence;
use layerkeeper_core::reuse::explain::{Cause, Explanation, Share};
use layerkeeper_core::reuse::{Attempt, Certainty, Estimate, LayerEstimate, LayerReport, ReuseReport, Source};
use layerkeeper_core::{Bytes, ImageManifest};

use super::TransferRecord;

/// One layer before the pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerEstimateRecord {
    /// The compressed blob.
    pub digest: String,
    /// Its uncompressed content.
    pub diff_id: String,
    /// Compressed bytes.
    pub size: u64,
    /// `here`, `repeated`, `to fetch` or `unknown`.
    pub presence: String,
    /// The instruction that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Why it moves, where something shows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<CauseRecord>,
}

/// Why a layer moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseRecord {
    /// A stable word: `other compression`, `other position`, `differs`, `on top`, `above`, `loaded or built`, `lost`,
    /// `repeats files` or `never seen`.
    pub cause: String,
    /// In words.
    pub why: String,
    /// When that happened, where it happened on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How much of an image a kept image shares with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRecord {
    /// The kept image.
    pub image: String,
    /// It is here.
    pub here: bool,
    /// Compressed bytes of the layers that both have at the same place of the chain.
    pub bytes: u64,
    /// How many layers those are.
    pub layers: usize,
}

/// What a pull was expected to move.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EstimateRecord {
    /// Sum of the layers' sizes.
    pub total_bytes: u64,
    /// Surely here.
    pub here_bytes: u64,
    /// Surely to fetch.
    pub fetch_bytes_least: u64,
    /// To fetch if every unknown layer is.
    pub fetch_bytes_most: u64,
    /// What the pull takes on the engine's disk at its peak: what moves, and what it becomes unpacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// The image here that it has most in common with, or that it follows upon: what moves is explained by the difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<String>,
    /// What each kept image shares with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<ShareRecord>,
    /// Bottom layer first.
    pub layers: Vec<LayerEstimateRecord>,
}

/// One layer after the pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecordJson {
    /// The compressed blob.
    pub digest: String,
    /// Its uncompressed content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<String>,
    /// Compressed bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// `reused` or `downloaded`.
    pub source: String,
    /// Bytes of it that moved in the attempt that succeeded.
    pub downloaded_bytes: u64,
    /// The instruction that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// One try at a pull.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// What was pulled; empty within a report, which names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Layer bytes that moved.
    pub moved_bytes: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Why it failed; none for the one that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// It was cut by a stop or the end of the daemon, so that the next one may have gone on where it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// What it was expected to move, while its end is not known: if the daemon ends and all has come, that has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<EstimateRecord>,
    /// Which way it was to come, and what became of that, where it failed: the report of a pull that succeeds has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Box<TransferRecord>>,
}

/// Where the time of a pull went; the last attempt's, as far as the engine's stream tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PhasesRecord {
    /// Asking the registry what the name is, before the pull.
    pub resolve_ms: u64,
    /// From the call to the first layer byte; all of it where no byte came.
    pub first_byte_ms: u64,
    /// From the first layer byte to the last.
    pub download_ms: u64,
    /// From the last layer byte to the end: extraction that the download had to be waited for.
    pub extract_ms: u64,
}

/// A pull that succeeded: which bytes were here and which moved.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PullRecord {
    /// The image's name.
    pub image: String,
    /// What it resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Layer bytes that were here.
    pub reused_bytes: u64,
    /// Layer bytes that moved.
    pub downloaded_bytes: u64,
    /// Manifests and config.
    pub overhead_bytes: u64,
    /// What failed or cancelled attempts moved.
    pub wasted_bytes: u64,
    /// Reused over reused and downloaded, 0 to 1; none where the manifest could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse_ratio: Option<f64>,
    /// `exact` or `inferred`.
    pub certainty: String,
    /// Why it is inferred, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Bottom layer first.
    pub layers: Vec<LayerRecordJson>,
    /// What was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateRecord>,
    /// By how much what moved lies above (or, negative, below) what was expected; none where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_error_bytes: Option<i64>,
    /// Every attempt, the one that succeeded last.
    pub attempts: Vec<AttemptRecord>,
    /// What the attempts took; waits between them do not count.
    pub duration_ms: u64,
    /// Where the time of the last attempt went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phases: Option<PhasesRecord>,
    /// Which way the content came, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferRecord>,
}

impl PhasesRecord {
    /// Of a pull that took `whole`, whose first and last layer byte came then.
    pub fn of(resolve: Duration, whole: Duration, bytes_came: Option<(Duration, Duration)>) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (first, last) = bytes_came.unwrap_or((whole, whole));
        Self {
            resolve_ms: millis(resolve),
            first_byte_ms: millis(first),
            download_ms: millis(last.saturating_sub(first)),
            extract_ms: millis(whole.saturating_sub(last)),
        }
    }
}

impl EstimateRecord {
    /// Adds what explains it.
    pub fn explained(mut self, explanation: &Explanation, peak: Option<Bytes>) -> Self {
        for (layer, causes) in self.layers.iter_mut().zip(&explanation.causes) {
            layer.causes = causes.iter().map(CauseRecord::from).collect();
        }
        self.compared_with.clone_from(&explanation.compared_with);
        self.shares = explanation.shares.iter().map(ShareRecord::from).collect();
        self.peak_bytes = peak.map(|peak| peak.0);
        self
    }

    /// What was expected of this image, as it was judged then; none where the record is of another image.
    pub fn of(&self, image: &ImageManifest) -> Option<Estimate> {
        if self.layers.len() != image.layers.len() {
            return None;
        }
        let layers = self.layers.iter().zip(&image.layers).map(|(then, layer)| {
            let presence = Presence::ALL.into_iter().find(|presence| presence.as_str() == then.presence)?;
            (then.digest == layer.blob.digest.to_string()).then(|| LayerEstimate {
                blob: layer.blob.digest,
                diff_id: layer.diff_id,
                size: layer.blob.size,
                compression: layer.compression,
                presence,
                created_by: layer.created_by.clone(),
            })
        });
        Some(Estimate {
            layers: layers.collect::<Option<_>>()?,
            total: Bytes(self.total_bytes),
            here: Bytes(self.here_bytes),
            fetch_least: Bytes(self.fetch_bytes_least),
            fetch_most: Bytes(self.fetch_bytes_most),
        })
    }
}

impl From<&Estimate> for EstimateRecord {
    fn from(estimate: &Estimate) -> Self {
        Self {
            total_bytes: estimate.total.0,
            here_bytes: estimate.here.0,
            fetch_bytes_least: estimate.fetch_least.0,
            fetch_bytes_most: estimate.fetch_most.0,
            layers: estimate.layers.iter().map(LayerEstimateRecord::from).collect(),
            ..Self::default()
        }
    }
}

impl From<&Cause> for CauseRecord {
    fn from(cause: &Cause) -> Self {
        Self {
            cause: cause.as_str().to_owned(),
            why: cause.to_string(),
            at: cause.at().map(|at| at.0),
            advice: cause.advice(),
        }
    }
}

impl From<&Share> for ShareRecord {
    fn from(share: &Share) -> Self {
        Self { image: share.image.to_string(), here: share.here, bytes: share.bytes.0, layers: share.layers }
    }
}

impl From<&LayerEstimate> for LayerEstimateRecord {
    fn from(layer: &LayerEstimate) -> Self {
        Self {
            digest: layer.blob.to_string(),
            diff_id: layer.diff_id.to_string(),
            size: layer.size.0,
            presence: Presence::as_str(layer.presence).to_owned(),
            created_by: layer.created_by.clone(),
            causes: Vec::new(),
        }
    }
}

impl From<&LayerReport> for LayerRecordJson {
    fn from(layer: &LayerReport) -> Self {
        Self {
            digest: layer.blob.to_string(),
            diff_id: layer.diff_id.map(|d| d.to_string()),
            size: layer.size.map(|s| s.0),
            source: Source::as_str(layer.source).to_owned(),
            downloaded_bytes: layer.downloaded.0,
            created_by: layer.created_by.clone(),
        }
    }
}

impl From<&Attempt> for AttemptRecord {
    fn from(attempt: &Attempt) -> Self {
        Self {
            image: String::new(),
            moved_bytes: attempt.moved.0,
            duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            failure: attempt.failure.clone(),
            cut: attempt.cut,
            expected: None,
            transfer: None,
        }
    }
}

impl From<&ReuseReport> for PullRecord {
    fn from(report: &ReuseReport) -> Self {
        let (certainty, doubts) = match &report.certainty {
            Certainty::Exact => ("exact", Vec::new()),
            Certainty::Inferred(doubts) => ("inferred", doubts.clone()),
        };
        Self {
            image: report.reference.to_string(),
            digest: report.digest.map(|d| d.to_string()),
            reused_bytes: report.reused.0,
            downloaded_bytes: report.downloaded.0,
            overhead_bytes: report.overhead.0,
            wasted_bytes: report.wasted.0,
            reuse_ratio: report.ratio(),
            certainty: certainty.to_owned(),
            doubts,
            layers: report.layers.iter().map(LayerRecordJson::from).collect(),
            estimate: report.estimate.as_ref().map(EstimateRecord::from),
            estimate_error_bytes: report.estimate_error(),
            attempts: report.attempts.iter().map(AttemptRecord::from).collect(),
            duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
            phases: None,
            transfer: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulls_time_is_split_where_its_first_and_its_last_layer_byte_came() {
        let ms = Duration::from_millis;
        let split = |whole: u64, came: Option<(u64, u64)>| {
            let phases = PhasesRecord::of(ms(310), ms(whole), came.map(|(first, last)| (ms(first), ms(last))));
            assert_eq!(phases.resolve_ms, 310, "before the pull, and no part of it");
            [phases.first_byte_ms, phases.download_ms, phases.extract_ms]
        };
        for (whole, came, wanted) in [
            (52_400, Some((800, 42_000)), [800, 41_200, 10_400]),
            // one report of bytes is all there was
            (900, Some((400, 400)), [400, 0, 500]),
            (900, Some((0, 900)), [0, 900, 0]),
            // all was here
            (900, None, [900, 0, 0]),
            (0, None, [0, 0, 0]),
            // nothing is negative, whatever clocks do
            (900, Some((950, 940)), [950, 0, 0]),
        ] {
            assert_eq!(split(whole, came), wanted, "{whole} {came:?}");
        }
    }
}
