//! Servers that speak nothing but HTTP/2: a registry, and storage behind one that speaks HTTP/1.1.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes as Chunk;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use layerkeeper_registry::Client;
use layerkeeper_testkit::http::Server;
use layerkeeper_testkit::{Authority, Fault, Pushed, eventually};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::{Ground, MB, Open, at, client};

/// So many bytes of a body go out at once.
const CHUNK: usize = 16 << 10;

/// What happened at a front.
#[derive(Debug, Default)]
struct Seen {
    /// Handshakes that came to nothing, for want of a protocol.
    refused: AtomicU64,
    connections: AtomicU64,
    requests: AtomicU64,
    /// Bytes of bodies that the connections took.
    given: AtomicU64,
}

/// A TLS server in front of a registry that offers `h2` alone; it ends when this is dropped.
struct Front {
    host: String,
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Front {
    /// Its certificate is known to clients of this ground.
    async fn start(ground: &Ground) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let authority = Authority::new().unwrap();
        let certs = ground.dir.path().join("certs.d").join(&host);
        std::fs::create_dir_all(&certs).unwrap();
        std::fs::write(certs.join("ca.crt"), authority.pem()).unwrap();
        let issued = authority.issue(&["127.0.0.1"]).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (seen, behind) = (Arc::new(Seen::default()), ground.registry.host());
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), behind, seen.clone()));
        Self { host, seen, task }
    }

    fn refused(&self) -> u64 {
        self.seen.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, behind: String, seen: Arc<Seen>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, behind, seen) = (tls.clone(), behind.clone(), seen.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                return;
            };
            seen.connections.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(|request| answer(request, behind.clone(), seen.clone()));
            // a client that hangs up is no matter of the server
            drop(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// The registry's own answer, a chunk after the other.
async fn answer(
    request: Request<Incoming>,
    behind: String,
    seen: Arc<Seen>,
) -> Result<Response<BoxBody<Chunk, Infallible>>, Infallible> {
    assert_eq!(request.version(), Version::HTTP_2);
    seen.requests.fetch_add(1, Ordering::Relaxed);
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let (accept, range) = (header("accept"), header("range"));
    let got = tokio::task::spawn_blocking(move || {
        let server = Server::tcp(behind);
        server.request(&method, &path).maybe_header("Accept", accept).maybe_header("Range", range).send().unwrap()
    });
    let got = got.await.unwrap();
    let mut answer = Response::builder().status(got.status);
    for name in ["content-type", "content-length", "content-range", "docker-content-digest", "etag"] {
        if let Some(value) = got.header(name) {
            answer = answer.header(name, value);
        }
    }
    let chunks: Vec<Chunk> = got.body.chunks(CHUNK).map(Chunk::copy_from_slice).collect();
    let chunks = stream::iter(chunks.into_iter().map(move |chunk| {
        seen.given.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        Ok(Frame::data(chunk))
    }));
    Ok(answer.body(BodyExt::boxed(StreamBody::new(chunks))).unwrap())
}

impl Ground {
    /// A relay whose origin is this front.
    async fn fronted(&self, front: &Front, pushed: &Pushed) -> Open {
        let mut order = self.order(pushed);
        order.repository = at(&front.host, &pushed.name.repository);
        Open { relay: self.relays.open(order, &self.settings).await.unwrap(), pushed: pushed.clone() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_speaks_nothing_but_http2_gives_manifest_and_pieces() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB, 300_000, 6 * MB]);
    let front = Front::start(&ground).await;
    let open = ground.fronted(&front, &pushed).await;
    assert_eq!(open.ask("GET", &format!("/v2/acme/app/manifests/{}", pushed.digest), &[]).await.status, 200);
    open.layer(0).await;
    let refused = front.refused();
    assert!((1..=8).contains(&refused), "each connection that began at the same time: {refused}");
    tokio::join!(open.layer(1), open.layer(2));
    assert_eq!(front.refused(), refused, "it is known by now");
    let snapshot = open.close().await;
    assert_eq!((snapshot.came(), snapshot.remarks.len()), (pushed.layer_bytes(), 0), "{snapshot:#?}");
    assert!(front.seen.requests.load(Ordering::Relaxed) > 8, "in pieces: {:?}", front.seen);
    assert!(front.seen.connections.load(Ordering::Relaxed) >= 4, "over connections of their own: {:?}", front.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_http1_may_send_to_storage_that_speaks_nothing_but_http2() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB, 300_000]);
    let front = Front::start(&ground).await;
    for layer in &pushed.layers {
        let path = format!("/v2/acme/app/blobs/{}", layer.blob);
        let to = format!("https://{}{path}", front.host);
        ground.proxy.add(Fault::answer(307).header("Location", &to).on_path(&path));
    }
    let open = ground.open(&pushed).await;
    tokio::join!(open.layer(0), open.layer(1));
    let snapshot = open.close().await;
    assert_eq!((snapshot.came(), snapshot.remarks.len()), (pushed.layer_bytes(), 0), "{snapshot:#?}");
    assert!(front.refused() > 0, "{:?}", front.seen);
    assert!(front.seen.given.load(Ordering::Relaxed) >= pushed.layer_bytes().0, "{:?}", front.seen);
}

/// What the relay does not read yet waits at the server, but for a little of it.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_pieces_over_http2_hold_no_tens_of_megabytes() {
    const PIECE: u64 = 4 * MB;
    let ground = Ground::new();
    let pushed = ground.push(&[PIECE + 1]);
    let front = Front::start(&ground).await;
    let client: Client = client(ground.dir.path());
    let blob = client.blob(&at(&front.host, &pushed.name.repository), pushed.layers[0].blob);
    let mut pieces = Vec::new();
    for _ in 0..16 {
        pieces.push(blob.read(Some((0, PIECE))).await.unwrap());
    }
    let given = || front.seen.given.load(Ordering::Relaxed);
    eventually(Duration::from_secs(20), async || given() > 5 * MB).await;
    // time for the others to come, if they may
    let mut read = 0;
    while let Some(chunk) = pieces[0].chunk().await.unwrap() {
        read += chunk.len() as u64;
    }
    assert_eq!(read, PIECE);
    // 8 MiB of windows, and what the server itself holds ready: 400 kB of each
    assert!(given() - read < 16 * MB, "{}", given() - read);
}
