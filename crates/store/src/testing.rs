//! Values that many tests of this crate need.

use std::path::Path;

use layerkeeper_core::job::{Intent, JobId, Trigger};
use layerkeeper_core::{Digest, ImageName, Timestamp};

use crate::jobs::NewJob;
use crate::store::{FILE, Options, Store};

pub(crate) const ENGINE: &str = "AAAA:BBBB/overlay2";

pub(crate) fn store() -> Store {
    Store::open_in_memory(Options::default()).unwrap()
}

pub(crate) fn id(n: u32) -> JobId {
    let mut bits = [0; 16];
    bits[12..].copy_from_slice(&n.to_be_bytes());
    JobId::from_bits(bits)
}

pub(crate) fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

pub(crate) fn deploy(n: u32, image: &str, digest: Option<&str>) -> NewJob {
    let digest = digest.map(|content| Digest::of(content.as_bytes()));
    new(n, Intent::Deploy { image: name(image), digest, over_limit: false })
}

pub(crate) fn new(n: u32, intent: Intent) -> NewJob {
    NewJob { id: id(n), intent, trigger: Trigger::Schedule, not_before: None, now: Timestamp(i64::from(n)) }
}

/// Overwrites the first page of a table with nonsense, as a bad disk may.
pub(crate) fn overwrite_page_of(table: &str, dir: &Path) {
    let file = dir.join(FILE);
    let uri = format!("file:{}?immutable=1", file.display());
    let db = rusqlite::Connection::open_with_flags(uri, rusqlite::OpenFlags::default()).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let root: usize = db.query_row(sql, [table], |row| row.get::<_, u32>(0)).unwrap() as usize;
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[(root - 1) * 4096..root * 4096].fill(0xee);
    std::fs::write(&file, &bytes).unwrap();
}

/// Copies database and -wal file as they are now, without the -shm file.
pub(crate) fn copy_state(from: &Path, to: &Path) {
    for name in [FILE.to_owned(), format!("{FILE}-wal")] {
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// The name as seen on an engine; whatever was deployed there.
pub fn sighting(text: &str, held: bool) -> crate::sightings::Sighting {
    crate::sightings::Sighting { name: name(text), image: layerkeeper_core::ImageId::of(b"i"), held }
}
