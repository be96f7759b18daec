//! What the link to each registry was measured to give.

use layerkeeper_core::Timestamp;
use layerkeeper_core::plan::Link;

use crate::column::{number, time};
use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// What is known of the link to a registry, and since when.
    pub async fn link(&self, registry: &str) -> Result<Option<(Link, Timestamp)>, StoreError> {
        let registry = registry.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM links WHERE registry = ?1")?;
            let mut rows = statement.query_map([registry], |row| {
                let link = Link {
                    one: row.get("one")?,
                    three: row.get("three")?,
                    many: row.get("many")?,
                    connections: usize::try_from(number(row, "connections")?).unwrap_or(usize::MAX),
                };
                Ok((link, time(row, "at")?))
            })?;
            Ok(rows.next().transpose()?)
        })
        .await
    }

    /// Replaces what is known of the link to a registry.
    pub async fn save_link(&self, registry: &str, link: Link, at: Timestamp) -> Result<(), StoreError> {
        let registry = registry.to_owned();
        self.write(move |connection| {
            let connections = i64::try_from(link.connections).unwrap_or(i64::MAX);
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO links (registry, one, three, many, connections, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((registry, link.one, link.three, link.many, connections, at.0))?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    #[tokio::test]
    async fn a_link_is_remembered_by_its_registry() {
        let store = store();
        assert_eq!(store.link("ghcr.io").await.unwrap(), None);
        let slow = Link { one: Some(4e6), three: Some(12e6), many: Some(64e6), connections: 16 };
        for (link, at) in [(Link { one: Some(4e6), ..Link::default() }, 1), (slow, 2)] {
            store.save_link("ghcr.io", link, Timestamp(at)).await.unwrap();
            assert_eq!(store.link("ghcr.io").await.unwrap(), Some((link, Timestamp(at))));
        }
        assert_eq!(store.link("docker.io").await.unwrap(), None);
    }
}
