//! The database's identity and its versions. What the tables mean is in `schema.sql`.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::error::StoreError;

/// `PRAGMA application_id`: "LKPR".
pub const APPLICATION_ID: u32 = 0x4c4b_5052;

/// One script per version, the first makes version 1. A released script never changes.
const VERSIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
];

/// The newest version that this program knows.
pub const VERSION: u32 = VERSIONS.len() as u32;

/// What a file says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nothing in it yet.
    Empty,
    /// Ours, of this version.
    Ours(u32),
    /// Somebody else's.
    Foreign(u32),
}

/// Reads who made the file; changes nothing in it.
pub(crate) fn identify(connection: &Connection) -> rusqlite::Result<Identity> {
    // both are 32 bits that SQLite shows signed
    let word = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|value| value as u32);
    let application = word("SELECT application_id FROM pragma_application_id")?;
    let version = word("SELECT user_version FROM pragma_user_version")?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    Ok(match application {
        APPLICATION_ID => Identity::Ours(version),
        0 if version == 0 && tables == 0 => Identity::Empty,
        other => Identity::Foreign(other),
    })
}

/// Makes the connection that writes ready: refuses what is not ours or not whole, brings the rest to [`VERSION`], and
/// finds out whether it can be written. A file that is refused is left as it is, byte for byte.
pub(crate) fn prepare_writer(connection: &mut Connection, file: &Path, busy: Duration) -> Result<(), StoreError> {
    let fail = |error: rusqlite::Error| StoreError::sqlite(file, &error);
    connection.busy_timeout(busy).map_err(fail)?;
    // or closing the connection would bring a -wal file into a database that we refuse
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fail)?;
    let version = match identify(connection).map_err(fail)? {
        Identity::Foreign(application_id) => {
            return Err(StoreError::NotOurs { file: file.to_owned(), application_id });
        }
        Identity::Ours(found) if found > VERSION => {
            return Err(StoreError::Newer { file: file.to_owned(), found, known: VERSION });
        }
        Identity::Ours(found) => found,
        Identity::Empty => {
            // only a file without pages takes this: it lets a sweep give pages back to the file system
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
            0
        }
    };
    if let Some(cause) = damage(connection).map_err(fail)? {
        return Err(StoreError::Corrupt { file: file.to_owned(), cause });
    }
    tune_writer(connection).map_err(fail)?;
    migrate(connection, version).map_err(fail)?;
    // a start on a full or read-only disk must not pass for a good one: this writes a page and syncs it
    connection.pragma_update(None, "user_version", VERSION).map_err(fail)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(|_| ()).map_err(fail)
}

/// The first thing that is wrong with the file's structure. Reads all of it.
fn damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then(|| found.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// Makes a connection that only reads ready.
pub(crate) fn prepare_reader(connection: &Connection, busy: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(busy)?;
    connection.pragma_update(None, "query_only", true)?;
    slim(connection)
}

fn tune_writer(connection: &Connection) -> rusqlite::Result<()> {
    // answers with the mode that it got: "memory" for a database in memory
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // the commit that fills the log has to bring it into the file, 10 ms and more on a real disk; most of it was done before
    // then by the thread that reads, so that this is soon done, and the log begins anew at 8 MiB
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 2000, |row| row.get::<_, i64>(0))?;
    // cutting the log and letting it grow again takes as long: only one that has grown beyond its measure is cut
    connection.pragma_update_and_check(None, "journal_size_limit", 12 << 20, |row| row.get::<_, i64>(0))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    slim(connection)
}

/// Pages in memory: 1 MiB per connection; the kernel caches the file anyway.
fn slim(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Each step is one transaction together with the version's number, so a crash between two steps is harmless.
fn migrate(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    for (script, version) in VERSIONS.iter().zip(1u32..).skip(from as usize) {
        let step = connection.transaction()?;
        step.execute_batch(script)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
    }
    Ok(())
}
