//! How much of a layer's content stands in other images, as it was measured.

use layerkeeper_core::{Bytes, DiffId, Timestamp};
use rusqlite::Row;

use crate::column::{number, parsed, signed};
use crate::error::StoreError;
use crate::store::Store;

/// A layer against another image. Where nothing is repeated, or nothing could be said, all is zero: that is the newest word on
/// its instruction all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The layer's content.
    pub layer: DiffId,
    /// The other image, by its name.
    pub image: String,
    /// The repository of the image whose layer it is.
    pub repository: String,
    /// What made the layer, as `layerkeeper_core::instruction::alike` puts it.
    pub created_by: Option<String>,
    /// Bytes in the layer's files.
    pub total: Bytes,
    /// Bytes in those that the other image has, too.
    pub repeated: Bytes,
    /// The layer's files.
    pub files: u64,
    /// Those that the other image has, too.
    pub repeated_files: u64,
}

impl Store {
    /// Takes down what was measured of a layer; once more, it is measured anew.
    pub async fn record_repeats(&self, measured: Vec<Repeated>, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT OR REPLACE INTO repeats
                     (diff_id, image, repository, created_by, total, repeated, files, repeated_files, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            for one in &measured {
                statement.execute((
                    one.layer.to_string(),
                    &one.image,
                    &one.repository,
                    &one.created_by,
                    signed(one.total.0),
                    signed(one.repeated.0),
                    signed(one.files),
                    signed(one.repeated_files),
                    now.0,
                ))?;
            }
            Ok(())
        })
        .await
    }

    /// What was measured of this very layer; where nothing was, of the last one that the same instruction made for the same
    /// repository. Those that repeat most come first.
    pub async fn repeats(
        &self,
        layer: DiffId,
        repository: String,
        created_by: Option<String>,
    ) -> Result<Vec<Repeated>, StoreError> {
        self.read(move |connection| {
            let mut exact =
                connection.prepare_cached("SELECT * FROM repeats WHERE diff_id = ?1 ORDER BY repeated DESC, image")?;
            let found = exact.query_map([layer.to_string()], repeated)?.collect::<rusqlite::Result<Vec<_>>>()?;
            if !found.is_empty() || created_by.is_none() {
                return Ok(found);
            }
            let mut alike = connection.prepare_cached(
                "SELECT * FROM repeats WHERE diff_id = (
                     SELECT diff_id FROM repeats WHERE repository = ?1 AND created_by = ?2 ORDER BY at DESC LIMIT 1)
                 ORDER BY repeated DESC, image",
            )?;
            let rows = alike.query_map((repository, created_by), repeated)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

fn repeated(row: &Row<'_>) -> rusqlite::Result<Repeated> {
    Ok(Repeated {
        layer: parsed(row, "diff_id")?,
        image: row.get("image")?,
        repository: row.get("repository")?,
        created_by: row.get("created_by")?,
        total: Bytes(number(row, "total")?),
        repeated: Bytes(number(row, "repeated")?),
        files: number(row, "files")?,
        repeated_files: number(row, "repeated_files")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    fn measured(layer: &str, image: &str, repeated: u64) -> Repeated {
        Repeated {
            layer: DiffId::of(layer.as_bytes()),
            image: image.to_owned(),
            repository: "r/app".to_owned(),
            created_by: Some("COPY --from=python /opt/venv /opt/venv".to_owned()),
            total: Bytes(100),
            repeated: Bytes(repeated),
            files: 3,
            repeated_files: 2,
        }
    }

    #[tokio::test]
    async fn a_layer_is_known_by_itself_or_by_the_last_one_of_its_instruction() {
        let store = store();
        let (python, node) = (measured("old", "r/python:1", 90), measured("old", "r/node:1", 95));
        store.record_repeats(vec![python.clone(), node.clone()], Timestamp(1)).await.unwrap();
        store.record_repeats(vec![measured("new", "r/python:1", 80)], Timestamp(2)).await.unwrap();
        let ask = async |layer: &str, repository: &str, created_by: &Option<String>| {
            let layer = DiffId::of(layer.as_bytes());
            store.repeats(layer, repository.to_owned(), created_by.clone()).await.unwrap()
        };
        let instruction = python.created_by.clone();
        assert_eq!(ask("old", "r/app", &instruction).await, [node, python], "the very layer, the most first");
        assert_eq!(ask("next", "r/app", &instruction).await, [measured("new", "r/python:1", 80)]);
        assert_eq!(ask("next", "r/other", &instruction).await, [], "another repository");
        assert_eq!(ask("next", "r/app", &Some("COPY . /app".to_owned())).await, []);
        assert_eq!(ask("next", "r/app", &None).await, []);
    }
}
