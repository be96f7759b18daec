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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    #[tokio::test]
    async fn manifests_stay_within_count_and_bytes() {
        let options = Options { max_manifests: 3, max_manifest_bytes: 100, ..Options::default() };
        let store = Store::open_in_memory(options).unwrap();
        let digest = |n: u8| Digest::of(&[n]);
        let here = async || -> Vec<u8> {
            let mut here = Vec::new();
            for n in 1..=9 {
                if store.manifest(digest(n)).await.unwrap().is_some() {
                    here.push(n);
                }
            }
            here
        };
        for n in 1..=4 {
            store.save_manifest(digest(n), format!("{{\"n\":{n}}}")).await.unwrap();
        }
        assert_eq!(store.manifest(digest(4)).await.unwrap().as_deref(), Some("{\"n\":4}"));
        assert_eq!(here().await, [2, 3, 4]);
        store.save_manifest(digest(2), "again".to_owned()).await.unwrap();
        assert_eq!(store.manifest(digest(2)).await.unwrap().as_deref(), Some("{\"n\":2}"));
        store.save_manifest(digest(5), "x".repeat(26)).await.unwrap();
        assert_eq!(here().await, [2, 3, 4], "more than a quarter of the room");
        let large = Options { max_manifest_bytes: 60, ..store.options().clone() };
        let store = Store::open_in_memory(large).unwrap();
        for n in 1..=5 {
            store.save_manifest(digest(n), "x".repeat(15)).await.unwrap();
        }
        assert_eq!(store.manifest(digest(2)).await.unwrap(), None);
        assert!(store.manifest(digest(3)).await.unwrap().is_some());
    }
}
