//! Names that layerkeeper made itself, and digests that its pulls superseded: beside old tags the only things that it
//! may ever untag.

use layerkeeper_core::job::JobId;
use layerkeeper_core::plan::{MadeName, SupersededDigest};
use layerkeeper_core::{Bytes, Digest, ImageId, ImageName, Reference, Repository, Timestamp};
use rusqlite::Row;

use crate::column::{number, parsed, signed, time, unreadable};
use crate::engine::engine_row;
use crate::error::StoreError;
use crate::store::Store;

/// Why a name was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MadeFor {
    /// A name under which bytes were moved faster, such as one on a loopback registry.
    TransferAlias,
    /// A `repository@digest` row of a pull by digest.
    ByDigest,
}

/// A name that layerkeeper made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The name.
    pub reference: Reference,
    /// Why.
    pub purpose: MadeFor,
    /// Which job made it.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
}

/// A digest that a kept or runtime tag had before a pull of ours moved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    /// Where it was.
    pub repository: Repository,
    /// What it was.
    pub digest: Digest,
    /// The tag that it had.
    pub was: ImageName,
    /// The digest that the tag has since.
    pub successor: Digest,
    /// What the engine calls it.
    pub image_id: ImageId,
    /// What it holds alone, where that is known.
    pub size: Option<Bytes>,
    /// When it was superseded.
    pub at: Timestamp,
    /// The job that moved the tag.
    pub job: JobId,
}

impl From<Made> for MadeName {
    fn from(made: Made) -> Self {
        Self { reference: made.reference, at: made.at }
    }
}

impl From<Superseded> for SupersededDigest {
    fn from(old: Superseded) -> Self {
        Self {
            repository: old.repository,
            digest: old.digest,
            was: old.was,
            successor: old.successor,
            image: old.image_id,
            at: old.at,
        }
    }
}

impl Store {
    /// Takes down a name before it is made: a crash in between leaves a record of nothing, never a name without one.
    pub async fn record_made(
        &self,
        instance: &str,
        reference: Reference,
        purpose: MadeFor,
        job: &JobId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (instance, job) = (instance.to_owned(), job.clone());
        self.write(move |connection| {
            let engine = engine_row(connection, &instance, now)?;
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO made (engine, reference, purpose, job, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((engine, reference.to_string(), word(purpose), job.as_str(), now.0))?;
            Ok(())
        })
        .await
    }

    /// The name is gone from the engine.
    pub async fn forget_made(&self, instance: &str, reference: &Reference) -> Result<(), StoreError> {
        let (instance, reference) = (instance.to_owned(), reference.to_string());
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "DELETE FROM made
                     WHERE engine = (SELECT id FROM engines WHERE instance = ?1) AND reference = ?2",
                )?
                .execute((instance, reference))?;
            Ok(())
        })
        .await
    }

    /// Every name that layerkeeper made on this engine, oldest first.
    pub async fn made(&self, instance: &str) -> Result<Vec<Made>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT made.* FROM made JOIN engines ON engines.id = engine WHERE instance = ?1 ORDER BY at, reference",
            )?;
            let rows = statement.query_map([instance], made)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Takes down a digest whose tag was moved away by our own pull. Once more, it is refreshed.
    pub async fn record_superseded(&self, instance: &str, superseded: Superseded) -> Result<(), StoreError> {
        let instance = instance.to_owned();
        self.write(move |connection| {
            let engine = engine_row(connection, &instance, superseded.at)?;
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO superseded (engine, repository, digest, was, successor, image_id, size, at, job)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute((
                    engine,
                    superseded.repository.to_string(),
                    superseded.digest.to_string(),
                    superseded.was.to_string(),
                    superseded.successor.to_string(),
                    superseded.image_id.to_string(),
                    superseded.size.map(|size| signed(size.0)),
                    superseded.at.0,
                    superseded.job.as_str(),
                ))?;
            Ok(())
        })
        .await
    }

    /// Every superseded digest recorded for this engine, oldest first.
    pub async fn superseded(&self, instance: &str) -> Result<Vec<Superseded>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT superseded.* FROM superseded JOIN engines ON engines.id = engine
                 WHERE instance = ?1 ORDER BY at, repository, digest",
            )?;
            let rows = statement.query_map([instance], superseded)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// A superseded digest is gone from the engine (`was` none), or this tag has it again.
    pub async fn superseded_gone(
        &self,
        instance: &str,
        repository: &Repository,
        digest: Digest,
        was: Option<&ImageName>,
    ) -> Result<(), StoreError> {
        let (instance, repository) = (instance.to_owned(), repository.to_string());
        let was = was.map(ToString::to_string);
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "DELETE FROM superseded WHERE engine = (SELECT id FROM engines WHERE instance = ?1)
                         AND repository = ?2 AND digest = ?3 AND (?4 IS NULL OR was = ?4)",
                )?
                .execute((instance, repository, digest.to_string(), was))?;
            Ok(())
        })
        .await
    }
}

fn made(row: &Row<'_>) -> rusqlite::Result<Made> {
    let purpose: String = row.get("purpose")?;
    Ok(Made {
        reference: parsed(row, "reference")?,
        purpose: [MadeFor::TransferAlias, MadeFor::ByDigest]
            .into_iter()
            .find(|known| word(*known) == purpose)
            .ok_or_else(|| unreadable("purpose", &purpose))?,
        job: parsed(row, "job")?,
        at: time(row, "at")?,
    })
}

fn superseded(row: &Row<'_>) -> rusqlite::Result<Superseded> {
    let size = match row.get::<_, Option<i64>>("size")? {
        Some(_) => Some(Bytes(number(row, "size")?)),
        None => None,
    };
    Ok(Superseded {
        repository: parsed(row, "repository")?,
        digest: parsed(row, "digest")?,
        was: parsed(row, "was")?,
        successor: parsed(row, "successor")?,
        image_id: parsed(row, "image_id")?,
        size,
        at: time(row, "at")?,
        job: parsed(row, "job")?,
    })
}

fn word(purpose: MadeFor) -> &'static str {
    match purpose {
        MadeFor::TransferAlias => "transfer-alias",
        MadeFor::ByDigest => "by-digest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ENGINE, id, name, store};

    #[tokio::test]
    async fn made_names_are_known_until_forgotten() {
        let store = store();
        let repository = name("ghcr.io/acme/app:1").repository;
        let reference = repository.by_digest(Digest::of(b"d"));
        let alias = name("127.0.0.1:5555/app:t").to_reference();
        store.record_made(ENGINE, reference.clone(), MadeFor::ByDigest, &id(1), Timestamp(5)).await.unwrap();
        store.record_made(ENGINE, alias.clone(), MadeFor::TransferAlias, &id(1), Timestamp(6)).await.unwrap();
        store.record_made(ENGINE, reference.clone(), MadeFor::ByDigest, &id(2), Timestamp(7)).await.unwrap();
        store.forget_made(ENGINE, &alias).await.unwrap();
        let made = Made { reference: reference.clone(), purpose: MadeFor::ByDigest, job: id(2), at: Timestamp(7) };
        assert_eq!(store.made(ENGINE).await.unwrap(), [made]);
        assert_eq!(store.made("other/overlay2").await.unwrap(), []);
        store.forget_made("other/overlay2", &reference).await.unwrap();
        assert_eq!(store.made(ENGINE).await.unwrap().len(), 1, "another engine's name is another name");
    }

    #[tokio::test]
    async fn superseded_digests_are_listed_until_gone() {
        let store = store();
        let was = name("ghcr.io/acme/base:1");
        let old = |content: &[u8], at, size| Superseded {
            repository: was.repository.clone(),
            digest: Digest::of(content),
            was: was.clone(),
            successor: Digest::of(b"new"),
            image_id: ImageId::of(content),
            size,
            at: Timestamp(at),
            job: id(1),
        };
        let (first, second) = (old(b"1", 5, Some(Bytes(900))), old(b"2", 6, None));
        store.record_superseded(ENGINE, second.clone()).await.unwrap();
        store.record_superseded(ENGINE, first.clone()).await.unwrap();
        assert_eq!(store.superseded(ENGINE).await.unwrap(), [first.clone(), second.clone()]);
        let other = name("ghcr.io/acme/base:2");
        store.superseded_gone(ENGINE, &was.repository, first.digest, Some(&other)).await.unwrap();
        assert_eq!(store.superseded(ENGINE).await.unwrap().len(), 2, "another tag's record is another");
        store.superseded_gone(ENGINE, &was.repository, first.digest, Some(&was)).await.unwrap();
        assert_eq!(store.superseded(ENGINE).await.unwrap(), std::slice::from_ref(&second));
        store.superseded_gone(ENGINE, &was.repository, second.digest, None).await.unwrap();
        assert_eq!(store.superseded(ENGINE).await.unwrap(), []);
    }
}
