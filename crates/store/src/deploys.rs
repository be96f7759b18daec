//! Deploys that succeeded. Their numbers come from the one sequence that also numbers first sightings, so "newest" is
//! never a matter of clocks.

use layerkeeper_core::job::JobId;
use layerkeeper_core::{Digest, ImageId, ImageName, Repository, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::column::{number, parsed, signed, time};
use crate::engine::engine_row;
use crate::error::{Fault, StoreError};
use crate::store::Store;

/// A deploy that has just succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployRow {
    /// The engine instance that holds it (`EngineInfo::instance`).
    pub instance: String,
    /// The tag.
    pub name: ImageName,
    /// What the registry calls it.
    pub digest: Digest,
    /// The platform's own manifest, where the digest is known to be an index.
    pub manifest: Option<Digest>,
    /// What the engine calls it.
    pub image_id: ImageId,
}

/// A deploy in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// Its place: the highest is the newest.
    pub seq: u64,
    /// The tag.
    pub name: ImageName,
    /// What the registry calls it.
    pub digest: Digest,
    /// What the engine called it.
    pub image_id: ImageId,
    /// The job that did it; it may have left the history.
    pub job: JobId,
    /// When it succeeded.
    pub at: Timestamp,
}

impl Store {
    /// A deploy's image is here, verified and named: it gets its number, once. A job that runs these steps again after
    /// a crash gets the number that it has. The name counts as seen from now on, and a tombstone on it is lifted.
    pub async fn record_deploy(&self, id: &JobId, deploy: DeployRow, now: Timestamp) -> Result<u64, StoreError> {
        let id = id.clone();
        self.write(move |connection| {
            let before: Option<u64> = connection
                .prepare_cached("SELECT seq FROM deploys WHERE job = ?1")?
                .query_row([id.as_str()], |row| number(row, "seq"))
                .optional()?;
            if let Some(seq) = before {
                return Ok(seq);
            }
            let engine = engine_row(connection, &deploy.instance, now)?;
            let seq = next_in_sequence(connection)?;
            let image = deploy.name.to_string();
            connection
                .prepare_cached(
                    "INSERT INTO deploys (seq, engine, image, repository, digest, manifest, image_id, job, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute((
                    signed(seq),
                    engine,
                    &image,
                    deploy.name.repository.to_string(),
                    deploy.digest.to_string(),
                    deploy.manifest.map(|manifest| manifest.to_string()),
                    deploy.image_id.to_string(),
                    id.as_str(),
                    now.0,
                ))?;
            connection
                .prepare_cached(
                    "INSERT INTO names (engine, image, sighting, first_seen, image_id) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (engine, image)
                     DO UPDATE SET first_seen = excluded.first_seen, image_id = excluded.image_id, gone = NULL
                     WHERE gone IS NOT NULL OR image_id IS NOT excluded.image_id",
                )?
                .execute((engine, &image, signed(seq), now.0, deploy.image_id.to_string()))?;
            connection.prepare_cached("UPDATE engines SET deployed_at = ?2 WHERE id = ?1")?.execute((engine, now.0))?;
            connection.prepare_cached("DELETE FROM tombstones WHERE image = ?1")?.execute([&image])?;
            Ok(seq)
        })
        .await
    }

    /// The digests under which this tag's deploys brought what the registry knows by `asked`: an index, where it is the
    /// platform's manifest inside it. The newest first.
    pub async fn deployed_as(&self, name: &ImageName, asked: Digest) -> Result<Vec<Digest>, StoreError> {
        let name = name.to_string();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT digest FROM deploys WHERE image = ?1 AND (digest = ?2 OR manifest = ?2) ORDER BY seq DESC LIMIT 8",
            )?;
            let rows = statement.query_map((name, asked.to_string()), |row| parsed(row, "digest"))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The number of the deploy that this job did, if it got so far.
    pub async fn deploy_of(&self, id: &JobId) -> Result<Option<u64>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT seq FROM deploys WHERE job = ?1")?;
            Ok(statement.query_row([id.as_str()], |row| number(row, "seq")).optional()?)
        })
        .await
    }

    /// Has a deploy ever succeeded on this engine instance?
    pub async fn has_deployed_on(&self, instance: &str) -> Result<bool, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| {
            let sql = "SELECT 1 FROM engines WHERE instance = ?1 AND deployed_at IS NOT NULL";
            Ok(connection.prepare_cached(sql)?.exists([instance])?)
        })
        .await
    }

    /// The deploys of a repository on any engine, newest first.
    pub async fn deploys(&self, repository: &Repository, limit: usize) -> Result<Vec<Deployed>, StoreError> {
        let repository = repository.to_string();
        self.read(move |connection| {
            let sql = "SELECT * FROM deploys WHERE repository = ?1 ORDER BY seq DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map((repository, signed(limit as u64)), deployed)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

/// The next number of the one sequence.
pub(crate) fn next_in_sequence(connection: &Connection) -> Result<u64, Fault> {
    let mut statement = connection.prepare_cached("UPDATE sequence SET last = last + 1 RETURNING last")?;
    Ok(statement.query_row([], |row| number(row, "last"))?)
}

fn deployed(row: &Row<'_>) -> rusqlite::Result<Deployed> {
    Ok(Deployed {
        seq: number(row, "seq")?,
        name: parsed(row, "image")?,
        digest: parsed(row, "digest")?,
        image_id: parsed(row, "image_id")?,
        job: parsed(row, "job")?,
        at: time(row, "at")?,
    })
}
