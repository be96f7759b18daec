//! A look at the state from outside: nothing is changed, no lock is taken, the daemon may run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use layerkeeper_core::job::JobState;
use rusqlite::{Connection, OpenFlags};

use crate::column::{number, parsed};
use crate::error::StoreError;
use crate::schema::{self, Identity};
use crate::store::FILE;

/// What is in a state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSummary {
    /// The database.
    pub file: PathBuf,
    /// Its size on disk.
    pub bytes: u64,
    /// What is written but not yet brought into it (the -wal file).
    pub wal_bytes: u64,
    /// The version of its schema.
    pub version: u32,
    /// How many rows each table has, by name.
    pub rows: Vec<(String, u64)>,
    /// How many jobs are in each state that occurs.
    pub jobs: Vec<(JobState, u64)>,
    /// What SQLite's own check found wrong; empty: nothing.
    pub damage: Vec<String>,
}

/// Reads and checks the state in this directory. Takes seconds on a large file.
///
/// # Errors
/// [`StoreError::Open`] when there is none, [`StoreError::NotOurs`], [`StoreError::Newer`], or [`StoreError::Corrupt`]
/// when it is too damaged to be read at all.
pub fn inspect(dir: &Path) -> Result<StateSummary, StoreError> {
    let file = dir.join(FILE);
    let bytes = std::fs::metadata(&file).map_err(|error| StoreError::open(&file, &error))?.len();
    let wal_bytes = std::fs::metadata(dir.join(format!("{FILE}-wal"))).map_or(0, |found| found.len());
    let fail = |error: rusqlite::Error| StoreError::sqlite(&file, &error);
    let db = open(&file, wal_bytes).map_err(fail)?;
    let version = match schema::identify(&db).map_err(fail)? {
        Identity::Empty => 0,
        Identity::Foreign(application_id) => return Err(StoreError::NotOurs { file, application_id }),
        Identity::Ours(found) if found > schema::VERSION => {
            return Err(StoreError::Newer { file, found, known: schema::VERSION });
        }
        Identity::Ours(found) => found,
    };
    let rows = count_rows(&db).map_err(fail)?;
    let jobs = if version == 0 { Vec::new() } else { count_jobs(&db).map_err(fail)? };
    let damage = check(&db).map_err(fail)?;
    Ok(StateSummary { bytes, wal_bytes, version, rows, jobs, damage, file })
}

fn open(file: &Path, wal_bytes: u64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ready = |db: Connection| schema::prepare_reader(&db, Duration::from_secs(1)).map(|()| db);
    let plain = Connection::open_with_flags(file, flags).and_then(ready).and_then(|db| {
        schema::identify(&db)?;
        Ok(db)
    });
    // a directory that we may not write has no room for the -shm file that SQLite wants beside a WAL database; with
    // nothing in the WAL the file alone is the truth
    match (plain, file.to_str()) {
        (Err(error), Some(path)) if wal_bytes == 0 && is_for_want_of_writing(&error) => {
            let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = format!("file:{path}?immutable=1");
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).and_then(ready)
        }
        (plain, _) => plain,
    }
}

fn is_for_want_of_writing(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly))
}

fn count_rows(db: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut tables =
        db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' ORDER BY name")?;
    let names = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let count = |name: &String| {
        let sql = format!("SELECT count(*) AS n FROM \"{}\"", name.replace('"', "\"\""));
        db.query_row(&sql, [], |row| number(row, "n"))
    };
    names.into_iter().map(|name| count(&name).map(|n| (name, n))).collect()
}

fn count_jobs(db: &Connection) -> rusqlite::Result<Vec<(JobState, u64)>> {
    let mut statement = db.prepare("SELECT state, count(*) AS n FROM jobs GROUP BY state ORDER BY state")?;
    let rows = statement.query_map([], |row| Ok((parsed(row, "state")?, number(row, "n")?)))?;
    rows.collect()
}

fn check(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare("PRAGMA integrity_check(20)")?;
    let found = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut damage: Vec<String> = found.into_iter().filter(|line| line != "ok").collect();
    let mut statement = db.prepare("PRAGMA foreign_key_check")?;
    let orphans = statement.query_map([], |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a row of {table} points at a row of {parent} that is not there"))
    })?;
    damage.extend(orphans.take(20).collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(damage)
}
