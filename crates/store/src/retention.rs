//! Staying small: what is old or too much goes, in small steps, so that no accept waits long behind a sweep.

mod reports;
#[cfg(test)]
mod tests;

use std::time::Duration;

use layerkeeper_core::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::column::signed;
use crate::error::{Fault, StoreError};
use crate::jobs::WEBHOOK_TOLERANCE;
use crate::store::Store;
use crate::thread::checkpoint;

/// How much is kept. Ages count from when a thing ended or was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Finished jobs with their reports.
    pub jobs: Duration,
    /// At most so many finished jobs.
    pub max_jobs: u64,
    /// A job that a webhook id stands for stays beyond these two, for its sender's retry is answered with it; but only
    /// while it is among so many newest ones.
    pub max_named_jobs: u64,
    /// At most so many bytes of reports; beyond, the oldest lose their lists of layers first.
    pub max_report_bytes: u64,
    /// The whole file: what other tables take beyond their usual comes off the reports.
    pub max_file_bytes: u64,
    /// Webhook ids; this serves retries. Replays are refused by their time once it is out of
    /// [`WEBHOOK_TOLERANCE`](crate::WEBHOOK_TOLERANCE), and until then no id goes, whatever the clock says.
    pub webhook_ids: Duration,
    /// At most so many webhook ids, but never one younger than an hour.
    pub max_webhook_ids: u64,
    /// The trail.
    pub events: Duration,
    /// At most so many events.
    pub max_events: u64,
    /// Everything of engines other than the last one seen, names that are gone, deploys of such names, and losses.
    pub traces: Duration,
    /// At most so many lines of what each name stood for; what still stands stays beyond.
    pub max_changes: u64,
    /// At most so many layers; the longest unseen go.
    pub max_layers: u64,
    /// At most so many tombstones.
    pub max_tombstones: u64,
}

/// What a sweep took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Finished jobs.
    pub jobs: u64,
    /// Reports that lost their lists of layers.
    pub stripped_reports: u64,
    /// Webhook ids.
    pub webhook_ids: u64,
    /// Events.
    pub events: u64,
    /// Engines, each with all that was known of it.
    pub engines: u64,
    /// Layers.
    pub layers: u64,
    /// Lines of what each name stood for.
    pub changes: u64,
    /// Names that are gone.
    pub names: u64,
    /// Deploys of names that are gone.
    pub deploys: u64,
    /// Losses.
    pub heals: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// The file's size in bytes when all was done.
    pub file_bytes: u64,
}

/// Rows per transaction.
const STEP: usize = 250;
/// Pages per transaction.
const PAGES: u64 = 256;
const HOUR: Duration = Duration::from_secs(3600);

impl Store {
    /// Takes away what is older or more than wanted, and gives the room back to the file system.
    ///
    /// What never goes: a job that is not finished, the newest deploy of a name that is still here, kept states, and
    /// what is known of the engine seen last (but for layers beyond their limit).
    pub async fn sweep(&self, now: Timestamp, keep: &Retention) -> Result<Swept, StoreError> {
        let since = |age: Duration| Value::Integer(now.minus(age).0);
        let most = |n: u64| Value::Integer(signed(n));
        let tolerance = Value::Integer(Timestamp(0).plus(WEBHOOK_TOLERANCE).0);
        let named = keep.max_named_jobs.max(keep.max_jobs);
        let mut swept = Swept {
            // before the jobs, some of which they hold
            webhook_ids: self
                .thin(WEBHOOK_IDS, vec![since(keep.webhook_ids), most(keep.max_webhook_ids), since(HOUR), tolerance])
                .await?,
            jobs: self.thin(JOBS, vec![since(keep.jobs), most(keep.max_jobs), most(named)]).await?,
            events: self.thin(EVENTS, vec![since(keep.events), most(keep.max_events)]).await?,
            engines: self.thin(ENGINES, vec![since(keep.traces)]).await?,
            layers: self.thin(LAYERS, vec![most(keep.max_layers)]).await?,
            changes: self.thin(CHANGES, vec![since(keep.traces), most(keep.max_changes)]).await?,
            names: self.thin(NAMES, vec![since(keep.traces)]).await?,
            deploys: self.thin(DEPLOYS, vec![since(keep.traces)]).await?,
            heals: self.thin(HEALS, vec![since(keep.traces)]).await?,
            tombstones: self.thin(TOMBSTONES, vec![most(keep.max_tombstones)]).await?,
            ..Swept::default()
        };
        self.thin(STACKS, Vec::new()).await?;
        self.thin(REPEATS, vec![most(keep.max_layers)]).await?;
        let (stripped, dropped) = self.shrink_reports(keep).await?;
        swept.stripped_reports = stripped;
        swept.jobs += dropped;
        swept.file_bytes = self.give_back().await?;
        Ok(swept)
    }

    /// Runs a DELETE that takes at most as many rows as its last parameter says, until it finds no more.
    async fn thin(&self, sql: &'static str, mut values: Vec<Value>) -> Result<u64, StoreError> {
        values.push(Value::Integer(STEP as i64));
        let mut total = 0;
        loop {
            let values = values.clone();
            let gone = self.write(move |db| Ok(db.prepare(sql)?.execute(params_from_iter(values))?)).await?;
            total += gone as u64;
            if gone < STEP {
                return Ok(total);
            }
        }
    }

    /// Returns the file's size.
    async fn give_back(&self) -> Result<u64, StoreError> {
        loop {
            let freed = self.write(free_pages).await?;
            if freed < PAGES {
                break;
            }
        }
        self.write_alone(|db| {
            // never waits for a reader; what it cannot do now, the next one does
            checkpoint(db)?;
            bytes_in(db, "page_count")
        })
        .await
    }
}

impl Default for Retention {
    fn default() -> Self {
        let days = |n: u64| Duration::from_secs(n * 86_400);
        Self {
            jobs: days(90),
            max_jobs: 5_000,
            max_named_jobs: 10_000,
            max_report_bytes: 40_000_000,
            max_file_bytes: 60_000_000,
            webhook_ids: days(7),
            max_webhook_ids: 20_000,
            events: days(90),
            max_events: 20_000,
            traces: days(90),
            max_changes: 20_000,
            max_layers: 15_000,
            max_tombstones: 10_000,
        }
    }
}

/// A number that the database tells of itself.
fn pragma(db: &Connection, name: &'static str) -> Result<u64, Fault> {
    let value: i64 = db.pragma_query_value(None, name, |row| row.get(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

/// Bytes in the pages that a pragma counts (`page_count`, `freelist_count`).
fn bytes_in(db: &Connection, counted: &'static str) -> Result<u64, Fault> {
    Ok(pragma(db, counted)? * pragma(db, "page_size")?)
}

/// Moves free pages out of the file's end, one per row; returns how many.
fn free_pages(db: &Connection) -> Result<u64, Fault> {
    let before = pragma(db, "freelist_count")?;
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(before.saturating_sub(pragma(db, "freelist_count")?))
}

const JOBS: &str = "DELETE FROM jobs WHERE seq IN (
    SELECT seq FROM jobs WHERE finished IS NOT NULL AND (finished < ?1 OR seq <= coalesce(
            (SELECT seq FROM jobs WHERE finished IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?2), 0))
        AND (id NOT IN (SELECT job FROM webhook_ids) OR seq <= coalesce(
            (SELECT seq FROM jobs WHERE finished IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?3), 0))
    ORDER BY seq LIMIT ?4)";

const WEBHOOK_IDS: &str = "DELETE FROM webhook_ids WHERE id IN (
    SELECT id FROM webhook_ids
    WHERE received < (SELECT value - ?4 FROM meta WHERE key = 'newest_webhook_time')
        AND (received < ?1 OR (received < ?3 AND received <= coalesce(
            (SELECT received FROM webhook_ids ORDER BY received DESC LIMIT 1 OFFSET ?2), 0)))
    ORDER BY received LIMIT ?5)";

const EVENTS: &str = "DELETE FROM events WHERE seq IN (
    SELECT seq FROM events WHERE at < ?1 OR seq <= coalesce(
        (SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?2), 0)
    ORDER BY seq LIMIT ?3)";

const ENGINES: &str = "DELETE FROM engines WHERE id IN (
    SELECT id FROM engines WHERE last_seen < ?1
        AND id <> (SELECT id FROM engines ORDER BY last_seen DESC, id DESC LIMIT 1)
    LIMIT ?2)";

const LAYERS: &str = "DELETE FROM layers WHERE (engine, blob, chain) IN (
    SELECT engine, blob, chain FROM layers ORDER BY seen
    LIMIT min(?2, max(0, (SELECT count(*) FROM layers) - ?1)))";

const CHANGES: &str = "DELETE FROM changes WHERE seq IN (
    SELECT seq FROM changes AS old WHERE (at < ?1 OR seq <= coalesce(
            (SELECT seq FROM changes ORDER BY seq DESC LIMIT 1 OFFSET ?2), 0))
        AND (image_id IS NULL OR EXISTS (SELECT 1 FROM changes AS later
            WHERE later.engine = old.engine AND later.name = old.name AND later.seq > old.seq))
    ORDER BY seq LIMIT ?3)";

pub(crate) const STACKS: &str = "DELETE FROM stacks WHERE (engine, image_id) IN (
    SELECT engine, image_id FROM stacks WHERE NOT EXISTS (SELECT 1 FROM changes
        WHERE changes.engine = stacks.engine AND changes.image_id = stacks.image_id) LIMIT ?1)";

const REPEATS: &str = "DELETE FROM repeats WHERE (diff_id, image) IN (
    SELECT diff_id, image FROM repeats ORDER BY at DESC LIMIT ?2 OFFSET ?1)";

const NAMES: &str = "DELETE FROM names WHERE (engine, image) IN (
    SELECT engine, image FROM names WHERE gone < ?1 LIMIT ?2)";

const DEPLOYS: &str = "DELETE FROM deploys WHERE seq IN (
    SELECT seq FROM deploys AS old WHERE at < ?1 AND NOT (
        seq = (SELECT max(seq) FROM deploys WHERE image = old.image)
        AND EXISTS (SELECT 1 FROM names WHERE names.image = old.image AND gone IS NULL))
    ORDER BY seq LIMIT ?2)";

const HEALS: &str = "DELETE FROM heals WHERE seq IN (SELECT seq FROM heals WHERE at < ?1 LIMIT ?2)";

const TOMBSTONES: &str = "DELETE FROM tombstones WHERE image IN (
    SELECT image FROM tombstones ORDER BY at DESC LIMIT ?2 OFFSET ?1)";
