//! Which quarters of a kept image with `{quarter}` in its tag this host is at.

use layerkeeper_core::{Quarters, Template};

use crate::column::{maybe_parsed, parsed};
use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// Replaces what is known of a series.
    pub async fn save_quarters(&self, template: &Template, at: Quarters) -> Result<(), StoreError> {
        let template = template.to_string();
        self.write(move |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO quarters (template, wanted, current) VALUES (?1, ?2, ?3)")?
                .execute((template, at.wanted.map(|q| q.to_string()), at.current.map(|q| q.to_string())))?;
            Ok(())
        })
        .await
    }

    /// All that is known of series; also of such as the configuration no longer has.
    pub async fn quarters(&self) -> Result<Vec<(Template, Quarters)>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM quarters ORDER BY template")?;
            let rows = statement.query_map([], |row| {
                let at = Quarters { wanted: maybe_parsed(row, "wanted")?, current: maybe_parsed(row, "current")? };
                Ok((parsed(row, "template")?, at))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    #[tokio::test]
    async fn the_quarters_of_a_series_are_replaced_whole() {
        let store = store();
        let template: Template = "acme/app:c-{quarter}".parse().unwrap();
        let quarter = |text: &str| text.parse().ok();
        for at in [
            Quarters { wanted: quarter("2026q4"), current: quarter("2026q3") },
            Quarters { wanted: None, current: quarter("2026q4") },
        ] {
            store.save_quarters(&template, at).await.unwrap();
            assert_eq!(store.quarters().await.unwrap(), [(template.clone(), at)]);
        }
    }
}
