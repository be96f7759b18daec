//! A thread that owns one connection and does what it is sent, in order. Writes that wait together are committed
//! together: one fsync for all of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::{Fault, StoreError};
use crate::lock::Lock;
use crate::work::{Call, Message, Work};

/// How many calls may wait; beyond that, callers wait to send.
const WAITING: usize = 1024;
/// How many writes share one transaction at most, so that the first of them need not wait for ever.
const TOGETHER: usize = 256;

/// So many commits fill some 600 pages of the log; a checkpoint of them takes milliseconds.
const CHECKPOINT_EVERY: u64 = 64;

/// What a thread works with.
pub(crate) struct Desk {
    /// Closed when the thread ends.
    pub connection: Connection,
    /// For messages.
    pub file: Arc<Path>,
    /// Counts transactions that wrote.
    pub commits: Arc<AtomicU64>,
    /// Who brings what was committed from the log into the file, so that no commit has to.
    pub checkpoints: Option<Sender<Message>>,
    /// Let go only after the connection is closed.
    pub lock: Option<Lock>,
}

/// Starts the thread; it ends at [`Message::Stop`], or when nobody can send any more.
pub(crate) fn start(name: &str, desk: Desk) -> std::io::Result<(Sender<Message>, JoinHandle<()>)> {
    let (sender, inbox) = channel(WAITING);
    let thread =
        std::thread::Builder::new().name(name.to_owned()).stack_size(1 << 20).spawn(move || desk.work_off(inbox))?;
    Ok((sender, thread))
}

impl Desk {
    fn work_off(self, mut inbox: Receiver<Message>) {
        let mut next = inbox.blocking_recv();
        while let Some(message) = next.take() {
            match message {
                Message::Stop => break,
                Message::Alone(mut work) => {
                    // the caller is told by the answer
                    let _ = work.run(&self.connection, &self.file);
                    work.answer(None);
                }
                Message::Write(first) => next = self.write_with_all_that_wait(first, &mut inbox),
            }
            if next.is_none() {
                next = inbox.blocking_recv();
            }
        }
        // who still waits hears that the store is closed when the inbox goes
        drop(inbox);
        self.end();
    }

    /// Returns the first waiting message that is no write.
    fn write_with_all_that_wait(&self, first: Box<dyn Work>, inbox: &mut Receiver<Message>) -> Option<Message> {
        let mut batch = vec![first];
        let mut other = None;
        while batch.len() < TOGETHER {
            match inbox.try_recv() {
                Ok(Message::Write(work)) => batch.push(work),
                Ok(message) => {
                    other = Some(message);
                    break;
                }
                Err(_) => break,
            }
        }
        batch.retain(|work| !work.is_abandoned());
        let lost = self.transact(&mut batch).err();
        for work in batch {
            work.answer(lost.as_ref());
        }
        other
    }

    /// One transaction; each call in a savepoint of its own, so that a failing one leaves nothing and hurts nobody.
    fn transact(&self, batch: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
        let before = self.connection.total_changes();
        let result = self.run("BEGIN IMMEDIATE").and_then(|()| self.run_each(batch)).and_then(|()| self.run("COMMIT"));
        if result.is_err() && !self.connection.is_autocommit() {
            self.run("ROLLBACK")?;
        }
        if self.connection.total_changes() != before {
            let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
            if commits.is_multiple_of(CHECKPOINT_EVERY) {
                self.have_checkpointed();
            }
        }
        result
    }

    /// Where the other thread has too much to do, the next one does it.
    fn have_checkpointed(&self) {
        if let Some(checkpoints) = &self.checkpoints {
            let _ = checkpoints.try_send(Message::Alone(Box::new(Call::new(checkpoint).0)));
        }
    }

    fn run_each(&self, batch: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
        for work in batch {
            self.run("SAVEPOINT call")?;
            if let Err(error) = work.run(&self.connection, &self.file) {
                if self.connection.is_autocommit() {
                    // a full disk or a failing one ends the whole transaction, and with it the calls before this one
                    return Err(error);
                }
                self.run("ROLLBACK TO call")?;
            }
            self.run("RELEASE call")?;
        }
        Ok(())
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        let run = || self.connection.prepare_cached(sql)?.execute([]);
        run().map(|_| ()).map_err(|error| StoreError::sqlite(&self.file, &error))
    }

    fn end(self) {
        let Self { connection, file, lock, .. } = self;
        if let Err((_, error)) = connection.close() {
            tracing::warn!(file = %file.display(), %error, "the state's file did not close cleanly");
        }
        drop(lock);
    }
}

/// Brings what was committed from the log into the file, as far as nobody is in the way; never waits.
pub(crate) fn checkpoint(connection: &Connection) -> Result<(), Fault> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
}
