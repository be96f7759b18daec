//! A job as columns.

use layerkeeper_core::job::{Intent, Job, JobId, JobKind, JobState, Trigger};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::column::{maybe_parsed, maybe_time, number, parsed, time, unreadable};
use crate::error::{Fault, StoreError};

/// What [`job`] reads, for SELECT and RETURNING.
pub(crate) const COLUMNS: &str = "id, seq, kind, image, digest, superseded_too, over_limit, trigger, trigger_by, state, not_before, \
     attempts, created, started, finished, superseded_by";

/// Reads a job from a row with [`COLUMNS`].
pub(crate) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: parsed(row, "id")?,
        seq: number(row, "seq")?,
        intent: intent(row)?,
        trigger: trigger(row)?,
        state: parsed(row, "state")?,
        not_before: maybe_time(row, "not_before")?,
        attempts: row.get("attempts")?,
        created: time(row, "created")?,
    })
}

/// The trigger's word and its detail.
pub(crate) fn trigger_columns(trigger: &Trigger) -> (&'static str, Option<String>) {
    match trigger {
        Trigger::Webhook(id) => ("webhook", Some(id.clone())),
        Trigger::Schedule => ("schedule", None),
        Trigger::Event => ("event", None),
        Trigger::Start => ("start", None),
        Trigger::Operator { uid } => ("operator", Some(uid.to_string())),
    }
}

/// Why a statement that wanted a job in certain states found none.
pub(crate) fn not_in_state(connection: &Connection, id: &JobId, wanted: &'static str) -> Result<Fault, Fault> {
    let mut statement = connection.prepare_cached("SELECT state FROM jobs WHERE id = ?1")?;
    let state = statement.query_row([id.as_str()], |row| parsed::<JobState>(row, "state")).optional()?;
    Ok(Fault::Refused(match state {
        Some(state) => StoreError::WrongState { job: id.clone(), state, wanted },
        None => StoreError::NoSuchJob(id.clone()),
    }))
}

fn intent(row: &Row<'_>) -> rusqlite::Result<Intent> {
    Ok(match parsed(row, "kind")? {
        JobKind::Deploy => Intent::Deploy {
            image: parsed(row, "image")?,
            digest: maybe_parsed(row, "digest")?,
            over_limit: row.get("over_limit")?,
        },
        JobKind::Heal => Intent::Heal { image: parsed(row, "image")? },
        JobKind::Warm => Intent::Warm { image: parsed(row, "image")?, digest: maybe_parsed(row, "digest")? },
        JobKind::Prune => Intent::Prune { superseded: row.get("superseded_too")? },
    })
}

fn trigger(row: &Row<'_>) -> rusqlite::Result<Trigger> {
    let word: String = row.get("trigger")?;
    let by: Option<String> = row.get("trigger_by")?;
    Ok(match (&*word, by) {
        ("webhook", Some(id)) => Trigger::Webhook(id),
        ("schedule", _) => Trigger::Schedule,
        ("event", _) => Trigger::Event,
        ("start", _) => Trigger::Start,
        ("operator", Some(uid)) => Trigger::Operator { uid: uid.parse().map_err(|_| unreadable("trigger_by", &uid))? },
        _ => return Err(unreadable("trigger", &word)),
    })
}
