//! What a job leaves behind, and its one final state.

use layerkeeper_core::Timestamp;
use layerkeeper_core::job::{JobId, JobState};
use rusqlite::Connection;

use crate::column::signed;
use crate::error::{Fault, StoreError};
use crate::jobs::row::not_in_state;
use crate::record::Outcome;
use crate::store::Store;

impl Store {
    /// Writes down what a running job has done so far, durably: a crash loses no finished step.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] once it is final.
    pub async fn save_outcome(&self, id: &JobId, outcome: &Outcome) -> Result<(), StoreError> {
        let (id, outcome) = (id.clone(), encode(outcome)?);
        self.write(move |connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1 AND finished IS NULL")?;
            if !statement.exists([id.as_str()])? {
                return Err(not_in_state(connection, &id, "save")?);
            }
            write_outcome(connection, &id, &outcome)
        })
        .await
    }

    /// Brings a job to its final state. A deploy that succeeded by making its tag new or newest goes through
    /// [`Store::record_deploy`] first.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] when it is final already; it is so for a `state` that is not final, too.
    pub async fn finish(
        &self,
        id: &JobId,
        state: JobState,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !state.is_final() {
            return Err(StoreError::WrongState { job: id.clone(), state, wanted: "finish" });
        }
        let (id, outcome) = (id.clone(), encode(outcome)?);
        self.write(move |connection| finish_now(connection, &id, state, &outcome, now)).await
    }
}

/// The job's final state, once.
pub(crate) fn finish_now(
    connection: &Connection,
    id: &JobId,
    state: JobState,
    outcome: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(
        "UPDATE jobs SET state = ?2, finished = ?3, not_before = NULL WHERE id = ?1 AND finished IS NULL",
    )?;
    if statement.execute((id.as_str(), state.as_str(), now.0))? == 0 {
        return Err(not_in_state(connection, id, "finish")?);
    }
    write_outcome(connection, id, outcome)
}

/// Replaces the job's outcome.
pub(crate) fn write_outcome(connection: &Connection, id: &JobId, outcome: &str) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO outcomes (job, bytes, json) SELECT seq, ?2, ?3 FROM jobs WHERE id = ?1
             ON CONFLICT (job) DO UPDATE SET bytes = excluded.bytes, json = excluded.json, stripped = 0",
        )?
        .execute((id.as_str(), signed(outcome.len() as u64), outcome))?;
    Ok(())
}

/// The outcome as it is stored; made on the caller's side, for the writer's time is everybody's.
pub(crate) fn encode(outcome: &Outcome) -> Result<String, StoreError> {
    serde_json::to_string(outcome).map_err(|error| StoreError::Defect(format!("an outcome that is no JSON: {error}")))
}
