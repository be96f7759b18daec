//! Opening the database so that not a byte changes in it or beside it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::schema;
use crate::store::read_ahead;

/// An open database.
pub(super) struct Look {
    db: Connection,
    frozen: bool,
    /// Removed when the look is over.
    _copy: Option<Copy>,
}

/// A private folder that is gone when this is dropped.
struct Copy(PathBuf);

impl Look {
    /// Opens the file in the way that its neighbours call for.
    pub(super) fn at(file: &Path) -> Result<Self, StoreError> {
        let open = |error: std::io::Error| StoreError::open(file, &error);
        fs::File::open(file).and_then(read_ahead).map_err(open)?;
        let beside = |end: &str| beside(file, end).exists();
        let nothing_waits = || wal_bytes(file) == 0;
        if beside("-shm") && beside("-wal") {
            // a daemon runs, or was killed; SQLite makes nothing new
            match connect(file, "mode=ro") {
                Ok(db) => return Ok(Self { db, frozen: false, _copy: None }),
                // no room for a larger -shm, or no right to it: there are the other ways
                Err(error) => tracing::debug!(file = %file.display(), %error, "cannot be read beside its -shm file"),
            }
        }
        if nothing_waits() {
            // the file is all there is; SQLite would make a -wal and a -shm beside it
            let db = connect(file, "immutable=1").map_err(|error| StoreError::sqlite(file, &error))?;
            Ok(Self { db, frozen: true, _copy: None })
        } else {
            // a copy of both, where SQLite may make the -shm that it wants
            let copy = Copy::of(file).map_err(open)?;
            let db = connect(&copy.file(), "mode=ro").map_err(|error| StoreError::sqlite(file, &error))?;
            Ok(Self { db, frozen: false, _copy: Some(copy) })
        }
    }

    /// The connection.
    pub(super) fn db(&self) -> &Connection {
        &self.db
    }

    /// Would it not notice that somebody writes?
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen
    }
}

/// The size of the -wal file; zero where there is none.
pub(super) fn wal_bytes(file: &Path) -> u64 {
    fs::metadata(beside(file, "-wal")).map_or(0, |found| found.len())
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn connect(file: &Path, how: &str) -> rusqlite::Result<Connection> {
    let path = file.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(file.to_owned()))?;
    let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:{path}?{how}"), flags)?;
    schema::prepare_reader(&db, Duration::from_secs(1))?;
    // only reading shows whether it can be read
    schema::identify(&db)?;
    Ok(db)
}

impl Copy {
    fn of(file: &Path) -> std::io::Result<Self> {
        let name = format!("layerkeeper-check-state-{}", std::process::id());
        let copy = Self(std::env::temp_dir().join(name));
        // job ids are capabilities; fails where the folder is there already
        DirBuilder::new().mode(0o700).create(&copy.0)?;
        fs::copy(file, copy.file())?;
        fs::copy(beside(file, "-wal"), beside(&copy.file(), "-wal"))?;
        Ok(copy)
    }

    fn file(&self) -> PathBuf {
        self.0.join("copy.db")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // the system's own cleaning of temporary files has the rest
        let _ = fs::remove_dir_all(&self.0);
    }
}
