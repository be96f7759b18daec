//! Names whose content came from a mirror while their registry was away.

use layerkeeper_core::{DiffId, Digest, Image, ImageId, ImageName, JobId, Reference, Timestamp};
use rusqlite::Row;

use crate::column::{parsed, time, unreadable};
use crate::error::StoreError;
use crate::store::Store;

/// By what a name stands for a digest that the engine never heard of from the name's own registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The name, as a local tag.
    pub name: ImageName,
    /// What it stands for: the engine verified the content against it, under another name.
    pub digest: Digest,
    /// What the engine calls the image.
    pub image_id: ImageId,
    /// Its layers, bottom first.
    pub layers: Vec<DiffId>,
    /// The name under which it was pulled.
    pub alias: Reference,
    /// Where its bytes came from: `mirror.lan:5000`.
    pub source: String,
    /// Which job brought it.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
}

impl Provenance {
    /// Is this the image, by what the engine shows of its content?
    pub fn is_of(&self, image: &Image) -> bool {
        image.id == self.image_id && image.layers == self.layers
    }
}

impl Store {
    /// Takes down where a name's content came from; replaces what was known of the name with this digest.
    pub async fn save_provenance(&self, provenance: Provenance) -> Result<(), StoreError> {
        self.write(move |connection| {
            let layers: Vec<String> = provenance.layers.iter().map(ToString::to_string).collect();
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO provenance (name, digest, image_id, layers, alias, source, job, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute((
                    provenance.name.to_string(),
                    provenance.digest.to_string(),
                    provenance.image_id.to_string(),
                    layers.join(" "),
                    provenance.alias.to_string(),
                    &provenance.source,
                    provenance.job.as_str(),
                    provenance.at.0,
                ))?;
            Ok(())
        })
        .await
    }

    /// All of them, by name and digest.
    pub async fn provenance(&self) -> Result<Vec<Provenance>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM provenance ORDER BY name, digest")?;
            let rows = statement.query_map([], provenance)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The engine knows it by its registry's own word now, or the name is gone or stands for something else.
    pub async fn forget_provenance(&self, name: &ImageName, digest: Digest) -> Result<(), StoreError> {
        let key = [name.to_string(), digest.to_string()];
        self.write(move |connection| {
            connection.prepare_cached("DELETE FROM provenance WHERE name = ?1 AND digest = ?2")?.execute(key)?;
            Ok(())
        })
        .await
    }
}

fn provenance(row: &Row<'_>) -> rusqlite::Result<Provenance> {
    let layers: String = row.get("layers")?;
    let layers = layers.split_whitespace().map(|layer| layer.parse().map_err(|_| unreadable("layers", layer)));
    Ok(Provenance {
        name: parsed(row, "name")?,
        digest: parsed(row, "digest")?,
        image_id: parsed(row, "image_id")?,
        layers: layers.collect::<rusqlite::Result<_>>()?,
        alias: parsed(row, "alias")?,
        source: row.get("source")?,
        job: parsed(row, "job")?,
        at: time(row, "at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    #[tokio::test]
    async fn a_name_has_one_provenance_for_each_digest_until_it_is_forgotten() {
        let store = store();
        let digest = |text: &str| Digest::of(text.as_bytes());
        let layer = |text: &str| digest(text).to_string().parse::<DiffId>().unwrap();
        let of = |content: &str, layers: Vec<DiffId>| Provenance {
            name: "ghcr.io/acme/app:sha-1".parse().unwrap(),
            digest: digest(content),
            image_id: digest("id").to_string().parse().unwrap(),
            layers,
            alias: format!("127.0.0.1:40000/acme/app@{}", digest(content)).parse().unwrap(),
            source: "mirror.lan:5000".to_owned(),
            job: JobId::from_bits([7; 16]),
            at: Timestamp(5),
        };
        let (first, second) = (of("a", vec![layer("one"), layer("two")]), of("b", Vec::new()));
        let anew = Provenance { source: "other.lan:5000".to_owned(), ..first.clone() };
        for one in [first, second.clone(), anew.clone()] {
            store.save_provenance(one).await.unwrap();
        }
        let mut all = store.provenance().await.unwrap();
        all.sort_by_key(|record| record.at);
        assert!(all.len() == 2 && all.contains(&anew) && all.contains(&second), "{all:?}");
        store.forget_provenance(&second.name, second.digest).await.unwrap();
        assert_eq!(store.provenance().await.unwrap(), [anew]);
    }
}
