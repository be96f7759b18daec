//! Which blob brought which layer to which engine.

use layerkeeper_core::layers::{LayerRecord, Origin};
use layerkeeper_core::{Bytes, Timestamp};
use rusqlite::Row;

use crate::column::{number, parsed, signed, unreadable};
use crate::engine::engine_row;
use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// Takes down layers of one engine. A layer under the same blob and chain is one record; of its origins the
    /// strongest stays: downloaded, then by manifest, then reused.
    pub async fn record_layers(
        &self,
        instance: &str,
        records: Vec<LayerRecord>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let instance = instance.to_owned();
        self.write(move |connection| {
            let engine = engine_row(connection, &instance, now)?;
            let mut statement = connection.prepare_cached(
                "INSERT INTO layers (engine, blob, chain, diff_id, size, origin, seen)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (engine, blob, chain) DO UPDATE SET seen = excluded.seen, size = excluded.size,
                     origin = CASE WHEN 'downloaded' IN (origin, excluded.origin) THEN 'downloaded'
                                   WHEN 'manifest' IN (origin, excluded.origin) THEN 'manifest'
                                   ELSE 'reused' END",
            )?;
            for record in &records {
                statement.execute((
                    engine,
                    record.blob.to_string(),
                    record.chain.to_string(),
                    record.diff_id.to_string(),
                    signed(record.size.0),
                    word(record.origin),
                    now.0,
                ))?;
            }
            Ok(())
        })
        .await
    }

    /// Everything recorded for this engine.
    pub async fn layer_records(&self, instance: &str) -> Result<Vec<LayerRecord>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT layers.* FROM layers JOIN engines ON engines.id = layers.engine
                 WHERE instance = ?1 ORDER BY blob, chain",
            )?;
            let rows = statement.query_map([instance], record)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<LayerRecord> {
    let origin: String = row.get("origin")?;
    Ok(LayerRecord {
        chain: parsed(row, "chain")?,
        diff_id: parsed(row, "diff_id")?,
        blob: parsed(row, "blob")?,
        size: Bytes(number(row, "size")?),
        origin: [Origin::Downloaded, Origin::Reused, Origin::Manifest]
            .into_iter()
            .find(|known| word(*known) == origin)
            .ok_or_else(|| unreadable("origin", &origin))?,
    })
}

fn word(origin: Origin) -> &'static str {
    match origin {
        Origin::Downloaded => "downloaded",
        Origin::Reused => "reused",
        Origin::Manifest => "manifest",
    }
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::{ChainId, DiffId, Digest};

    use super::*;
    use crate::testing::{ENGINE, store};

    fn layer(content: &str, origin: Origin) -> LayerRecord {
        let diff_id = DiffId::of(content.as_bytes());
        let blob = Digest::of(content.as_bytes());
        LayerRecord { chain: ChainId::stacked(None, diff_id), diff_id, blob, size: Bytes(7), origin }
    }

    #[tokio::test]
    async fn the_strongest_origin_stays() {
        for (first, second, kept) in [
            (Origin::Downloaded, Origin::Reused, Origin::Downloaded),
            (Origin::Reused, Origin::Downloaded, Origin::Downloaded),
            (Origin::Manifest, Origin::Reused, Origin::Manifest),
            (Origin::Reused, Origin::Manifest, Origin::Manifest),
            (Origin::Manifest, Origin::Downloaded, Origin::Downloaded),
            (Origin::Reused, Origin::Reused, Origin::Reused),
        ] {
            let store = store();
            store.record_layers(ENGINE, vec![layer("a", first), layer("b", first)], Timestamp(1)).await.unwrap();
            store.record_layers(ENGINE, vec![layer("a", second)], Timestamp(2)).await.unwrap();
            let records = store.layer_records(ENGINE).await.unwrap();
            assert_eq!(records.len(), 2);
            assert!(records.contains(&layer("a", kept)), "{first:?} then {second:?}: {records:?}");
            assert!(records.contains(&layer("b", first)));
            assert_eq!(store.layer_records("other/overlay2").await.unwrap(), []);
        }
    }
}
