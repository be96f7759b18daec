//! What each name on an engine stood for, and since when: the record of every change that a look saw.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use layerkeeper_core::job::JobId;
use layerkeeper_core::{DiffId, Digest, ImageId, Timestamp};
use rusqlite::{Connection, Row};

use crate::column::{maybe_parsed, number, signed, time, unreadable};
use crate::engine::engine_row;
use crate::error::{Fault, StoreError};
use crate::store::Store;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The engine's id of the image.
    pub image: ImageId,
    /// Its digest in the name's repository; none for what was made on this host.
    pub digest: Option<Digest>,
}

/// A name that came, moved or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `repository:tag`, or `repository@digest` of an image without a tag.
    pub name: String,
    /// What it stands for from then on; none: it is gone.
    pub to: Option<Standing>,
}

/// A change as it was taken down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    /// Its place in the record.
    pub seq: u64,
    /// When it was seen.
    pub at: Timestamp,
    /// What changed.
    pub change: Change,
    /// Uncompressed layers of what the name stands for since, bottom first; none where it is gone.
    pub layers: Vec<DiffId>,
    /// A job of ours that ran when it was seen, and may have done it.
    pub job: Option<JobId>,
}

/// Which changes to list, newest first; the default is the newest 50 of all names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeFilter {
    /// How many at most; never more than 1,000.
    pub limit: usize,
    /// Only of this name.
    pub name: Option<String>,
    /// Only what was seen at or before this instant.
    pub until: Option<Timestamp>,
}

/// When a layer was last here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastHeld {
    /// The name of the image that held it last.
    pub name: String,
    /// When that was seen to be gone or moved.
    pub gone: Timestamp,
}

const MOST: usize = 1000;

/// The line after the one that names an image, of the same name, is where it went.
const WENT: &str = "SELECT name, (SELECT min(later.at) FROM changes AS later
                   WHERE later.engine = held.engine AND later.name = held.name AND later.seq > held.seq) AS gone
     FROM changes AS held JOIN engines ON engines.id = held.engine
     WHERE instance = ?1 AND image_id = ?2 AND gone IS NOT NULL
     ORDER BY gone DESC, name LIMIT 1";

impl Default for ChangeFilter {
    fn default() -> Self {
        Self { limit: 50, name: None, until: None }
    }
}

impl Store {
    /// Takes down changes that one look saw, with the layers of the images that are new.
    pub async fn record_changes(
        &self,
        instance: &str,
        changes: Vec<Change>,
        stacks: Vec<(ImageId, Vec<DiffId>)>,
        job: Option<JobId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let instance = instance.to_owned();
        self.write(move |connection| {
            let engine = engine_row(connection, &instance, now)?;
            let mut stack = connection.prepare_cached(
                "INSERT INTO stacks (engine, image_id, layers) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?;
            for (image, layers) in &stacks {
                let bytes: Vec<u8> = layers.iter().flat_map(|layer| layer.as_bytes().to_vec()).collect();
                stack.execute((engine, image.to_string(), bytes))?;
            }
            let mut change = connection.prepare_cached(
                "INSERT INTO changes (engine, at, name, image_id, digest, job) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for Change { name, to } in &changes {
                let id = to.as_ref().map(|to| to.image.to_string());
                let digest = to.as_ref().and_then(|to| to.digest).map(|digest| digest.to_string());
                change.execute((engine, now.0, name, id, digest, job.as_ref().map(JobId::as_str)))?;
            }
            Ok(())
        })
        .await
    }

    /// What every name on this engine stood for when it was last seen.
    pub async fn standing(&self, instance: &str) -> Result<BTreeMap<String, Standing>, StoreError> {
        let rows = self.names_at(instance, Timestamp(i64::MAX)).await?;
        Ok(rows.into_iter().filter_map(|row| Some((row.change.name, row.change.to?))).collect())
    }

    /// Every name that stood on this engine at an instant, with what it stood for and since when; by name.
    pub async fn names_at(&self, instance: &str, at: Timestamp) -> Result<Vec<ChangeRow>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT changes.*, layers FROM changes
                 LEFT JOIN stacks ON stacks.engine = changes.engine AND stacks.image_id = changes.image_id
                 WHERE seq IN (SELECT max(seq) FROM changes JOIN engines ON engines.id = engine
                               WHERE instance = ?1 AND at <= ?2 GROUP BY name)
                   AND changes.image_id IS NOT NULL
                 ORDER BY name",
            )?;
            let rows = statement.query_map((instance, at.0), change_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The record, newest first.
    pub async fn changes(&self, instance: &str, filter: ChangeFilter) -> Result<Vec<ChangeRow>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT changes.*, layers FROM changes JOIN engines ON engines.id = changes.engine
                 LEFT JOIN stacks ON stacks.engine = changes.engine AND stacks.image_id = changes.image_id
                 WHERE instance = ?1 AND (?2 IS NULL OR name = ?2) AND (?3 IS NULL OR at <= ?3)
                 ORDER BY seq DESC LIMIT ?4",
            )?;
            let limit = signed(filter.limit.min(MOST) as u64);
            let params = (instance, filter.name, filter.until.map(|at| at.0), limit);
            let rows = statement.query_map(params, change_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Where and until when these layers were last here, of those that were.
    pub async fn last_held(
        &self,
        instance: &str,
        layers: HashSet<DiffId>,
    ) -> Result<HashMap<DiffId, LastHeld>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| last_held(connection, &instance, &layers)).await
    }
}

/// Each image that has one of the layers, and the change by which its name went; the last one counts.
fn last_held(
    connection: &Connection,
    instance: &str,
    layers: &HashSet<DiffId>,
) -> Result<HashMap<DiffId, LastHeld>, Fault> {
    let mut stacks = connection.prepare_cached(
        "SELECT image_id, layers FROM stacks JOIN engines ON engines.id = stacks.engine WHERE instance = ?1",
    )?;
    let rows = stacks.query_map([instance], |row| Ok((row.get::<_, String>("image_id")?, stack(row)?)))?;
    let mut went = connection.prepare_cached(WENT)?;
    let mut held: HashMap<DiffId, LastHeld> = HashMap::new();
    for row in rows {
        let (image, stack) = row?;
        let mut wanted = stack.iter().filter(|layer| layers.contains(layer)).peekable();
        if wanted.peek().is_none() {
            continue;
        }
        let last =
            went.query_map((instance, image), |row| Ok(LastHeld { name: row.get("name")?, gone: time(row, "gone")? }))?;
        let Some(last) = last.collect::<rusqlite::Result<Vec<_>>>()?.pop() else { continue };
        for layer in wanted {
            if held.get(layer).is_none_or(|known| known.gone < last.gone) {
                held.insert(*layer, last.clone());
            }
        }
    }
    Ok(held)
}

fn change_row(row: &Row<'_>) -> rusqlite::Result<ChangeRow> {
    let image: Option<ImageId> = maybe_parsed(row, "image_id")?;
    let digest = maybe_parsed(row, "digest")?;
    Ok(ChangeRow {
        seq: number(row, "seq")?,
        at: time(row, "at")?,
        change: Change { name: row.get("name")?, to: image.map(|image| Standing { image, digest }) },
        layers: stack(row)?,
        job: maybe_parsed(row, "job")?,
    })
}

fn stack(row: &Row<'_>) -> rusqlite::Result<Vec<DiffId>> {
    let bytes: Option<Vec<u8>> = row.get("layers")?;
    let bytes = bytes.unwrap_or_default();
    let layers = bytes.chunks(32).map(|chunk| {
        let digest: [u8; 32] = chunk.try_into().map_err(|_| unreadable("layers", "a broken digest"))?;
        Ok(DiffId::from_bytes(digest))
    });
    layers.collect()
}
