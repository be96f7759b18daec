//! Reports within their room: a report of sixty layers takes tens of kilobytes, its sums a few hundred bytes. So the
//! oldest first lose their lists, and only when that does not do, their jobs go; those that a webhook id stands for last.

use rusqlite::Connection;

use crate::column::{json, signed};
use crate::error::{Fault, StoreError};
use crate::record::Outcome;
use crate::retention::{Retention, bytes_in};
use crate::store::Store;

/// Reports per transaction.
const STEP: usize = 20;
const NOTE: &str = "the lists of layers and of what was kept are no longer stored; sums are";

impl Store {
    /// How many reports were stripped, and how many jobs went.
    pub(crate) async fn shrink_reports(&self, keep: &Retention) -> Result<(u64, u64), StoreError> {
        let (wanted, file) = (keep.max_report_bytes, keep.max_file_bytes);
        let (mut stripped, mut dropped) = (0, 0);
        while self.read(move |db| is_too_much(db, wanted, file)).await? {
            let changed = self.write(strip_oldest).await?;
            stripped += changed;
            if changed == 0 {
                let gone = self.write(drop_oldest).await?;
                dropped += gone;
                if gone == 0 {
                    break;
                }
            }
        }
        Ok((stripped, dropped))
    }
}

fn is_too_much(db: &Connection, wanted: u64, file: u64) -> Result<bool, Fault> {
    let reports: i64 = db.query_row("SELECT coalesce(sum(bytes), 0) FROM outcomes", [], |row| row.get(0))?;
    let reports = u64::try_from(reports).unwrap_or(0);
    let used = bytes_in(db, "page_count")?.saturating_sub(bytes_in(db, "freelist_count")?);
    Ok(reports > wanted || (used > file && reports > 0))
}

fn strip_oldest(db: &Connection) -> Result<u64, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT job, json FROM outcomes JOIN jobs ON seq = job
         WHERE stripped = 0 AND finished IS NOT NULL ORDER BY job LIMIT ?1",
    )?;
    let rows = statement.query_map([STEP as i64], |row| {
        // what cannot be read cannot be stripped; it goes with its job
        Ok((row.get::<_, i64>("job")?, json::<Outcome>(row, "json").ok().flatten()))
    })?;
    let oldest = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut replace = db.prepare_cached("UPDATE outcomes SET stripped = 1, json = ?2, bytes = ?3 WHERE job = ?1")?;
    let mut give_up = db.prepare_cached("UPDATE outcomes SET stripped = 1 WHERE job = ?1")?;
    for (job, outcome) in &oldest {
        let short = outcome.clone().and_then(|outcome| serde_json::to_string(&strip(outcome)).ok());
        match short {
            Some(short) => replace.execute((job, &short, signed(short.len() as u64)))?,
            None => give_up.execute([job])?,
        };
    }
    Ok(oldest.len() as u64)
}

fn drop_oldest(db: &Connection) -> Result<u64, Fault> {
    let mut statement = db.prepare_cached(
        "DELETE FROM jobs WHERE seq IN
             (SELECT seq FROM jobs JOIN outcomes ON job = seq WHERE finished IS NOT NULL
              ORDER BY id IN (SELECT job FROM webhook_ids), seq LIMIT ?1)",
    )?;
    Ok(statement.execute([STEP as i64])? as u64)
}

fn strip(mut outcome: Outcome) -> Outcome {
    let mut lost = false;
    for pull in outcome.kept.iter_mut().chain(&mut outcome.pull) {
        lost |= !pull.layers.is_empty();
        pull.layers = Vec::new();
        if let Some(estimate) = &mut pull.estimate {
            estimate.layers = Vec::new();
        }
    }
    if let Some(estimate) = &mut outcome.estimate {
        lost |= !estimate.layers.is_empty();
        estimate.layers = Vec::new();
    }
    if let Some(prune) = &mut outcome.prune {
        lost |= !prune.kept.is_empty();
        prune.kept = Vec::new();
    }
    if lost {
        outcome.warnings.push(NOTE.to_owned());
    }
    outcome
}
