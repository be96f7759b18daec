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
    /// The images that its expectations were held to and that still matter, the last one last.
    pub checked: Vec<Checked>,
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

    fn text(&self) -> CheckedText {
        CheckedText {
            digest: self.digest.to_string(),
            expect: self.fingerprint.to_string(),
            unmet: self.unmet.clone(),
            at: self.at.0,
        }
    }

    fn read(text: CheckedText) -> Option<Self> {
        let (digest, fingerprint) = (text.digest.parse().ok()?, text.expect.parse().ok()?);
        Some(Self { digest, fingerprint, unmet: text.unmet, at: Timestamp(text.at) })
    }

    fn to_column(all: &[Self]) -> String {
        serde_json::to_string(&all.iter().map(Self::text).collect::<Vec<_>>()).unwrap_or_default()
    }

    /// What cannot be read was never checked: the image is opened once more.
    fn of_column(text: &str) -> Vec<Self> {
        let texts: Vec<CheckedText> = serde_json::from_str(text).unwrap_or_default();
        texts.into_iter().filter_map(Self::read).collect()
    }
}

impl KeptState {
    /// Nothing yet.
    pub fn new(image: ImageName) -> Self {
        Self {
            image,
            last_refresh: None,
            last_ok: None,
            digest: None,
            finding: String::new(),
            last_scheduled: None,
            next_due: None,
            checked: Vec::new(),
        }
    }

    /// What the image of this digest was found to be when it was held to these expectations; none where it never was.
    pub fn verdict(&self, digest: Digest, expect: &[Expect]) -> Option<&Checked> {
        self.checked.iter().find(|checked| checked.digest == digest && checked.is_of(expect))
    }

    /// The last image that was not as these expectations want it.
    pub fn unmet(&self, expect: &[Expect]) -> Option<&Checked> {
        self.checked.iter().rfind(|checked| !checked.unmet.is_empty() && checked.is_of(expect))
    }

    /// Takes the place of what was found of the same digest before.
    pub fn put_verdict(&mut self, checked: Checked) {
        self.checked.retain(|other| other.digest != checked.digest);
        self.checked.push(checked);
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
                    Checked::to_column(&state.checked),
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
                    checked: row
                        .get::<_, Option<String>>("checked")?
                        .as_deref()
                        .map(Checked::of_column)
                        .unwrap_or_default(),
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

    fn checked(digest: &[u8], unmet: &[&str]) -> Checked {
        let unmet = unmet.iter().map(|&text| text.to_owned()).collect();
        Checked { digest: Digest::of(digest), fingerprint: fingerprint(&[]), unmet, at: Timestamp(5) }
    }

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
            checked: vec![checked(b"d", &[]), checked(b"e", &["file /a is not there"])],
        };
        store.save_kept(first.clone()).await.unwrap();
        assert_eq!(store.kept_states().await.unwrap(), std::slice::from_ref(&first));
        let bare = KeptState { finding: "missing".to_owned(), ..KeptState::new(first.image.clone()) };
        store.save_kept(bare.clone()).await.unwrap();
        assert_eq!(store.kept_states().await.unwrap(), [bare]);
        store.forget_kept(&first.image).await.unwrap();
        assert_eq!(store.kept_states().await.unwrap(), []);
    }

    #[test]
    fn what_passed_and_what_failed_are_known_side_by_side() {
        assert_eq!(Checked::of_column("{}"), [], "what cannot be read");
        let mut state = KeptState::new(name("base:1"));
        assert_eq!(state.unmet(&[]), None);
        state.put_verdict(checked(b"bad", &["no"]));
        state.put_verdict(checked(b"good", &[]));
        assert_eq!(state.unmet(&[]).map(|bad| bad.digest), Some(Digest::of(b"bad")));
        assert!(state.verdict(Digest::of(b"good"), &[]).is_some_and(|good| good.unmet.is_empty()));
        let other = [Expect::File { path: "/a".to_owned() }];
        assert_eq!((state.unmet(&other), state.verdict(Digest::of(b"good"), &other)), (None, None));
        state.put_verdict(checked(b"bad", &[]));
        assert_eq!((state.unmet(&[]), state.checked.len()), (None, 2));
    }
}
