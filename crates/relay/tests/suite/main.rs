//! The relay in front of a real registry: what the specification asks of it, that it gives the origin's very bytes over many
//! connections, and that it lives with every fault on the way.
#![allow(clippy::unwrap_used)] // clippy knows tests by their attribute only, and this is all test

mod cache;
mod conformance;
mod connections;
mod content;
mod endless;
mod fault;
mod http2;
mod lies;
mod lifetime;
mod mirror;
mod resume;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, Repository};
use layerkeeper_registry::{Client, Settings as ClientSettings};
use layerkeeper_relay::{Limit, Order, Relay, Relays, Settings, Snapshot, Spool};
use layerkeeper_testkit::http::{Response, Server};
use layerkeeper_testkit::{Auth, Image, Layer, Proxy, Pushed, Registry};

const MB: u64 = 1_000_000;

/// A registry, a proxy before it that can be told to misbehave, and relays that go through the proxy.
struct Ground {
    registry: Registry,
    proxy: Proxy,
    relays: Relays,
    settings: Settings,
    dir: tempfile::TempDir,
}

/// An open relay, and what is behind it.
struct Open {
    relay: Relay,
    pushed: Pushed,
}

impl Ground {
    fn new() -> Self {
        Self::of(Registry::start(Auth::Open).unwrap())
    }

    fn of(registry: Registry) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let relays = Relays::new(client(dir.path()), Spool::new(dir.path().join("spool")));
        let settings = Settings { spool_max: Bytes(1000 * MB), connections: 8, connections_per_registry: 8 };
        Self { registry, proxy, relays, settings, dir }
    }

    /// An image of these layers, by size.
    fn push(&self, layers: &[u64]) -> Pushed {
        self.push_to(&self.registry, layers)
    }

    fn push_to(&self, registry: &Registry, layers: &[u64]) -> Pushed {
        let mut image = Image::new();
        for (seed, size) in layers.iter().enumerate() {
            image = image.layer(Layer::random(seed as u64 + 1, Bytes(*size)).unwrap());
        }
        image.push(registry, "acme/app:1").unwrap()
    }

    /// What a pull of it through the proxy orders.
    fn order(&self, pushed: &Pushed) -> Order {
        let sizes = pushed.layers.iter().map(|layer| (layer.blob, layer.size));
        Order {
            repository: self.proxied(&pushed.name.repository),
            mirrors: Vec::new(),
            caches: Vec::new(),
            blobs: sizes.chain([(pushed.config.digest, pushed.config.size)]).collect(),
            start: 4,
            limit: Arc::new(Limit::default()),
            away: false,
        }
    }

    fn proxied(&self, repository: &Repository) -> Repository {
        at(&self.proxy.host(), repository)
    }

    async fn open(&self, pushed: &Pushed) -> Open {
        self.open_at(&self.proxy.host(), pushed).await
    }

    /// A relay whose origin is the server at this host.
    async fn open_at(&self, host: &str, pushed: &Pushed) -> Open {
        let mut order = self.order(pushed);
        order.repository = at(host, &pushed.name.repository);
        Open { relay: self.relays.open(order, &self.settings).await.unwrap(), pushed: pushed.clone() }
    }
}

/// A client that knows nobody.
fn client(dir: &std::path::Path) -> Client {
    std::fs::write(dir.join("config.json"), "{}").unwrap();
    Client::new(ClientSettings {
        docker_config: Some(dir.join("config.json")),
        certs_dir: dir.join("certs.d"),
        read_timeout: Duration::from_secs(2),
        ..ClientSettings::default()
    })
    .unwrap()
}

/// The same repository at another host.
fn at(host: &str, repository: &Repository) -> Repository {
    format!("{host}/{}", repository.path()).parse().unwrap()
}

impl Open {
    /// A request as the engine makes it, with the pull's own credentials.
    async fn ask(&self, method: &'static str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("Authorization".to_owned(), self.authorization()));
        self.ask_as_is(method, path, headers).await
    }

    fn authorization(&self) -> String {
        let (username, password) = self.relay.credentials();
        format!("Basic {}", base64(&format!("{username}:{password}")))
    }

    async fn ask_as_is(&self, method: &'static str, path: &str, headers: Vec<(String, String)>) -> Response {
        let (host, path) = (self.host(), path.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let server = Server::tcp(host);
            let mut request = server.request(method, &path);
            for (name, value) in headers {
                request = request.header(&name, value);
            }
            request.send().unwrap()
        });
        asked.await.unwrap()
    }

    /// Where the relay listens.
    fn host(&self) -> String {
        self.relay.repository().registry().to_owned()
    }

    async fn blob(&self, digest: Digest) -> Response {
        self.ask("GET", &format!("/v2/acme/app/blobs/{digest}"), &[]).await
    }

    /// Fetches a layer, and sees that its bytes are those of its digest.
    async fn layer(&self, at: usize) {
        let layer = &self.pushed.layers[at];
        let response = self.blob(layer.blob).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.body.len() as u64, layer.size.0);
        assert_eq!(Digest::of(&response.body), layer.blob);
    }

    fn came(&self) -> Bytes {
        self.relay.snapshot().came()
    }

    async fn close(self) -> Snapshot {
        self.relay.close().await
    }
}

/// It must not take longer.
async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), what).await.unwrap()
}

/// First and last byte of the part that a request asked for.
fn asked(range: Option<&str>) -> Option<(usize, usize)> {
    let (first, last) = range?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
