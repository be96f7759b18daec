//! The endpoint: takes the engine's requests, as the OCI distribution specification 1.1 words them ("Pull").
//!
//! Read-only, one repository, HTTP/1.1. The engine tries HTTPS first: its ClientHello is no request, and the connection ends.

mod blob;
mod manifest;
pub(crate) mod range;
mod refusal;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes as Chunk;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use layerkeeper_core::{Bytes, Digest, Repository};
use layerkeeper_registry::{Client, Document};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::desk::Message;
use crate::relay::Order;
use refusal::{Code, refuse};

/// Connections at once. An engine uses three for layers and some for the rest.
const MOST_CONNECTIONS: usize = 32;

/// A connection that has not sent a whole request by then is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Body = UnsyncBoxBody<Chunk, std::io::Error>;

/// What all requests share.
pub(crate) struct Counter {
    client: Client,
    /// What is pulled, by its real name.
    origin: Repository,
    /// Who is asked, the origin first where it answers.
    repositories: Vec<Repository>,
    /// Sizes of the blobs that the manifest lists.
    blobs: HashMap<Digest, Bytes>,
    /// The digest of the one `Authorization` that is let in: comparing digests tells nothing by its time.
    key: Digest,
    messages: mpsc::Sender<Message>,
    /// Somebody came with the key.
    pub reached: Arc<AtomicBool>,
    /// Manifests that were read for this pull.
    documents: Mutex<HashMap<Digest, Arc<Document>>>,
}

impl Counter {
    pub fn new(client: Client, order: &Order, username: &str, password: &str, messages: mpsc::Sender<Message>) -> Self {
        let key = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
        Self {
            client,
            origin: order.repository.clone(),
            repositories: order.sources().chain(&order.caches).cloned().collect(),
            blobs: order.blobs.clone(),
            key: Digest::of(key.as_bytes()),
            messages,
            reached: Arc::default(),
            documents: Mutex::default(),
        }
    }

    fn lets_in(&self, header: Option<&HeaderValue>) -> bool {
        header.is_some_and(|header| Digest::of(header.as_bytes()) == self.key)
    }
}

/// Serves until `close`. When this returns no connection is left.
pub(crate) async fn serve(listener: TcpListener, counter: Arc<Counter>, close: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = close.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                // out of descriptors: others must end before this can go on, so do not spin
                tracing::warn!(%error, "the relay cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let counter = counter.clone();
        connections.spawn(async move {
            let _slot = slot;
            drop(socket.set_nodelay(true));
            let service = service_fn(|request| {
                let counter = counter.clone();
                async move { Ok::<_, Infallible>(answer(&counter, request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(64 << 10);
            if let Err(error) = http.serve_connection(TokioIo::new(socket), service).await {
                tracing::trace!(%error, "a connection to the relay ended");
            }
        });
    }
    connections.shutdown().await;
}

async fn answer(counter: &Arc<Counter>, request: Request<Incoming>) -> Response<Body> {
    if !counter.lets_in(request.headers().get(AUTHORIZATION)) {
        return refuse(Code::Unauthorized, "these are not the credentials of this pull");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refuse(Code::Unsupported, "the relay is for pulls only");
    }
    counter.reached.store(true, Ordering::Relaxed);
    let head = request.method() == Method::HEAD;
    let path = request.uri().path();
    let Some(path) = path.strip_prefix("/v2").filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
        return refuse(Code::NotFound, "there is nothing but /v2/");
    };
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return json(StatusCode::OK, "{}");
    }
    let parts = |kind: &str| path.rsplit_once(kind);
    match (parts("/manifests/"), parts("/blobs/")) {
        (Some((name, reference)), _) if name == counter.origin.path() => {
            manifest::answer(counter, reference, head).await
        }
        (_, Some((name, digest))) if name == counter.origin.path() => {
            blob::answer(counter, digest, request.headers(), head).await
        }
        (Some((name, _)), _) | (_, Some((name, _))) => {
            refuse(Code::NameUnknown, &format!("{name} is not what is being pulled"))
        }
        (None, None) => refuse(Code::NotFound, "neither a manifest nor a blob"),
    }
}

/// The head that every answer has, with a body of JSON.
fn json(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

fn full(bytes: impl Into<Chunk>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
