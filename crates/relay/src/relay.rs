//! Opens and closes relays.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, Repository};
use layerkeeper_registry::{Client, Error as SourceError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::desk::{Desk, Setup};
use crate::error::RelayError;
use crate::limit::Limit;
use crate::probe::{Measured, Probe, probe};
use crate::serve::{Counter, serve};
use crate::snapshot::Snapshot;
use crate::source::Sources;
use crate::spool::Spool;

/// Requests from the engine that may wait for the desk at once.
const WAITING: usize = 64;

/// At a close, answers under way get so long.
const DRAIN: Duration = Duration::from_secs(2);

/// What is the same for all relays of a daemon.
#[derive(Debug, Clone)]
pub struct Settings {
    /// So much may lie in the spool at once.
    pub spool_max: Bytes,
    /// The most connections at once, all sources together.
    pub connections: usize,
    /// The most to one of them.
    pub connections_per_registry: usize,
}

/// Opens relays. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Relays {
    client: Client,
    spool: Spool,
}

/// What one pull wants relayed.
#[derive(Debug, Clone)]
pub struct Order {
    /// The repository, by its real name.
    pub repository: Repository,
    /// The same repository at mirrors: `mirror.lan:5000/owner/name`.
    pub mirrors: Vec<Repository>,
    /// The same repository at pull-through caches, which are asked first, and alone as long as they can be.
    pub caches: Vec<Repository>,
    /// Sizes of the blobs that the manifest lists, config included.
    pub blobs: HashMap<Digest, Bytes>,
    /// So many connections to begin with.
    pub start: usize,
    /// How fast bytes may come.
    pub limit: Arc<Limit>,
    /// The origin answers nobody: only mirrors and caches are asked, and only for what a digest names.
    pub away: bool,
}

impl Order {
    /// Who is asked, the origin first, but for caches.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Repository> {
        Some(&self.repository).filter(|_| !self.away).into_iter().chain(&self.mirrors)
    }
}

/// An open relay. Dropping it closes it and leaves what came in the spool.
#[derive(Debug)]
pub struct Relay {
    repository: Repository,
    username: String,
    password: String,
    snapshot: watch::Receiver<Snapshot>,
    spool: Spool,
    blobs: Vec<Digest>,
    reached: Arc<AtomicBool>,
    close: CancellationToken,
    tasks: JoinSet<()>,
}

impl Relays {
    /// Relays that read with this client and keep their pieces in this spool.
    pub fn new(client: Client, spool: Spool) -> Self {
        Self { client, spool }
    }

    /// Where pieces lie.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Measures a road; see [`probe`].
    ///
    /// # Errors
    /// The first error, where nothing came at all.
    pub async fn measure(&self, road: &Probe) -> Result<Measured, SourceError> {
        probe(&self.client, road).await
    }

    /// Opens one. Nothing is fetched before the engine asks.
    ///
    /// # Errors
    /// [`RelayError::Listen`] and [`RelayError::Random`].
    pub async fn open(&self, order: Order, settings: &Settings) -> Result<Relay, RelayError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| RelayError::Listen(e.to_string()))?;
        let address = listener.local_addr().map_err(|e| RelayError::Listen(e.to_string()))?;
        let repository = format!("{address}/{}", order.repository.path()).parse::<Repository>();
        let repository = repository.map_err(|e| RelayError::Listen(e.to_string()))?;
        let (username, password) = ("layerkeeper".to_owned(), password()?);
        let (messages, inbox) = mpsc::channel(WAITING);
        let (desk, snapshot) = Desk::new(Setup {
            client: self.client.clone(),
            sources: Sources::new(order.sources().cloned())
                .and_caches(order.caches.iter().cloned())
                .each_at_most(settings.connections_per_registry),
            spool: self.spool.clone(),
            spool_max: settings.spool_max,
            limit: order.limit.clone(),
            start: order.start,
            most: settings.connections,
        });
        let close = CancellationToken::new();
        let blobs = order.blobs.keys().copied().collect();
        let counter = Counter::new(self.client.clone(), &order, &username, &password, messages);
        let reached = counter.reached.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(desk.run(inbox, close.clone()));
        tasks.spawn(serve(listener, Arc::new(counter), close.clone()));
        tracing::debug!(%address, repository = %order.repository, "a relay is open");
        Ok(Relay { repository, username, password, snapshot, spool: self.spool.clone(), blobs, reached, close, tasks })
    }
}

impl Relay {
    /// The name under which the engine pulls through it: `127.0.0.1:PORT/owner/name`.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// User name and password that it wants to see, made for this pull.
    pub fn credentials(&self) -> (&str, &str) {
        (&self.username, &self.password)
    }

    /// Has anybody come with this pull's credentials?
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// How far it is.
    pub fn snapshot(&self) -> Snapshot {
        self.look(Snapshot::clone)
    }

    /// Looks how far it is. The relay tells nothing new before `at` is done.
    pub fn look<T>(&self, at: impl FnOnce(&Snapshot) -> T) -> T {
        at(&self.snapshot.borrow())
    }

    /// Watches how far it is; [`Snapshot::failure`] says when it cannot go on.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }

    /// Closes it, and gives what it did. What came stays in the spool.
    pub async fn close(mut self) -> Snapshot {
        self.close.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            self.tasks.shutdown().await;
        }
        self.snapshot()
    }

    /// Closes it, and removes its blobs from the spool: the engine has them.
    pub async fn finish(self) -> Snapshot {
        let (spool, blobs) = (self.spool.clone(), self.blobs.clone());
        let snapshot = self.close().await;
        spool.clear(blobs).await;
        snapshot
    }
}

fn password() -> Result<String, RelayError> {
    let mut bits = [0u8; 16];
    getrandom::fill(&mut bits).map_err(|e| RelayError::Random(e.to_string()))?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}
