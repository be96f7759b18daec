//! A job as people on the host see it: everything.

use layerkeeper_core::Intent;
use layerkeeper_keeper::Changed;
use layerkeeper_store::record::Outcome;
use layerkeeper_store::{ChangeRow, Event, JobRow};
use serde::{Deserialize, Serialize};

/// A job, for the local listener and the control socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// `deploy`, `heal`, `warm` or `prune`.
    pub kind: String,
    /// What it is to bring about, in words.
    pub intent: String,
    /// The image it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The digest that the sender asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Who asked, in words.
    pub trigger: String,
    /// `queued`, `running`, `succeeded`, `failed`, `refused` or `superseded`.
    pub state: String,
    /// Not to be taken before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<i64>,
    /// How often the worker took it up.
    pub attempts: u32,
    /// When it was accepted.
    pub created: i64,
    /// When it was first taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<i64>,
    /// When it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<i64>,
    /// The job that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// What it did so far.
    pub outcome: Outcome,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// When.
    pub at: i64,
    /// A stable word.
    pub kind: String,
    /// What it is about, usually an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The job behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// In words.
    pub message: String,
}

/// What a name stood for from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// When it was seen.
    pub at: i64,
    /// `repository:tag`, or `repository@digest` of an image without a tag.
    pub name: String,
    /// The engine's id of the image; none: the name was gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Its digest in the name's repository; none for what was made on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Uncompressed layers, bottom first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// A job of ours that ran when it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Where the name was gone: why or by which call, as far as the trail tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<Changed> for ChangeView {
    fn from(changed: Changed) -> Self {
        Self { reason: changed.how, ..changed.row.into() }
    }
}

impl From<ChangeRow> for ChangeView {
    fn from(row: ChangeRow) -> Self {
        let to = row.change.to;
        Self {
            at: row.at.0,
            name: row.change.name,
            image_id: to.as_ref().map(|to| to.image.to_string()),
            digest: to.and_then(|to| to.digest).map(|digest| digest.to_string()),
            layers: row.layers.iter().map(ToString::to_string).collect(),
            job: row.job.map(|id| id.to_string()),
            reason: None,
        }
    }
}

impl JobView {
    /// Without the lists of layers and of kept names, which make most of a job's size: for lists of jobs.
    #[must_use]
    pub fn brief(mut self) -> Self {
        let outcome = &mut self.outcome;
        for pull in outcome.kept.iter_mut().chain(outcome.pull.as_mut()) {
            pull.layers.clear();
            if let Some(estimate) = &mut pull.estimate {
                estimate.layers.clear();
            }
        }
        if let Some(estimate) = &mut outcome.estimate {
            estimate.layers.clear();
        }
        for prune in outcome.prune.iter_mut().chain(&mut outcome.pressure) {
            prune.kept.clear();
        }
        self
    }
}

impl From<JobRow> for JobView {
    fn from(row: JobRow) -> Self {
        let job = row.job;
        Self {
            kind: job.intent.kind().to_string(),
            intent: job.intent.to_string(),
            image: job.intent.image().map(ToString::to_string),
            digest: match &job.intent {
                Intent::Deploy { digest, .. } | Intent::Warm { digest, .. } => digest.map(|d| d.to_string()),
                _ => None,
            },
            id: job.id.to_string(),
            seq: job.seq,
            trigger: job.trigger.to_string(),
            state: job.state.to_string(),
            not_before: job.not_before.map(|t| t.0),
            attempts: job.attempts,
            created: job.created.0,
            started: row.started.map(|t| t.0),
            finished: row.finished.map(|t| t.0),
            superseded_by: row.superseded_by.map(|id| id.to_string()),
            outcome: row.outcome,
        }
    }
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            at: event.at.0,
            kind: event.kind,
            subject: event.subject,
            job: event.job.map(|id| id.to_string()),
            message: event.message,
        }
    }
}
