//! A look at the state from outside: nothing is changed, no lock is taken, the daemon may run. Tells of a damaged file, or
//! one of a newer version, what can be told.

mod facts;
mod look;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::StoreError;
use crate::schema;
use crate::store::FILE;
use look::Look;

/// What is in a state directory. What could not be read is missing, and [`StateSummary::unread`] says why. Instants are
/// milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateSummary {
    /// The database.
    pub file: PathBuf,
    /// What there is to say of it in one word.
    pub verdict: Verdict,
    /// The same in a sentence, with what to do; none where nothing is to be done.
    pub problem: Option<String>,
    /// What SQLite's own check found wrong, at most 20 findings of a kind.
    pub damage: Vec<String>,
    /// Facts that could not be read, with the cause.
    pub unread: Vec<String>,
    /// Its size on disk.
    pub bytes: u64,
    /// What is written but not yet brought into it (the -wal file).
    pub wal_bytes: u64,
    /// The version of its schema; none where nobody can tell.
    pub version: Option<u32>,
    /// The newest version that this program knows.
    pub known_version: u32,
    /// How many rows each table has.
    pub rows: BTreeMap<String, u64>,
    /// How many jobs are in each state that occurs.
    pub jobs: BTreeMap<String, u64>,
    /// The oldest jobs that have not come to their end; at most [`MOST`].
    pub unfinished: Vec<Unfinished>,
    /// When the oldest job or event happened.
    pub oldest: Option<i64>,
    /// When the newest job or event happened.
    pub newest: Option<i64>,
    /// The newest deploy of each repository.
    pub deploys: Vec<LastDeploy>,
    /// The newest images that are not to be brought back; at most [`MOST`].
    pub tombstones: Vec<Buried>,
    /// Why nothing may be pruned; none where it may.
    pub prune_gate: Option<Gate>,
}

/// What there is to say of a state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Ours, and whole.
    Fine,
    /// An empty file: the next start fills it.
    Empty,
    /// A newer layerkeeper wrote it.
    Newer,
    /// Another application's database.
    Foreign,
    /// Damaged, or no database at all.
    Damaged,
    /// Not there, or it cannot be opened.
    Unreadable,
}

/// A job that waits or runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// Its id.
    pub id: String,
    /// `queued` or `running`; the latter without a daemon means that it was cut short.
    pub state: String,
    /// Its kind.
    pub kind: String,
    /// What it is about.
    pub image: Option<String>,
    /// When it was accepted.
    pub created: i64,
    /// Not to be taken before this instant.
    pub not_before: Option<i64>,
    /// How often it was taken up.
    pub attempts: u64,
}

/// The newest deploy of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastDeploy {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub image: String,
    /// What the registry calls it.
    pub digest: String,
    /// The deploy's number.
    pub seq: u64,
    /// When it succeeded.
    pub at: i64,
}

/// An image that is not to be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buried {
    /// Which.
    pub image: String,
    /// Who removed it.
    pub who: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: i64,
}

/// Why nothing may be pruned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// Since when.
    pub since: i64,
    /// In a sentence.
    pub reason: String,
}

/// How many entries a list holds at most.
pub const MOST: usize = 50;

/// Reads and checks the state in this directory. Takes seconds on a large file.
pub fn inspect(dir: &Path) -> StateSummary {
    let file = dir.join(FILE);
    let first = Look::at(&file).map(|look| (summary(&file, &look), look.is_frozen()));
    match first {
        // a daemon that started meanwhile wrote into what was taken for still
        Ok((_, true)) if look::wal_bytes(&file) > 0 => {
            Look::at(&file).map_or_else(|error| nothing(&file, &error), |look| summary(&file, &look))
        }
        Ok((summary, _)) => summary,
        Err(error) => nothing(&file, &error),
    }
}

impl StateSummary {
    /// Can a daemon of this version start on it?
    pub fn is_good(&self) -> bool {
        matches!(self.verdict, Verdict::Fine | Verdict::Empty)
    }

    fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            verdict: Verdict::Fine,
            problem: None,
            damage: Vec::new(),
            unread: Vec::new(),
            bytes: std::fs::metadata(file).map_or(0, |found| found.len()),
            wal_bytes: look::wal_bytes(file),
            version: None,
            known_version: schema::VERSION,
            rows: BTreeMap::new(),
            jobs: BTreeMap::new(),
            unfinished: Vec::new(),
            oldest: None,
            newest: None,
            deploys: Vec::new(),
            tombstones: Vec::new(),
            prune_gate: None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "fine",
            Self::Empty => "empty",
            Self::Newer => "NEWER",
            Self::Foreign => "FOREIGN",
            Self::Damaged => "DAMAGED",
            Self::Unreadable => "UNREADABLE",
        })
    }
}

/// Nothing but the reason.
fn nothing(file: &Path, error: &StoreError) -> StateSummary {
    let verdict = match error {
        StoreError::Corrupt { .. } => Verdict::Damaged,
        _ => Verdict::Unreadable,
    };
    StateSummary { verdict, problem: Some(error.to_string()), ..StateSummary::new(file) }
}

fn summary(file: &Path, look: &Look) -> StateSummary {
    let mut summary = StateSummary::new(file);
    let db = look.db();
    let identity = match schema::identify(db) {
        Ok(identity) => identity,
        Err(error) => return nothing(file, &StoreError::sqlite(file, &error)),
    };
    facts::check(db, &mut summary);
    facts::count_rows(db, &mut summary);
    let (verdict, problem) = match identity {
        schema::Identity::Empty => (Verdict::Empty, None),
        schema::Identity::Foreign(application_id) => {
            (Verdict::Foreign, Some(StoreError::NotOurs { file: file.to_owned(), application_id }))
        }
        schema::Identity::Ours(found) => {
            summary.version = Some(found);
            facts::read(db, &mut summary);
            let newer = StoreError::Newer { file: file.to_owned(), found, known: schema::VERSION };
            if found > schema::VERSION { (Verdict::Newer, Some(newer)) } else { (Verdict::Fine, None) }
        }
    };
    // in a file of ours and of our version nothing may be missing
    let missing = summary.unread.first().filter(|_| verdict == Verdict::Fine);
    let damage = summary.damage.first().or(missing).cloned();
    let damage = damage.map(|cause| StoreError::Corrupt { file: file.to_owned(), cause });
    summary.verdict = if damage.is_some() { Verdict::Damaged } else { verdict };
    summary.problem = damage.or(problem).map(|error| error.to_string());
    summary
}
