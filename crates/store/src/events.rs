//! The trail of what happened, for the page and the history.

use layerkeeper_core::Timestamp;
use layerkeeper_core::job::JobId;
use rusqlite::Row;

use crate::column::{json, maybe_parsed, number, signed, time};
use crate::error::StoreError;
use crate::store::Store;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// A stable word, such as `pulled`, `removed`, `heal`.
    pub kind: String,
    /// What it is about: usually an image's name.
    pub subject: Option<String>,
    /// The job that did it.
    pub job: Option<JobId>,
    /// A sentence.
    pub message: String,
    /// Numbers and names to go with it; null for none.
    pub data: serde_json::Value,
}

/// An event with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Its place in the trail.
    pub seq: u64,
    /// What happened.
    pub event: Event,
}

/// Which events to list; the default is the newest 50 of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// How many at most; never more than 1,000.
    pub limit: usize,
    /// Only those before this number: the next page.
    pub before: Option<u64>,
    /// Only about this.
    pub subject: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only what happened from then to then, both included.
    pub between: Option<(Timestamp, Timestamp)>,
}

const MOST: usize = 1000;

impl Store {
    /// Adds to the trail; returns the event's number.
    pub async fn append(&self, event: Event) -> Result<u64, StoreError> {
        self.write(move |connection| {
            let data = (!event.data.is_null()).then(|| event.data.to_string());
            let mut statement = connection.prepare_cached(
                "INSERT INTO events (at, kind, subject, job, message, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 RETURNING seq",
            )?;
            let job = event.job.as_ref().map(JobId::as_str);
            let params = (event.at.0, &event.kind, &event.subject, job, &event.message, data);
            Ok(statement.query_row(params, |row| number(row, "seq"))?)
        })
        .await
    }

    /// The trail, newest first.
    pub async fn events(&self, filter: EventFilter) -> Result<Vec<EventRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM events
                 WHERE (?1 IS NULL OR seq < ?1) AND (?2 IS NULL OR subject = ?2) AND (?3 IS NULL OR kind = ?3)
                   AND (?4 IS NULL OR at BETWEEN ?4 AND ?5)
                 ORDER BY seq DESC LIMIT ?6",
            )?;
            let limit = signed(filter.limit.min(MOST) as u64);
            let (from, to) = filter.between.map(|(from, to)| (from.0, to.0)).unzip();
            let params = (filter.before.map(signed), filter.subject, filter.kind, from, to, limit);
            let rows = statement.query_map(params, event_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

impl Event {
    /// An event without data.
    pub fn new(
        at: Timestamp,
        kind: impl Into<String>,
        subject: Option<String>,
        job: Option<JobId>,
        message: impl Into<String>,
    ) -> Self {
        Self { at, kind: kind.into(), subject, job, message: message.into(), data: serde_json::Value::Null }
    }
}

impl Default for EventFilter {
    fn default() -> Self {
        Self { limit: 50, before: None, subject: None, kind: None, between: None }
    }
}

fn event_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        seq: number(row, "seq")?,
        event: Event {
            at: time(row, "at")?,
            kind: row.get("kind")?,
            subject: row.get("subject")?,
            job: maybe_parsed(row, "job")?,
            message: row.get("message")?,
            data: json(row, "data")?.unwrap_or_default(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{id, store};

    #[tokio::test]
    async fn the_trail_is_newest_first_filtered_and_paged() {
        let store = store();
        for n in 0..6 {
            let subject = (n % 3 != 0).then(|| format!("image{}", n % 3));
            let kind = if n < 3 { "pulled" } else { "removed" };
            let event = Event::new(Timestamp(n), kind, subject, Some(id(7)), format!("event {n}"));
            let data = if n == 5 { serde_json::json!({"bytes": 12}) } else { serde_json::Value::Null };
            store.append(Event { data, ..event }).await.unwrap();
        }
        let ask = async |filter: EventFilter| -> Vec<i64> {
            store.events(filter).await.unwrap().into_iter().map(|row| row.event.at.0).collect()
        };
        assert_eq!(ask(EventFilter::default()).await, [5, 4, 3, 2, 1, 0]);
        let newest = store.events(EventFilter { limit: 2, ..EventFilter::default() }).await.unwrap();
        assert_eq!((newest[0].event.data["bytes"].as_u64(), &newest[0].event.job), (Some(12), &Some(id(7))));
        assert_eq!(ask(EventFilter { before: Some(newest[1].seq), limit: 2, ..EventFilter::default() }).await, [3, 2]);
        let subject = Some("image2".to_owned());
        assert_eq!(ask(EventFilter { subject: subject.clone(), ..EventFilter::default() }).await, [5, 2]);
        let kind = Some("pulled".to_owned());
        assert_eq!(ask(EventFilter { subject, kind, ..EventFilter::default() }).await, [2]);
        let between = |from, to| Some((Timestamp(from), Timestamp(to)));
        assert_eq!(ask(EventFilter { between: between(2, 4), ..EventFilter::default() }).await, [4, 3, 2]);
        assert_eq!(ask(EventFilter { between: between(6, 9), ..EventFilter::default() }).await, [0_i64; 0]);
    }
}
