//! What a look finds: each fact by itself, so that one that cannot be read takes no other with it.

use rusqlite::{Connection, Row};

use super::{Buried, Gate, LastDeploy, MOST, StateSummary, Unfinished};
use crate::column::number;

/// Runs SQLite's own checks.
pub(super) fn check(db: &Connection, summary: &mut StateSummary) {
    let integrity = list(db, "PRAGMA integrity_check(20)", |row| row.get::<_, String>(0));
    match integrity {
        // it tells a table's findings in one text of many lines
        Ok(found) => summary.damage.extend(found.iter().flat_map(|text| text.lines()).filter_map(finding)),
        Err(error) => summary.damage.push(error.to_string()),
    }
    if !summary.damage.is_empty() {
        return;
    }
    let orphans = list(db, "PRAGMA foreign_key_check", |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a row of {table} points at a row of {parent} that is not there"))
    });
    match orphans {
        Ok(found) => summary.damage.extend(found.into_iter().take(20)),
        Err(error) => summary.damage.push(error.to_string()),
    }
}

/// Counts the rows of every table, also of such that this version does not know.
pub(super) fn count_rows(db: &Connection, summary: &mut StateSummary) {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' ORDER BY name";
    let names = list(db, sql, |row| row.get::<_, String>(0));
    for name in kept(summary, "tables", names).unwrap_or_default() {
        let sql = format!("SELECT count(*) AS n FROM \"{}\"", name.replace('"', "\"\""));
        let count = db.query_row(&sql, [], |row| number(row, "n"));
        if let Some(count) = kept(summary, &format!("rows of {name}"), count) {
            summary.rows.insert(name, count);
        }
    }
}

/// Reads what our own tables say.
pub(super) fn read(db: &Connection, summary: &mut StateSummary) {
    let jobs = list(db, "SELECT state, count(*) AS n FROM jobs GROUP BY state", |row| {
        Ok((row.get::<_, String>("state")?, number(row, "n")?))
    });
    summary.jobs = kept(summary, "jobs by state", jobs).unwrap_or_default().into_iter().collect();
    let sql = format!("SELECT * FROM jobs WHERE finished IS NULL ORDER BY seq LIMIT {MOST}");
    let found = list(db, &sql, unfinished);
    summary.unfinished = kept(summary, "unfinished jobs", found).unwrap_or_default();
    for (table, column) in [("jobs", "created"), ("events", "at")] {
        let sql = format!("SELECT min({column}), max({column}) FROM {table}");
        let span = db.query_row(&sql, [], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)));
        let (oldest, newest) = kept(summary, &format!("age of {table}"), span).unwrap_or_default();
        summary.oldest = [summary.oldest, oldest].into_iter().flatten().min();
        summary.newest = [summary.newest, newest].into_iter().flatten().max();
    }
    let sql =
        "SELECT * FROM deploys WHERE seq IN (SELECT max(seq) FROM deploys GROUP BY repository) ORDER BY repository";
    let found = list(db, sql, deploy);
    summary.deploys = kept(summary, "last deploys", found).unwrap_or_default();
    let found = list(db, &format!("SELECT * FROM tombstones ORDER BY at DESC, image LIMIT {MOST}"), buried);
    summary.tombstones = kept(summary, "tombstones", found).unwrap_or_default();
    let found = list(db, "SELECT since, reason FROM prune_gate", |row| {
        Ok(Gate { since: row.get("since")?, reason: row.get("reason")? })
    });
    summary.prune_gate = kept(summary, "prune gate", found).and_then(|gates| gates.into_iter().next());
}

fn finding(line: &str) -> Option<String> {
    // a heading over the findings, and the word for none
    let empty = line.is_empty() || line == "ok" || line.starts_with("*** in database");
    (!empty).then(|| line.to_owned())
}

fn list<T>(db: &Connection, sql: &str, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
    db.prepare(sql)?.query_map([], read)?.collect()
}

/// Takes down what could not be read.
fn kept<T>(summary: &mut StateSummary, what: &str, found: rusqlite::Result<T>) -> Option<T> {
    found.inspect_err(|error| summary.unread.push(format!("{what}: {error}"))).ok()
}

fn unfinished(row: &Row<'_>) -> rusqlite::Result<Unfinished> {
    Ok(Unfinished {
        id: row.get("id")?,
        state: row.get("state")?,
        kind: row.get("kind")?,
        image: row.get("image")?,
        created: row.get("created")?,
        not_before: row.get("not_before")?,
        attempts: number(row, "attempts")?,
    })
}

fn deploy(row: &Row<'_>) -> rusqlite::Result<LastDeploy> {
    Ok(LastDeploy {
        repository: row.get("repository")?,
        image: row.get("image")?,
        digest: row.get("digest")?,
        seq: number(row, "seq")?,
        at: row.get("at")?,
    })
}

fn buried(row: &Row<'_>) -> rusqlite::Result<Buried> {
    Ok(Buried { image: row.get("image")?, who: row.get("who")?, reason: row.get("reason")?, at: row.get("at")? })
}
