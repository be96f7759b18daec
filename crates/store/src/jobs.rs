//! The queue and the history of jobs.

mod accept;
mod finish;
mod list;
#[cfg(test)]
mod property;
mod row;
mod take;
#[cfg(test)]
mod tests;
mod webhook;

use layerkeeper_core::job::{Intent, Job, JobId, JobKind, JobState, Trigger};
use layerkeeper_core::{ImageName, Repository, Timestamp};

use crate::record::Outcome;

pub use take::Taken;
pub(crate) use webhook::NewestWebhook;
pub use webhook::{WEBHOOK_TOLERANCE, WebhookAccepted, WebhookIdRecord};

/// A job to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its id, made by the caller; used only if no job is joined.
    pub id: JobId,
    /// What it is to bring about.
    pub intent: Intent,
    /// Who asked.
    pub trigger: Trigger,
    /// Not to be taken before this instant.
    pub not_before: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// Which job a request has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// A new one.
    New(Job),
    /// One that was there and does the same.
    Joined(Job),
}

/// A request that was accepted, and what it pushed aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub enqueued: Enqueued,
    /// Queued deploys of the same repository whose place it took, oldest first.
    pub superseded: Vec<JobId>,
}

/// A job with what it left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// The job.
    pub job: Job,
    /// What it did so far.
    pub outcome: Outcome,
    /// When it was taken up first.
    pub started: Option<Timestamp>,
    /// When it came to its final state.
    pub finished: Option<Timestamp>,
    /// Which newer deploy took its place; the follower of that one goes on there.
    pub superseded_by: Option<JobId>,
}

/// Which jobs to list; the default is the newest 50 of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFilter {
    /// Only these kinds; empty: all.
    pub kinds: Vec<JobKind>,
    /// Only these states; empty: all.
    pub states: Vec<JobState>,
    /// Only of this image.
    pub image: Option<ImageName>,
    /// Only of this repository.
    pub repository: Option<Repository>,
    /// How many at most; never more than 500, for each may hold a report of tens of kilobytes.
    pub limit: usize,
    /// Only those accepted before the job with this number: the next page.
    pub before_seq: Option<u64>,
}

impl Enqueued {
    /// The job, new or joined.
    pub fn job(&self) -> &Job {
        match self {
            Self::New(job) | Self::Joined(job) => job,
        }
    }

    /// Is it a new one?
    pub fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }
}

impl Accepted {
    /// The job, new or joined.
    pub fn job(&self) -> &Job {
        self.enqueued.job()
    }
}

impl Default for JobFilter {
    fn default() -> Self {
        Self { kinds: Vec::new(), states: Vec::new(), image: None, repository: None, limit: 50, before_seq: None }
    }
}
