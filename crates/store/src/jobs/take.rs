//! Taking jobs from the queue, and putting them back.

use layerkeeper_core::Timestamp;
use layerkeeper_core::job::{Intent, Job, JobId};
use rusqlite::OptionalExtension;

use crate::error::StoreError;
use crate::jobs::accept::supersede_older;
use crate::jobs::finish::{encode, write_outcome};
use crate::jobs::row::{COLUMNS, job, not_in_state};
use crate::record::Outcome;
use crate::store::Store;

/// Nobody is asked to wait for longer: a job whose time is further ahead was put back before the clock was set back, and
/// would wait for as long as the clock lies.
const LONGEST_WAIT_MS: i64 = 3_600_000;

/// May it run at the instant ?1?
fn due() -> String {
    format!("state = 'queued' AND (not_before IS NULL OR not_before <= ?1 OR not_before > ?1 + {LONGEST_WAIT_MS})")
}

/// A job that was taken from the queue, and what it pushed aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Running now.
    pub job: Job,
    /// Deploys of the same repository that had been put back to wait and would have come after it.
    pub superseded: Vec<JobId>,
}

impl Store {
    /// [`Store::take`] for who does not care what was pushed aside.
    pub async fn take_next(&self, now: Timestamp) -> Result<Option<Job>, StoreError> {
        Ok(self.take(now).await?.map(|taken| taken.job))
    }

    /// Takes the most urgent job that may run now; it is running from then on, and its attempt is counted.
    ///
    /// A deploy that is taken supersedes older deploys of its repository that wait: one that was put back while this
    /// one came in must not run after it and pass for the newest.
    ///
    /// Await it to the end: a job taken by a dropped future runs for nobody until [`Store::requeue_running`].
    pub async fn take(&self, now: Timestamp) -> Result<Option<Taken>, StoreError> {
        self.write(move |connection| {
            let sql = format!(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, started = coalesce(started, ?1),
                                 not_before = NULL
                 WHERE seq = (SELECT seq FROM jobs WHERE {} ORDER BY priority, seq LIMIT 1)
                 RETURNING {COLUMNS}",
                due()
            );
            let Some(job) = connection.prepare_cached(&sql)?.query_row([now.0], job).optional()? else {
                return Ok(None);
            };
            let superseded = match job.intent {
                Intent::Deploy { .. } => supersede_older(connection, &job, now.0)?,
                _ => Vec::new(),
            };
            Ok(Some(Taken { job, superseded }))
        })
        .await
    }

    /// Would [`Store::take`] find one?
    pub async fn has_due(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM jobs WHERE {})", due()))?;
            Ok(statement.query_row([now.0], |row| row.get(0))?)
        })
        .await
    }

    /// Does a deploy wait for the job that is running?
    pub async fn has_due_deploy(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM jobs WHERE kind = 'deploy' AND {})", due());
            Ok(connection.prepare_cached(&sql)?.query_row([now.0], |row| row.get(0))?)
        })
        .await
    }

    /// When the next queued job may run: an instant in the past (zero where it does not wait at all) means now, none
    /// means an empty queue.
    pub async fn next_wake(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT min(coalesce(not_before, 0)) FROM jobs WHERE state = 'queued'")?;
            Ok(statement.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp))
        })
        .await
    }

    /// At the start: what a crash left running is queued again, to be taken first in its old order. What it had done
    /// so far stays in its outcome.
    pub async fn requeue_running(&self) -> Result<Vec<Job>, StoreError> {
        self.write(|connection| {
            let sql = format!(
                "UPDATE jobs SET state = 'queued', not_before = NULL WHERE state = 'running' RETURNING {COLUMNS}"
            );
            let mut jobs = connection.prepare(&sql)?.query_map([], job)?.collect::<rusqlite::Result<Vec<Job>>>()?;
            jobs.sort_by_key(|job| job.seq);
            Ok(jobs)
        })
        .await
    }

    /// A running job is to wait: until that instant, or only for its turn.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] unless it is running.
    pub async fn put_back(
        &self,
        id: &JobId,
        not_before: Option<Timestamp>,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let (id, outcome) = (id.clone(), encode(outcome)?);
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE jobs SET state = 'queued', not_before = ?2 WHERE id = ?1 AND state = 'running'",
            )?;
            if statement.execute((id.as_str(), not_before.map(|at| at.0)))? == 0 {
                return Err(not_in_state(connection, &id, "put back")?);
            }
            write_outcome(connection, &id, &outcome)
        })
        .await
    }
}
