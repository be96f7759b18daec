//! Accepting a job: joining one that does the same, or a new one that supersedes older deploys.

use layerkeeper_core::job::{Intent, Job, JobId, JobState, Trigger};
use rusqlite::{Connection, named_params};

use crate::column::{parsed, signed};
use crate::error::{Fault, StoreError};
use crate::jobs::row::{COLUMNS, job, trigger_columns};
use crate::jobs::{Accepted, Enqueued, NewJob};
use crate::store::Store;

impl Store {
    /// Accepts a job, durably, in one transaction:
    ///
    /// - A deploy joins the newest unfinished deploy of its repository when that has the same image and digest and is
    ///   queued, or is running and the digest was given: what a running job without a digest asked the registry may be
    ///   older than this request. An older unfinished deploy is not joined, or the newest wish would come first.
    /// - A warm or heal joins an unfinished one of the same image, and of the same digest where it names one; but a warm from a webhook or a person joins only a
    ///   queued one, for they know of something new. One that never ran and waits only for its time is pulled forward.
    /// - A prune joins a queued one with the same flag.
    /// - Otherwise it is new, and a new deploy supersedes all queued deploys of its repository.
    /// - A deploy that has its number already, and was cut before its end, has happened: it is neither joined nor
    ///   superseded.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`], and then nothing is changed.
    pub async fn enqueue(&self, new: NewJob) -> Result<Accepted, StoreError> {
        let max_queued = self.options().max_queued;
        self.write(move |connection| accept(connection, &new, max_queued)).await
    }
}

/// See [`Store::enqueue`].
pub(crate) fn accept(connection: &Connection, new: &NewJob, max_queued: u64) -> Result<Accepted, Fault> {
    if let Some(found) = to_join(connection, new)? {
        let joined = pull_forward(connection, found, new)?;
        return Ok(Accepted { enqueued: Enqueued::Joined(joined), superseded: Vec::new() });
    }
    let job = insert(connection, new)?;
    let superseded = match &new.intent {
        Intent::Deploy { .. } => supersede_older(connection, &job, new.now.0)?,
        _ => Vec::new(),
    };
    let queued: i64 = connection
        .prepare_cached("SELECT count(*) FROM jobs WHERE state = 'queued'")?
        .query_row([], |row| row.get(0))?;
    if queued > signed(max_queued) {
        return Err(StoreError::QueueFull.into());
    }
    Ok(Accepted { enqueued: Enqueued::New(job), superseded })
}

/// Queued deploys of this deploy's repository that were accepted before it give way to it; oldest first.
pub(crate) fn supersede_older(connection: &Connection, newer: &Job, now: i64) -> Result<Vec<JobId>, Fault> {
    let Some(repository) = newer.intent.repository() else { return Ok(Vec::new()) };
    let mut statement = connection.prepare_cached(
        "UPDATE jobs SET state = 'superseded', superseded_by = :by, finished = :now, not_before = NULL
         WHERE finished IS NULL AND repository = :repository AND kind = 'deploy' AND state = 'queued' AND seq < :seq
           AND NOT EXISTS (SELECT 1 FROM deploys WHERE deploys.job = jobs.id)
         RETURNING seq, id",
    )?;
    let params = named_params! {
        ":by": newer.id.as_str(), ":now": now, ":repository": repository.to_string(), ":seq": signed(newer.seq),
    };
    let rows = statement.query_map(params, |row| Ok((row.get::<_, i64>("seq")?, parsed(row, "id")?)))?;
    let mut superseded = rows.collect::<rusqlite::Result<Vec<(i64, JobId)>>>()?;
    superseded.sort();
    Ok(superseded.into_iter().map(|(_, id)| id).collect())
}

fn to_join(connection: &Connection, new: &NewJob) -> Result<Option<Job>, Fault> {
    let repository = new.intent.repository().map(ToString::to_string);
    let sql = format!(
        "SELECT {COLUMNS} FROM jobs
         WHERE finished IS NULL AND repository IS ?1 AND kind = ?2
           AND NOT EXISTS (SELECT 1 FROM deploys WHERE deploys.job = jobs.id) ORDER BY state = 'queued' DESC, seq DESC"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map((repository, new.intent.kind().as_str()), job)?;
    let mut unfinished = found.collect::<rusqlite::Result<Vec<Job>>>()?;
    if matches!(new.intent, Intent::Deploy { .. }) {
        let newest = unfinished.into_iter().max_by_key(|job| job.seq);
        unfinished = newest.into_iter().collect();
    }
    let sees_it = match (&new.intent, &new.trigger) {
        (Intent::Deploy { digest, .. }, _) => digest.is_some(),
        (Intent::Warm { .. }, Trigger::Webhook(_) | Trigger::Operator { .. }) | (Intent::Prune { .. }, _) => false,
        (Intent::Warm { .. } | Intent::Heal { .. }, _) => true,
    };
    let same = |job: &Job| match (&job.intent, &new.intent) {
        // who names no digest is content with what comes
        (Intent::Warm { image, .. }, Intent::Warm { image: wanted, digest: None }) => image == wanted,
        (there, wanted) => there == wanted,
    };
    let fits = |job: &Job| same(job) && (job.state == JobState::Queued || sees_it);
    Ok(unfinished.into_iter().find(fits))
}

/// A job that never ran waits for a time that its sender chose, not for a registry to recover.
fn pull_forward(connection: &Connection, mut joined: Job, new: &NewJob) -> Result<Job, Fault> {
    let Some(due) = joined.not_before else { return Ok(joined) };
    let earlier = new.not_before.is_none_or(|wanted| wanted < due);
    if joined.state == JobState::Queued && joined.attempts == 0 && earlier {
        joined.not_before = new.not_before;
        let mut statement = connection.prepare_cached("UPDATE jobs SET not_before = ?2 WHERE seq = ?1")?;
        statement.execute((signed(joined.seq), new.not_before.map(|at| at.0)))?;
    }
    Ok(joined)
}

fn insert(connection: &Connection, new: &NewJob) -> Result<Job, Fault> {
    let (trigger, trigger_by) = trigger_columns(&new.trigger);
    let (digest, superseded_too, over_limit) = match &new.intent {
        Intent::Deploy { digest, over_limit, .. } => (digest.map(|digest| digest.to_string()), false, *over_limit),
        Intent::Warm { digest, .. } => (digest.map(|digest| digest.to_string()), false, false),
        Intent::Prune { superseded } => (None, *superseded, false),
        Intent::Heal { .. } => (None, false, false),
    };
    let sql = format!(
        "INSERT INTO jobs (id, kind, priority, image, repository, digest, superseded_too, over_limit, trigger, trigger_by,
                           state, not_before, created)
         VALUES (:id, :kind, :priority, :image, :repository, :digest, :superseded_too, :over_limit, :trigger, :trigger_by,
                 'queued', :not_before, :created)
         RETURNING {COLUMNS}"
    );
    let params = named_params! {
        ":id": new.id.as_str(),
        ":kind": new.intent.kind().as_str(),
        ":priority": new.intent.kind().priority(),
        ":image": new.intent.image().map(ToString::to_string),
        ":repository": new.intent.repository().map(ToString::to_string),
        ":digest": digest,
        ":superseded_too": superseded_too,
        ":over_limit": over_limit,
        ":trigger": trigger,
        ":trigger_by": trigger_by,
        ":not_before": new.not_before.map(|at| at.0),
        ":created": new.now.0,
    };
    Ok(connection.prepare_cached(&sql)?.query_row(params, job)?)
}
