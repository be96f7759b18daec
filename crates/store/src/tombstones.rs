//! Images that are not to be brought back.

use layerkeeper_core::{ImageName, Timestamp};

use crate::column::{parsed, time};
use crate::error::StoreError;
use crate::store::Store;

/// An image that was removed on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Which.
    pub image: ImageName,
    /// Who removed it: `layerkeeper`, or a person by uid.
    pub who: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// Heals no more of this image, until it is lifted.
    pub async fn bury(&self, tombstone: Tombstone) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO tombstones (image, who, reason, at) VALUES (?1, ?2, ?3, ?4)")?
                .execute((tombstone.image.to_string(), tombstone.who, tombstone.reason, tombstone.at.0))?;
            Ok(())
        })
        .await
    }

    /// The image may be healed again; true when it could not before.
    pub async fn lift(&self, image: &ImageName) -> Result<bool, StoreError> {
        let image = image.to_string();
        self.write(move |connection| {
            Ok(connection.prepare_cached("DELETE FROM tombstones WHERE image = ?1")?.execute([image])? > 0)
        })
        .await
    }

    /// All of them, by name.
    pub async fn tombstones(&self) -> Result<Vec<Tombstone>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM tombstones ORDER BY image")?;
            let rows = statement.query_map([], |row| {
                Ok(Tombstone {
                    image: parsed(row, "image")?,
                    who: row.get("who")?,
                    reason: row.get("reason")?,
                    at: time(row, "at")?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
