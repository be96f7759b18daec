//! The store itself: opened, asked, closed.

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::mpsc::Sender;

use crate::error::{Fault, StoreError};
use crate::jobs::NewestWebhook;
use crate::lock::Lock;
use crate::schema;
use crate::thread::{Desk, start};
use crate::work::{Call, Message};

/// The database's name in the state directory.
pub const FILE: &str = "layerkeeper.db";

/// Limits that hold while the store is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many jobs may be queued; one more is [`StoreError::QueueFull`].
    pub max_queued: u64,
    /// How long a webhook's id is remembered.
    pub webhook_retention: Duration,
    /// How many manifests are kept at hand.
    pub max_manifests: u64,
    /// How many bytes of manifests are kept at hand.
    pub max_manifest_bytes: u64,
    /// How long to wait for a lock that another program holds inside the file.
    pub busy_timeout: Duration,
}

/// Everything durable. Clones share one open file.
///
/// A write's future resolves only after its commit reached the disk. Every call is done completely or not at all, but
/// a caller that drops the future does not learn which: await [`Store::take_next`] and its like to the end.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Sender<Message>,
    /// None for a database in memory, which only one connection can see.
    reader: Option<Sender<Message>>,
    /// The writer's, then the reader's.
    threads: Mutex<Vec<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
    /// What the database says, at hand: it is asked for at every webhook.
    newest_webhook: Arc<NewestWebhook>,
    options: Options,
}

impl Store {
    /// Opens the state in this directory, makes what is missing, and holds the directory against a second daemon.
    ///
    /// # Errors
    /// All of them leave the file as it is: [`StoreError::Locked`], [`StoreError::Newer`], [`StoreError::NotOurs`],
    /// [`StoreError::Corrupt`], [`StoreError::Full`], [`StoreError::ReadOnly`]; the rest is what the system says.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        // job ids are capabilities: nobody else reads this directory
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| StoreError::open(dir, &error))?;
        let lock = Lock::take(dir)?;
        let file = dir.join(FILE);
        let made = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&file);
        let made = made.map_err(|error| StoreError::open(&file, &error))?;
        read_ahead(made).map_err(|error| StoreError::Disk { file: file.clone(), cause: error.to_string() })?;
        let fail = |error: rusqlite::Error| StoreError::sqlite(&file, &error);
        let mut connection =
            Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(fail)?;
        schema::prepare_writer(&mut connection, &file, options.busy_timeout)?;
        // it only reads, but it brings the log into the file as well
        let reader =
            Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(fail)?;
        schema::prepare_reader(&reader, options.busy_timeout).map_err(fail)?;
        Self::staffed(file, options, connection, Some(reader), Some(lock))
    }

    /// A store that is gone when it is closed, for tests.
    ///
    /// # Errors
    /// Only when the system cannot start a thread.
    pub fn open_in_memory(options: Options) -> Result<Self, StoreError> {
        let file = PathBuf::from(":memory:");
        let mut connection = Connection::open_in_memory().map_err(|error| StoreError::sqlite(&file, &error))?;
        schema::prepare_writer(&mut connection, &file, options.busy_timeout)?;
        Self::staffed(file, options, connection, None, None)
    }

    fn staffed(
        file: PathBuf,
        options: Options,
        connection: Connection,
        reading: Option<Connection>,
        lock: Option<Lock>,
    ) -> Result<Self, StoreError> {
        let file: Arc<Path> = file.into();
        let commits = Arc::new(AtomicU64::new(0));
        let fail = |error: std::io::Error| StoreError::open(&file, &error);
        let newest_webhook = NewestWebhook::read(&connection).map_err(|error| StoreError::sqlite(&file, &error))?;
        let desk = |connection, checkpoints, lock| Desk {
            connection,
            file: Arc::clone(&file),
            commits: Arc::clone(&commits),
            checkpoints,
            lock,
        };
        let (mut reader, mut threads) = (None, Vec::new());
        if let Some(connection) = reading {
            let (sender, thread) = start("store-reader", desk(connection, None, None)).map_err(fail)?;
            reader = Some(sender);
            threads.push(thread);
        }
        let (writer, writing) = start("store-writer", desk(connection, reader.clone(), lock)).map_err(fail)?;
        // the writer's is the first: it ends last
        threads.insert(0, writing);
        let (threads, newest_webhook) = (Mutex::new(threads), Arc::new(newest_webhook));
        let shared = Shared { writer, reader, threads, commits, newest_webhook, options };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Finishes what was sent before, brings everything into the one file, and lets go of the directory. Clones answer
    /// [`StoreError::Closed`] from then on.
    pub async fn close(self) {
        let mut threads = std::mem::take(&mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // the writer last: only the last connection brings everything into the one file
        let in_order = [self.shared.reader.as_ref(), Some(&self.shared.writer)].into_iter().flatten();
        for sender in in_order {
            // an error means that it has ended already
            let _ = sender.send(Message::Stop).await;
            if let Some(thread) = threads.pop() {
                // the threads catch what panics in a call; there is nothing to hear from them
                let _ = tokio::task::spawn_blocking(move || drop(thread.join())).await;
            }
        }
    }

    /// How many transactions were committed since the store was opened: fewer than writes when many come at once.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// How many calls the writer has not yet taken up.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.shared.writer.max_capacity() - self.shared.writer.capacity()
    }

    pub(crate) fn newest_webhook(&self) -> &Arc<NewestWebhook> {
        &self.shared.newest_webhook
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Runs in the writer's next transaction; resolves when it is durable.
    pub(crate) async fn write<T, F>(&self, code: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (call, answer) = Call::new(code);
        self.shared.writer.send(Message::Write(Box::new(call))).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs on the writer's connection outside of a transaction.
    pub(crate) async fn write_alone<T, F>(&self, code: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (call, answer) = Call::new(code);
        self.shared.writer.send(Message::Alone(Box::new(call))).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs beside the writer and sees everything whose future has resolved.
    pub(crate) async fn read<T, F>(&self, code: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (call, answer) = Call::new(code);
        let reader = self.shared.reader.as_ref().unwrap_or(&self.shared.writer);
        reader.send(Message::Alone(Box::new(call))).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Brings the file into the kernel's cache: the check at the start jumps about in it, and for 50 MB on a cold disk that
/// takes two seconds instead of a third of one.
pub(crate) fn read_ahead(mut file: File) -> io::Result<()> {
    io::copy(&mut file, &mut io::sink()).map(drop)
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_queued: 256,
            webhook_retention: Duration::from_secs(7 * 86_400),
            max_manifests: 256,
            max_manifest_bytes: 8 << 20,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
