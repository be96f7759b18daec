//! The accept loop: one task per connection, caps on their number, and a drain that leaves no task behind.

pub mod listener;
mod moving;
mod sources;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

pub use listener::{Accepted, Listener, Socket};
use moving::Moving;
pub use sources::SourceLimit;
use sources::Sources;

/// How often a source that has all its connections is worth a warning.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Who is at the other end; in every request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over the network.
    Tcp {
        /// Theirs.
        remote: SocketAddr,
        /// Ours, as this connection reached it.
        local: SocketAddr,
    },
    /// Over a Unix socket; the kernel vouches for both (`SO_PEERCRED`).
    Unix {
        /// The peer's user.
        uid: u32,
        /// The peer's process.
        pid: Option<i32>,
    },
}

/// Certificate and key; a new one counts from the next connection on.
pub type TlsConfig = watch::Receiver<Arc<rustls::ServerConfig>>;

/// How a listener treats its connections.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// A connection that has not sent a whole request head by then is closed; idle ones too. Also for the TLS handshake.
    pub header_timeout: Duration,
    /// A connection whose other side takes nothing of what it is sent for that long is closed.
    pub write_timeout: Duration,
    /// Connections at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// How many of them one source may have; more are closed at once. None: as many as there are.
    pub per_source: Option<SourceLimit>,
    /// At shutdown, requests in flight get this long.
    pub drain: Duration,
    /// HTTPS instead of HTTP.
    pub tls: Option<TlsConfig>,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            max_connections: 256,
            per_source: Some(SourceLimit::default()),
            drain: Duration::from_secs(5),
            tls: None,
        }
    }
}

/// Serves until `shutdown`, then lets requests in flight finish for [`ServeSettings::drain`]. When this returns, or is
/// dropped, no connection is left.
pub async fn serve(listener: Listener, router: Router, settings: ServeSettings, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(settings.max_connections));
    let sources = Sources::new(settings.per_source);
    let mut said = None;
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = shutdown.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        while let Some(ended) = connections.try_join_next() {
            note(&ended);
        }
        let Accepted { socket, peer } = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                // out of descriptors or memory: others must end before this can go on, so do not spin
                warn!(listener = listener.key(), %cause, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(entry) = sources.enter(&peer) else {
            note_full(&mut said, &listener, &peer);
            continue;
        };
        let (router, settings, shutdown) = (router.clone(), settings.clone(), shutdown.clone());
        connections.spawn(async move {
            let limit = settings.write_timeout;
            match socket {
                Socket::Tcp(stream) => secure(Moving::new(stream, limit), peer, router, &settings, shutdown).await,
                Socket::Unix(stream) => connection(Moving::new(stream, limit), peer, router, &settings, shutdown).await,
            }
            drop((slot, entry));
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(settings.drain, async {
        while let Some(ended) = connections.join_next().await {
            note(&ended);
        }
    });
    if drained.await.is_err() {
        warn!(connections = connections.len(), "closing connections that did not finish in time");
        connections.shutdown().await;
    }
}

fn note(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(cause) = ended
        && cause.is_panic()
    {
        error!(%cause, "a request handler panicked");
    }
}

/// A flood must not flood the log.
fn note_full(said: &mut Option<Instant>, listener: &Listener, peer: &Peer) {
    if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
        *said = Some(Instant::now());
        warn!(listener = listener.key(), ?peer, "closed a connection: its source has as many as one may have");
    }
}

/// The TLS handshake, where there is one, happens in the connection's own task: a slow one holds up nobody.
async fn secure(
    stream: Moving<TcpStream>,
    peer: Peer,
    router: Router,
    settings: &ServeSettings,
    shutdown: CancellationToken,
) {
    let Some(tls) = &settings.tls else { return connection(stream, peer, router, settings, shutdown).await };
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
    match tokio::time::timeout(settings.header_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, peer, router, settings, shutdown).await,
        Ok(Err(cause)) => debug!(?peer, %cause, "TLS handshake failed"),
        Err(_) => debug!(?peer, "TLS handshake took too long"),
    }
}

async fn connection<S>(stream: S, peer: Peer, router: Router, settings: &ServeSettings, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let tower = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        hyper::service::Service::call(&tower, request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_headers(64)
        .max_buf_size(32 * 1024);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = ended {
        debug!(?peer, %cause, "connection ended early");
    }
}
