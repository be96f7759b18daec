//! How each kept image fares.

use layerkeeper_core::expect::fingerprint;
use layerkeeper_core::{Digest, Expect, ImageName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::column::{maybe_parsed, maybe_time, parsed};
use crate::error::StoreError;
use crate::store::Store;

/// What is known of a kept image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptState {
    /// Which.
    pub image: ImageName,
    /// When the registry last answered for it.
    pub last_refresh: Option<Timestamp>,
    /// When it was last known to be here and right.
    pub last_ok: Option<Timestamp>,
    /// What it had then.
    pub digest: Option<Digest>,
    /// A stable word: how it was found, such as `present`, `missing`, `pin_unresolvable`.
    pub finding: String,
    /// The last due instant of its schedule that was handled.
    pub last_scheduled: Option<Timestamp>,
    /// When it is due next.
    pub next_due: Option<Timestamp>,
    /// The last image that its expectations were held to.
    pub checked: Option<Checked>,
}

/// An image that expectations were held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Its digest.
    pub digest: Digest,
    /// The expectations' fingerprint.
    pub fingerprint: Digest,
    /// What was not as expected, each in a sentence; empty where all was.
    pub unmet: Vec<String>,
    /// When that was.
    pub at: Timestamp,
}

/// The same in the database.
#[derive(Serialize, Deserialize)]
struct CheckedText {
    digest: String,
    expect: String,
    unmet: Vec<String>,
    at: i64,
}

impl Checked {
    /// Is it these expectations that it was held to?
    pub fn is_of(&self, expect: &[Expect]) -> bool {
        self.fingerprint == fingerprint(expect)
    }

    fn text(&self) -> String {
        let text = CheckedText {
            digest: self.digest.to_string(),
            expect: self.fingerprint.to_string(),
            unmet: self.unmet.clone(),
            at: self.at.0,
        };
        serde_json::to_string(&text).unwrap_or_default()
    }

    /// What cannot be read was never checked: the image is opened once more.
    fn read(text: &str) -> Option<Self> {
        let text: CheckedText = serde_json::from_str(text).ok()?;
        let (digest, fingerprint) = (text.digest.parse().ok()?, text.expect.parse().ok()?);
        Some(Self { digest, fingerprint, unmet: text.unmet, at: Timestamp(text.at) })
    }
}

impl Store {
    /// Replaces what is known of a kept image.
    pub async fn save_kept(&self, state: KeptState) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO kept
                         (image, last_refresh, last_ok, digest, finding, last_scheduled, next_due, checked)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute((
                    state.image.to_string(),
                    state.last_refresh.map(|at| at.0),
                    state.last_ok.map(|at| at.0),
                    state.digest.map(|digest| digest.to_string()),
                    state.finding,
                    state.last_scheduled.map(|at| at.0),
                    state.next_due.map(|at| at.0),
                    state.checked.as_ref().map(Checked::text),
                ))?;
            Ok(())
        })
        .await
    }

    /// The image is kept no more.
    pub async fn forget_kept(&self, image: &ImageName) -> Result<(), StoreError> {
        let image = image.to_string();
        self.write(move |connection| {
            connection.prepare_cached("DELETE FROM kept WHERE image = ?1")?.execute([image])?;
            Ok(())
        })
        .await
    }

    /// All that is known of kept images, by name; also of such as the configuration no longer has.
    pub async fn kept_states(&self) -> Result<Vec<KeptState>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM kept ORDER BY image")?;
            let rows = statement.query_map([], |row| {
                Ok(KeptState {
                    image: parsed(row, "image")?,
                    last_refresh: maybe_time(row, "last_refresh")?,
                    last_ok: maybe_time(row, "last_ok")?,
                    digest: maybe_parsed(row, "digest")?,
                    finding: row.get("finding")?,
                    last_scheduled: maybe_time(row, "last_scheduled")?,
                    next_due: maybe_time(row, "next_due")?,
                    checked: row.get::<_, Option<String>>("checked")?.as_deref().and_then(Checked::read),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{name, store};

    #[tokio::test]
    async fn kept_states_are_replaced_whole() {
        let store = store();
        let first = KeptState {
            image: name("base:1"),
            last_refresh: Some(Timestamp(1)),
            last_ok: Some(Timestamp(2)),
            digest: Some(Digest::of(b"d")),
            finding: "present".to_owned(),
            last_scheduled: Some(Timestamp(3)),
            next_due: Some(Timestamp(4)),
            checked: Some(Checked {
                digest: Digest::of(b"d"),
                fingerprint: Digest::of(b"expect"),
                unmet: vec!["file /a is not there".to_owned()],
                at: Timestamp(5),
            }),
        };
        store.save_kept(first.clone()).await.unwrap();
        assert_eq!(store.kept_states().await.unwrap(), std::slice::from_ref(&first));
        let bare = KeptState {
            last_refresh: None,
            last_ok: None,
            digest: None,
            finding: "missing".to_owned(),
            last_scheduled: None,
            next_due: None,
            checked: None,
            ..first.clone()
        };
        store.save_kept(bare.clone()).await.unwrap();
        assert_eq!(store.kept_states().await.unwrap(), [bare]);
        store.forget_kept(&first.image).await.unwrap();
        assert_eq!(store.kept_states().await.unwrap(), []);
    }
}
