//! Looking at jobs.

use layerkeeper_core::job::{Job, JobId, JobKind, JobState};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params_from_iter};

use crate::column::{json, maybe_parsed, maybe_time, number, parsed, signed};
use crate::error::StoreError;
use crate::jobs::row::{COLUMNS, job};
use crate::jobs::{JobFilter, JobRow};
use crate::record::PruneRecord;
use crate::store::Store;

const MOST: usize = 500;

impl Store {
    /// What the newest finished job that planned a prune did.
    pub async fn last_prune(&self) -> Result<Option<PruneRecord>, StoreError> {
        let filter = JobFilter { kinds: vec![JobKind::Deploy, JobKind::Prune], limit: 100, ..JobFilter::default() };
        let rows = self.jobs(filter).await?;
        Ok(rows.into_iter().filter(|row| row.job.state.is_final()).find_map(|row| row.outcome.prune))
    }

    /// One job.
    pub async fn job(&self, id: &JobId) -> Result<Option<JobRow>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS}, json FROM jobs LEFT JOIN outcomes ON job = seq WHERE id = ?1");
            Ok(connection.prepare_cached(&sql)?.query_row([id.as_str()], job_row).optional()?)
        })
        .await
    }

    /// Jobs, newest first.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRow>, StoreError> {
        self.read(move |connection| {
            let (conditions, mut values) = conditions(&filter);
            values.push(Value::Integer(signed(filter.limit.min(MOST) as u64)));
            let sql = format!(
                "SELECT {COLUMNS}, json FROM jobs LEFT JOIN outcomes ON job = seq
                 WHERE {conditions} ORDER BY seq DESC LIMIT ?"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), job_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// How many jobs are in each state; all states are listed.
    pub async fn job_counts(&self) -> Result<Vec<(JobState, u64)>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT state, count(*) AS n FROM jobs GROUP BY state")?;
            let rows = statement.query_map([], |row| Ok((parsed(row, "state")?, number(row, "n")?)))?;
            let found = rows.collect::<rusqlite::Result<Vec<(JobState, u64)>>>()?;
            let count = |state| found.iter().find(|(other, _)| *other == state).map_or(0, |(_, n)| *n);
            Ok(JobState::ALL.into_iter().map(|state| (state, count(state))).collect())
        })
        .await
    }

    /// The queue in the order of taking, those that wait among the others.
    pub async fn queued(&self) -> Result<Vec<Job>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE state = 'queued' ORDER BY priority, seq");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([], job)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

fn job_row(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        job: job(row)?,
        outcome: json(row, "json")?.unwrap_or_default(),
        started: maybe_time(row, "started")?,
        finished: maybe_time(row, "finished")?,
        superseded_by: maybe_parsed(row, "superseded_by")?,
    })
}

fn conditions(filter: &JobFilter) -> (String, Vec<Value>) {
    let mut sql = String::from("true");
    let mut values = Vec::new();
    let mut either = |column: &str, words: Vec<&'static str>| {
        if !words.is_empty() {
            let marks = vec!["?"; words.len()].join(", ");
            sql.push_str(&format!(" AND {column} IN ({marks})"));
            values.extend(words.into_iter().map(|word| Value::Text(word.to_owned())));
        }
    };
    either("kind", filter.kinds.iter().map(|kind| kind.as_str()).collect());
    either("state", filter.states.iter().map(|state| state.as_str()).collect());
    if let Some(image) = &filter.image {
        sql.push_str(" AND image = ?");
        values.push(Value::Text(image.to_string()));
    }
    if let Some(repository) = &filter.repository {
        sql.push_str(" AND repository = ?");
        values.push(Value::Text(repository.to_string()));
    }
    if let Some(seq) = filter.before_seq {
        sql.push_str(" AND seq < ?");
        values.push(Value::Integer(signed(seq)));
    }
    (sql, values)
}
