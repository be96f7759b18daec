//! What can go wrong with the state, in words that name the file and what to do.

use std::io;
use std::path::{Path, PathBuf};

use layerkeeper_core::job::{JobId, JobState};
use rusqlite::ErrorCode;
use rustix::fs::{StatVfsMountFlags, statvfs};

/// By how much the -shm file grows at once.
const SHM_STEP: u64 = 32 << 10;

/// Why the store could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The state directory or file cannot be opened or made.
    #[error("cannot open the state {}: {cause}; check that the directory exists and belongs to the user that layerkeeper runs as", file.display())]
    Open {
        /// Directory or file.
        file: PathBuf,
        /// The system's words.
        cause: String,
    },
    /// Another process holds the state directory.
    #[error("another layerkeeper uses {}{}; stop it, or give this one another [state] dir", dir.display(), holder(*.pid))]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// Who holds it, where the lock file says so.
        pid: Option<u32>,
    },
    /// Written by a newer layerkeeper.
    #[error("{} has schema version {found}, and this layerkeeper knows only up to {known}: run the newer layerkeeper again, or move the file away to start empty", file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// A SQLite file of another application.
    #[error("{} is the database of another application (application id {application_id:#010x}); it was left alone: move it away, or give another [state] dir", file.display())]
    NotOurs {
        /// The database.
        file: PathBuf,
        /// Its `PRAGMA application_id`.
        application_id: u32,
    },
    /// Damaged, or no database at all.
    #[error("{} is damaged or no database ({cause}); it was left as it is: see what is in it with `layerkeeper check-state`, then restore a copy, or move it and its -wal and -shm files away to start empty (no image is lost)", file.display())]
    Corrupt {
        /// The database.
        file: PathBuf,
        /// SQLite's words.
        cause: String,
    },
    /// No room on the file system.
    #[error("no room to write {}: the file system is full; nothing of this write was kept; make room there", file.display())]
    Full {
        /// The database.
        file: PathBuf,
    },
    /// Not writable.
    #[error("{} cannot be written ({cause}); check its owner, and whether the file system is mounted read-only", file.display())]
    ReadOnly {
        /// The database.
        file: PathBuf,
        /// SQLite's words.
        cause: String,
    },
    /// The disk itself, or what the kernel makes of it.
    #[error("the disk under {} fails ({cause}); look into the kernel's log, and copy the file away while it can be read", file.display())]
    Disk {
        /// The database.
        file: PathBuf,
        /// SQLite's words.
        cause: String,
    },
    /// Another program holds a lock inside the file for too long.
    #[error("{} is held by another program; close it (a sqlite3 shell?)", file.display())]
    Busy {
        /// The database.
        file: PathBuf,
    },
    /// As many jobs wait as may.
    #[error("the queue is full")]
    QueueFull,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// No job has this id.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// The job is in another state than the call needs.
    #[error("job {job} is {state}, which does not allow to {wanted} it")]
    WrongState {
        /// Which job.
        job: JobId,
        /// Its state.
        state: JobState,
        /// What was to be done.
        wanted: &'static str,
    },
    /// A bug: the code inside a call panicked. Nothing of that call was kept.
    #[error("a defect in the store: {0}")]
    Defect(String),
    /// Anything else that SQLite says.
    #[error("{}: {cause}", file.display())]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// SQLite's words.
        cause: String,
    },
}

/// What the code inside one call ends with: it does not know the file's name.
#[derive(Debug)]
pub(crate) enum Fault {
    Sqlite(rusqlite::Error),
    Refused(StoreError),
}

impl StoreError {
    /// May the same call succeed later without anybody changing the program or the call?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. } | Self::QueueFull)
    }

    pub(crate) fn open(file: &Path, cause: &io::Error) -> Self {
        let (file, words) = (file.to_owned(), cause.to_string());
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { file },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { file, cause: words },
            _ => Self::Open { file, cause: words },
        }
    }

    pub(crate) fn sqlite(file: &Path, error: &rusqlite::Error) -> Self {
        let (file, cause) = (file.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { file },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { file, cause },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { file, cause },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { file },
            Some(ErrorCode::SystemIoFailure) => disk(&file, &cause).unwrap_or(Self::Disk { file, cause }),
            Some(ErrorCode::CannotOpen) => disk(&file, &cause).unwrap_or(Self::Open { file, cause }),
            _ => Self::Sqlite { file, cause },
        }
    }
}

/// What the file system says where SQLite only knows that something failed: it has no room for the -shm file beside the
/// database, or the kernel has made it read-only after an error.
fn disk(file: &Path, cause: &str) -> Option<StoreError> {
    let stat = statvfs(file.parent()?).ok()?;
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(StoreError::ReadOnly { file: file.to_owned(), cause: cause.to_owned() });
    }
    // btrfs counts no inodes
    let no_inodes = stat.f_files > 0 && stat.f_favail == 0;
    let full = no_inodes || stat.f_bavail.saturating_mul(stat.f_frsize) < SHM_STEP;
    full.then(|| StoreError::Full { file: file.to_owned() })
}

impl Fault {
    pub(crate) fn in_file(self, file: &Path) -> StoreError {
        match self {
            Self::Sqlite(error) => StoreError::sqlite(file, &error),
            Self::Refused(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
