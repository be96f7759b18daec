//! A job as its sender sees it: sizes, digests and the outcome. No instructions, paths, container names, raw engine
//! errors or free text that could carry them; every field is picked by hand.

use layerkeeper_store::JobRow;
use layerkeeper_store::record::{EstimateRecord, LayerRecordJson, Outcome, PhasesRecord, PruneRecord, PullRecord};
use serde::{Deserialize, Serialize};

/// `GET /v1/deploys/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicJob {
    /// Its id.
    pub id: String,
    /// `repository:tag`
    pub image: Option<String>,
    /// `queued`, `running`, `succeeded`, `failed`, `refused` or `superseded`.
    pub state: String,
    /// What moved; null until something did or the job has ended.
    pub report: Option<PublicReport>,
    /// Why it failed or was refused.
    pub error: Option<PublicError>,
    /// The job that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
}

/// What a job moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicReport {
    /// The digest that the image has here now.
    pub digest: Option<String>,
    /// The job's own pull; null when nothing had to move.
    pub pull: Option<PublicPull>,
    /// Pulls of kept images that the job did first.
    pub kept: Vec<PublicPull>,
    /// Bytes that the whole job moved: both of the above, overhead and waste.
    pub moved_bytes: u64,
    /// The repository's budget.
    pub budget_bytes: Option<u64>,
    /// Did it move more than that?
    pub over_budget: bool,
    /// What the prune afterwards did.
    pub prune: Option<PublicPrune>,
    /// How many warnings there were; their words are on the host.
    pub warnings: usize,
}

/// One image's pull.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicPull {
    /// The image.
    pub image: String,
    /// What it resolved to.
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
    /// What was expected to move, at least and at most.
    pub estimated_fetch_bytes: Option<(u64, u64)>,
    /// By how much what moved lies above (or, negative, below) that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_error_bytes: Option<i64>,
    /// How often it was tried.
    pub attempts: usize,
    /// Of the pull, each attempt from its start to its end.
    pub duration_ms: u64,
    /// Where the time of the last attempt went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phases: Option<PhasesRecord>,
    /// Bottom layer first.
    pub layers: Vec<PublicLayer>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicLayer {
    /// The compressed blob.
    pub digest: String,
    /// Compressed bytes, where known.
    pub size: Option<u64>,
    /// `reused` or `downloaded`.
    pub source: String,
    /// Bytes of it that moved.
    pub downloaded_bytes: u64,
}

/// What went and what stayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicPrune {
    /// Names that went.
    pub removed: usize,
    /// Names that stayed.
    pub kept: usize,
    /// Bytes really freed.
    pub freed_bytes: u64,
}

/// Why a job did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicError {
    /// A stable word to branch on.
    pub class: String,
    /// For everybody.
    pub message: String,
}

impl From<JobRow> for PublicJob {
    fn from(row: JobRow) -> Self {
        let has_report = row.job.state.is_final() || row.outcome.moved_bytes > 0;
        Self {
            id: row.job.id.to_string(),
            image: row.job.intent.image().map(ToString::to_string),
            state: row.job.state.to_string(),
            report: has_report.then(|| PublicReport::from(&row.outcome)),
            error: row.outcome.error.map(|error| PublicError { class: error.class, message: error.message }),
            superseded_by: row.superseded_by.map(|id| id.to_string()),
        }
    }
}

impl From<&Outcome> for PublicReport {
    fn from(outcome: &Outcome) -> Self {
        Self {
            digest: outcome.digest.clone(),
            pull: outcome.pull.as_ref().map(PublicPull::from),
            kept: outcome.kept.iter().map(PublicPull::from).collect(),
            moved_bytes: outcome.moved_bytes,
            budget_bytes: outcome.budget_bytes,
            over_budget: outcome.budget_bytes.is_some_and(|budget| outcome.moved_bytes > budget),
            prune: outcome.prune.as_ref().map(PublicPrune::from),
            warnings: outcome.warnings.len(),
        }
    }
}

impl From<&PullRecord> for PublicPull {
    fn from(pull: &PullRecord) -> Self {
        let range = |estimate: &EstimateRecord| (estimate.fetch_bytes_least, estimate.fetch_bytes_most);
        Self {
            image: pull.image.clone(),
            digest: pull.digest.clone(),
            reused_bytes: pull.reused_bytes,
            downloaded_bytes: pull.downloaded_bytes,
            overhead_bytes: pull.overhead_bytes,
            wasted_bytes: pull.wasted_bytes,
            reuse_ratio: pull.reuse_ratio,
            certainty: pull.certainty.clone(),
            estimated_fetch_bytes: pull.estimate.as_ref().map(range),
            estimate_error_bytes: pull.estimate_error_bytes,
            attempts: pull.attempts.len(),
            duration_ms: pull.duration_ms,
            phases: pull.phases,
            layers: pull.layers.iter().map(PublicLayer::from).collect(),
        }
    }
}

impl From<&LayerRecordJson> for PublicLayer {
    fn from(layer: &LayerRecordJson) -> Self {
        Self {
            digest: layer.digest.clone(),
            size: layer.size,
            source: layer.source.clone(),
            downloaded_bytes: layer.downloaded_bytes,
        }
    }
}

impl From<&PruneRecord> for PublicPrune {
    fn from(prune: &PruneRecord) -> Self {
        let went = |outcome: &str| matches!(outcome, "removed" | "untagged");
        Self {
            removed: prune.removals.iter().filter(|removal| went(&removal.outcome)).count(),
            kept: prune.kept.len() + prune.removals.iter().filter(|removal| !went(&removal.outcome)).count(),
            freed_bytes: prune.freed_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::{Intent, Job, JobId, JobState, Timestamp, Trigger};
    use layerkeeper_store::record::{
        AttemptRecord, CauseRecord, ErrorRecord, EstimateRecord, KeptRecord, LayerEstimateRecord, RemovalRecord,
        ShareRecord,
    };

    use super::*;

    const SECRET: &str = "SECRET-/var/lib/docker";

    fn pull() -> PullRecord {
        let text = Some(SECRET.to_owned());
        let layer = LayerRecordJson {
            digest: "sha256:aa".into(),
            diff_id: text.clone(),
            size: Some(7),
            source: "downloaded".into(),
            downloaded_bytes: 7,
            created_by: text.clone(),
        };
        let estimated = LayerEstimateRecord {
            digest: SECRET.into(),
            diff_id: SECRET.into(),
            size: 7,
            presence: SECRET.into(),
            created_by: text.clone(),
            causes: vec![CauseRecord { cause: SECRET.into(), why: SECRET.into(), at: Some(1), advice: text.clone() }],
        };
        PullRecord {
            image: "ghcr.io/acme/app:sha-1".into(),
            digest: Some("sha256:bb".into()),
            reused_bytes: 93,
            downloaded_bytes: 7,
            overhead_bytes: 1,
            wasted_bytes: 2,
            reuse_ratio: Some(0.93),
            certainty: "inferred".into(),
            doubts: vec![SECRET.into()],
            layers: vec![layer],
            estimate: Some(EstimateRecord {
                total_bytes: 100,
                here_bytes: 93,
                fetch_bytes_least: 7,
                fetch_bytes_most: 9,
                peak_bytes: Some(10),
                compared_with: text.clone(),
                shares: vec![ShareRecord { image: SECRET.into(), here: true, bytes: 1, layers: 1 }],
                layers: vec![estimated],
            }),
            estimate_error_bytes: Some(-2),
            attempts: vec![AttemptRecord {
                image: String::new(),
                moved_bytes: 2,
                duration_ms: 1,
                failure: text,
                cut: false,
                expected: None,
                transfer: None,
            }],
            duration_ms: 12,
            transfer: None,
            phases: None,
        }
    }

    /// An outcome that says the secret wherever free text fits.
    pub(crate) fn talkative() -> Outcome {
        let removal = |outcome: &str| RemovalRecord {
            name: SECRET.into(),
            image_id: SECRET.into(),
            reason: SECRET.into(),
            freed_bytes: 5,
            outcome: outcome.into(),
            detail: SECRET.into(),
        };
        let kept =
            KeptRecord { name: SECRET.into(), image_id: SECRET.into(), class: SECRET.into(), reason: SECRET.into() };
        let prune = PruneRecord {
            blocked: Some(SECRET.into()),
            removals: vec![removal("removed"), removal("untagged"), removal("held")],
            kept: vec![kept],
            freed_bytes: 5,
        };
        Outcome {
            summary: SECRET.into(),
            kept: vec![pull()],
            pull: Some(pull()),
            estimate: pull().estimate,
            digest: Some("sha256:bb".into()),
            pressure: Some(prune.clone()),
            prune: Some(prune),
            warnings: vec![SECRET.into()],
            attempts: vec![AttemptRecord {
                image: String::new(),
                moved_bytes: 1,
                duration_ms: 1,
                failure: Some(SECRET.into()),
                cut: false,
                expected: None,
                transfer: None,
            }],
            error: Some(ErrorRecord { class: "not_found".into(), message: "gone".into(), detail: SECRET.into() }),
            moved_bytes: 20,
            budget_bytes: Some(19),
        }
    }

    #[test]
    fn the_public_report_holds_numbers_and_none_of_the_free_text() {
        let image = "ghcr.io/acme/app:sha-1".parse().unwrap();
        let job = Job {
            id: JobId::from_bits([7; 16]),
            seq: 1,
            intent: Intent::Deploy { image, digest: None, over_limit: false },
            trigger: Trigger::Webhook(SECRET.into()),
            state: JobState::Failed,
            not_before: None,
            attempts: 1,
            created: Timestamp(1),
        };
        let row = JobRow { job, outcome: talkative(), started: None, finished: None, superseded_by: None };
        let public = PublicJob::from(row);
        let text = serde_json::to_string(&public).unwrap();
        assert!(!text.contains("SECRET"), "{text}");
        let report = public.report.unwrap();
        assert_eq!(report.pull.unwrap().estimated_fetch_bytes, Some((7, 9)));
        assert_eq!(report.prune, Some(PublicPrune { removed: 2, kept: 2, freed_bytes: 5 }));
        assert!(report.over_budget);
        assert_eq!(public.error.unwrap().message, "gone");
    }
}
