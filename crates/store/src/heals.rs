//! What was brought back, and what would be.

use layerkeeper_core::{Digest, ImageName, Timestamp};

use crate::column::{maybe_parsed, parsed, time};
use crate::engine::engine_row;
use crate::error::StoreError;
use crate::store::Store;

/// An image that somebody removed and that was brought back, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heal {
    /// Which.
    pub image: ImageName,
    /// When the loss was seen.
    pub at: Timestamp,
    /// A stable word: how it was lost, such as `prune`, `untag`, `store flip`.
    pub cause: String,
    /// Who did it, where that is known.
    pub by: Option<String>,
}

/// A tag that the last plan kept: it is brought back when somebody else removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restorable {
    /// Which.
    pub image: ImageName,
    /// What it had.
    pub digest: Option<Digest>,
}

impl Store {
    /// Takes down a loss.
    pub async fn record_heal(&self, heal: Heal) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached("INSERT INTO heals (image, at, cause, by) VALUES (?1, ?2, ?3, ?4)")?
                .execute((heal.image.to_string(), heal.at.0, heal.cause, heal.by))?;
            Ok(())
        })
        .await
    }

    /// The losses from `since` on, oldest first.
    pub async fn heals_since(&self, since: Timestamp) -> Result<Vec<Heal>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM heals WHERE at >= ?1 ORDER BY at, seq")?;
            let rows = statement.query_map([since.0], |row| {
                Ok(Heal {
                    image: parsed(row, "image")?,
                    at: time(row, "at")?,
                    cause: row.get("cause")?,
                    by: row.get("by")?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Replaces what the last plan kept on this engine.
    pub async fn save_restorable(
        &self,
        instance: &str,
        images: Vec<Restorable>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let instance = instance.to_owned();
        self.write(move |connection| {
            let engine = engine_row(connection, &instance, now)?;
            connection.prepare_cached("DELETE FROM restorable WHERE engine = ?1")?.execute([engine])?;
            let sql = "INSERT OR REPLACE INTO restorable (engine, image, digest) VALUES (?1, ?2, ?3)";
            let mut statement = connection.prepare_cached(sql)?;
            for restorable in images {
                let digest = restorable.digest.map(|digest| digest.to_string());
                statement.execute((engine, restorable.image.to_string(), digest))?;
            }
            Ok(())
        })
        .await
    }

    /// What the last plan kept on this engine, by name.
    pub async fn restorable(&self, instance: &str) -> Result<Vec<Restorable>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT image, digest FROM restorable JOIN engines ON engines.id = engine
                 WHERE instance = ?1 ORDER BY image",
            )?;
            let rows = statement.query_map([instance], |row| {
                Ok(Restorable { image: parsed(row, "image")?, digest: maybe_parsed(row, "digest")? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ENGINE, name, store};

    #[tokio::test]
    async fn losses_are_counted_from_an_instant_on() {
        let store = store();
        let heal = |at| Heal {
            image: name("base:1"),
            at: Timestamp(at),
            cause: "prune".to_owned(),
            by: (at == 3).then(|| "uid 0".to_owned()),
        };
        for at in [3, 1, 2] {
            store.record_heal(heal(at)).await.unwrap();
        }
        assert_eq!(store.heals_since(Timestamp(2)).await.unwrap(), [heal(2), heal(3)]);
    }

    #[tokio::test]
    async fn the_last_plan_replaces_the_one_before() {
        let store = store();
        let kept = |image, digest: Option<&[u8]>| Restorable { image: name(image), digest: digest.map(Digest::of) };
        store.save_restorable(ENGINE, vec![kept("a:1", None), kept("a:2", Some(b"d"))], Timestamp(1)).await.unwrap();
        store.save_restorable(ENGINE, vec![kept("a:2", Some(b"d")), kept("a:3", None)], Timestamp(2)).await.unwrap();
        assert_eq!(store.restorable(ENGINE).await.unwrap(), [kept("a:2", Some(b"d")), kept("a:3", None)]);
    }
}
