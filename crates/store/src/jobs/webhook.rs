//! Webhook ids: a sender's retry gets the first job, a replay with another body is refused.
//!
//! Whoever overheard a request can send it again for as long as its time is not too far from the server's, which is the
//! later of its clock and the newest time below. So an id must outlive that, whatever the clock does meanwhile: it is
//! stamped with the latest time that is known of, and none that is younger than the newest time less the tolerance is
//! ever forgotten.

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use layerkeeper_core::Timestamp;
use layerkeeper_core::job::JobId;
use rusqlite::{Connection, OptionalExtension};

use crate::column::parsed;
use crate::error::{Fault, StoreError};
use crate::jobs::accept::accept;
use crate::jobs::{Accepted, NewJob};
use crate::store::Store;

/// An authenticated request, as far as it must be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookIdRecord {
    /// Its `webhook-id`.
    pub id: String,
    /// The hash of its body.
    pub body_sha256: [u8; 32],
    /// Its signed `webhook-timestamp`.
    pub timestamp: Timestamp,
}

/// What became of a webhook.
#[expect(clippy::large_enum_variant, reason = "taken apart as soon as it is returned")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookAccepted {
    /// Its id is new; the job is accepted.
    Accepted(Accepted),
    /// A retry: the same id and body led to this job before.
    Seen(JobId),
    /// The id was used with another body.
    Conflict,
}

/// How far a request's time may be from the server's, either way. Whoever judges requests must not allow more.
pub const WEBHOOK_TOLERANCE: Duration = Duration::from_secs(300);

const NEWEST: &str = "newest_webhook_time";

impl Store {
    /// Accepts the job of a webhook, or recognises the webhook, in one transaction. Where the job joins another, the
    /// webhook's id stands for that one.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`], and then nothing is remembered: the sender's retry may come through.
    pub async fn accept_webhook(&self, seen: WebhookIdRecord, new: NewJob) -> Result<WebhookAccepted, StoreError> {
        let max_queued = self.options().max_queued;
        let retention = self.options().webhook_retention;
        let at_hand = self.newest_webhook().clone();
        self.write(move |connection| {
            let before = newest(connection)?;
            let server = before.map_or(new.now, |before| before.max(new.now));
            // a sender's clock may be ahead, but it must not lead ours: else each request could be later than the last
            let judged = seen.timestamp.min(server);
            let newest = before.map_or(judged, |before| before.max(judged));
            let received = server.max(seen.timestamp);
            // not by our clock alone: it may be wrong, and right again the next moment
            let forgotten = new.now.minus(retention).min(newest.minus(WEBHOOK_TOLERANCE));
            if let Some((hash, job)) = first_of(connection, &seen.id, forgotten)? {
                keep_on(connection, &seen.id, received)?;
                return Ok(if hash == seen.body_sha256 {
                    note_time(connection, newest)?;
                    at_hand.note(newest);
                    WebhookAccepted::Seen(job)
                } else {
                    WebhookAccepted::Conflict
                });
            }
            let accepted = accept(connection, &new, max_queued)?;
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO webhook_ids (id, body_sha256, job, received) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((&seen.id, seen.body_sha256, accepted.job().id.as_str(), received.0))?;
            note_time(connection, newest)?;
            at_hand.note(newest);
            Ok(WebhookAccepted::Accepted(accepted))
        })
        .await
    }

    /// The newest `webhook-timestamp` ever accepted, but never later than our own clock was then: a clock that was set
    /// back must not open the door to old requests.
    pub fn newest_webhook_time(&self) -> Option<Timestamp> {
        self.newest_webhook().get()
    }
}

/// The newest time that any webhook carried, as the database has it; where a commit of it fails, still the newest that was
/// seen.
pub(crate) struct NewestWebhook(AtomicI64);

impl NewestWebhook {
    const NONE: i64 = i64::MIN;

    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let newest = connection.query_row("SELECT value FROM meta WHERE key = ?1", [NEWEST], |row| row.get(0));
        Ok(Self(newest.optional()?.unwrap_or(Self::NONE).into()))
    }

    fn get(&self) -> Option<Timestamp> {
        Some(self.0.load(Ordering::SeqCst)).filter(|at| *at != Self::NONE).map(Timestamp)
    }

    fn note(&self, at: Timestamp) {
        self.0.fetch_max(at.0, Ordering::SeqCst);
    }
}

fn newest(connection: &Connection) -> Result<Option<Timestamp>, Fault> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([NEWEST], |row| row.get(0).map(Timestamp)).optional()?)
}

fn first_of(connection: &Connection, id: &str, forgotten: Timestamp) -> Result<Option<([u8; 32], JobId)>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT body_sha256, job FROM webhook_ids WHERE id = ?1 AND received >= ?2")?;
    Ok(statement.query_row((id, forgotten.0), |row| Ok((row.get("body_sha256")?, parsed(row, "job")?))).optional()?)
}

/// A retry has a later time than the first try, and can be overheard as well.
fn keep_on(connection: &Connection, id: &str, received: Timestamp) -> Result<(), Fault> {
    connection
        .prepare_cached("UPDATE webhook_ids SET received = ?2 WHERE id = ?1 AND received < ?2")?
        .execute((id, received.0))?;
    Ok(())
}

fn note_time(connection: &Connection, timestamp: Timestamp) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE excluded.value > value",
        )?
        .execute((NEWEST, timestamp.0))?;
    Ok(())
}
