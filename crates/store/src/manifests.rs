//! Manifests and configs as the registry sent them, at hand without asking again. Content-addressed: never stale.

use layerkeeper_core::Digest;
use rusqlite::OptionalExtension;

use crate::column::signed;
use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// Keeps a document under its digest; the oldest make room (`Options::max_manifests`, `max_manifest_bytes`). The
    /// caller has checked that the digest fits. One that alone would take a quarter of the room is not kept.
    pub async fn save_manifest(&self, digest: Digest, json: String) -> Result<(), StoreError> {
        let (count, bytes) = (self.options().max_manifests, self.options().max_manifest_bytes);
        if json.len() as u64 > bytes / 4 {
            return Ok(());
        }
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO manifests (digest, bytes, json) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING",
                )?
                .execute((digest.to_string(), signed(json.len() as u64), json))?;
            connection
                .prepare_cached(
                    "DELETE FROM manifests WHERE seq IN
                         (SELECT seq FROM (SELECT seq, row_number() OVER newest AS n, sum(bytes) OVER newest AS total
                                           FROM manifests WINDOW newest AS (ORDER BY seq DESC))
                          WHERE n > ?1 OR total > ?2)",
                )?
                .execute((signed(count), signed(bytes)))?;
            Ok(())
        })
        .await
    }

    /// The document with this digest, if it is still at hand.
    pub async fn manifest(&self, digest: Digest) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT json FROM manifests WHERE digest = ?1")?;
            Ok(statement.query_row([digest.to_string()], |row| row.get(0)).optional()?)
        })
        .await
    }
}
