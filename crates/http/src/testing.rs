//! A real keeper over a store and an engine in memory, and a client that says exactly the bytes it is told.

mod log;
#[path = "../../keeper/tests/shared/settings.rs"]
mod settings;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{
    Bytes, Digest, ImageName, JobId, Keep, Platform, Policy, Reference, Runtime, StoreKind, Timestamp,
};
use layerkeeper_engine::fake::{Fake, FakeImage};
use layerkeeper_engine::{Engine, Login};
use layerkeeper_keeper::{Clock, Keeper, Parts, Registry, SystemDisks};
use layerkeeper_registry::{Error, Fetched, Resolved};
use layerkeeper_store::{JobFilter, Options, Retention, Store};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use log::{logged, remember_log};
pub use settings::settings;

/// 2027-01-15 08:00 UTC, in milliseconds.
pub const NOW: i64 = 1_800_000_000_000;

/// Longer than anything here takes; a test that waits for it has failed.
pub const LONG: Duration = Duration::from_secs(20);

/// The daemon under test.
pub struct Ground {
    pub engine: Fake,
    pub keeper: Keeper,
    pub clock: Arc<Wound>,
    pub stop: CancellationToken,
    shelf: Shelf,
    tasks: Vec<JoinHandle<()>>,
}

/// A clock that goes only when it is wound.
pub struct Wound(AtomicI64);

/// The registry as the daemon sees it.
#[derive(Clone)]
struct Shelf {
    fake: Fake,
    images: Arc<Mutex<HashMap<Digest, FakeImage>>>,
    down: Arc<AtomicBool>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub fn name(text: &str) -> ImageName {
    format!("ghcr.io/acme/{text}").parse().unwrap()
}

pub fn app(version: &str) -> FakeImage {
    FakeImage::new(version, &[("os", 50_000_000), (version, 20_000_000)])
}

impl Ground {
    /// A keeper whose worker does not run: what is queued stays queued.
    pub async fn resting() -> Self {
        Self::with(Options::default()).await
    }

    /// The same, with other limits of the store.
    pub async fn with(options: Options) -> Self {
        let engine = Fake::new(StoreKind::Graphdriver);
        let shelf = Shelf { fake: engine.clone(), images: Arc::default(), down: Arc::default() };
        let clock = Arc::new(Wound(AtomicI64::new(NOW)));
        let parts = Parts {
            engine: Arc::new(engine.clone()),
            registry: Arc::new(shelf.clone()),
            relays: None,
            store: Store::open_in_memory(options).unwrap(),
            clock: clock.clone(),
            disks: Arc::new(SystemDisks),
            at: Arc::new(|_| {}),
            settings: settings(policy()),
            retention: Retention::default(),
            version: "0.1.0",
        };
        let keeper = Keeper::new(parts).await.unwrap();
        let ground = Self { engine, keeper, clock, stop: CancellationToken::new(), shelf, tasks: Vec::new() };
        ground.publish("base:1", &FakeImage::new("base", &[("os", 50_000_000)]));
        ground
    }

    /// Lets the worker work.
    pub fn start(&mut self) {
        let keeper = self.keeper.clone();
        self.spawn(async move { keeper.run(|| {}).await.unwrap() });
    }

    /// Runs something until the end of the test.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    /// Puts an image into the registry.
    pub fn publish(&self, tag: &str, image: &FakeImage) -> Digest {
        for digest in [image.resolved(), image.manifest_digest()] {
            self.shelf.images.lock().unwrap().insert(digest, image.clone());
        }
        self.engine.registry().publish(&name(tag), image)
    }

    /// Takes the registry away.
    pub fn registry_down(&self) {
        self.shelf.down.store(true, Ordering::SeqCst);
    }

    /// How many jobs there are.
    pub async fn jobs(&self) -> usize {
        self.keeper.jobs(JobFilter::default()).await.unwrap().len()
    }

    /// The value of a counter of webhook requests.
    pub async fn counted(&self, outcome: &str) -> String {
        let wanted = format!("layerkeeper_webhook_requests_total{{outcome=\"{outcome}\"}} ");
        let text = self.keeper.metrics_text().await;
        text.lines().find_map(|line| line.strip_prefix(&wanted)).unwrap_or("0").to_owned()
    }

    /// Waits for a job's final state.
    pub async fn end(&self, id: &str) -> String {
        let id: JobId = id.parse().unwrap();
        let state = async {
            loop {
                let state = self.keeper.job(&id).await.unwrap().unwrap().job.state;
                if state.is_final() {
                    return state.to_string();
                }
                self.clock.wind(Duration::from_millis(200));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, state).await.expect("the job ends")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Wound {
    pub fn wind(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub fn set_back(&self, by: Duration) {
        self.0.fetch_sub(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Wound {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }

    fn boot_id(&self) -> String {
        "boot".to_owned()
    }
}

#[async_trait]
impl Registry for Shelf {
    async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        if self.down.load(Ordering::SeqCst) {
            let registry = reference.repository.registry().to_owned();
            return Err(Error::Unreachable { registry, cause: "down".to_owned() });
        }
        let digest = self.fake.resolve(reference, None).await.map_err(|_| missing(reference))?;
        Ok(Resolved { digest, media_type: String::new(), size: None, moved: Bytes::ZERO })
    }

    async fn image(&self, reference: &Reference, _: &Platform) -> Result<Fetched, Error> {
        let digest = self.resolve(reference).await?.digest;
        let image = self.images.lock().unwrap().get(&digest).cloned().ok_or_else(|| missing(reference))?;
        let mut manifest = image.to_manifest();
        manifest.resolved = digest;
        Ok(Fetched { image: manifest, moved: Bytes(1000) })
    }

    async fn login(&self, _: &str) -> Result<Option<Login>, Error> {
        Ok(None)
    }
}

fn missing(reference: &Reference) -> Error {
    Error::NotFound { reference: Box::new(reference.clone()), detail: Default::default() }
}

/// One kept image and one repository for deploys.
pub fn policy() -> Policy {
    Policy {
        keep: vec![Keep::new(name("base:1"), None)],
        runtime: vec![Runtime {
            repository: name("app:x").repository,
            deploy_tags: vec!["sha-*".parse().unwrap()],
            prune_tags: vec!["sha-*".parse().unwrap()],
            keep_last: 2,
            keep_min: 1,
            min_age: Duration::from_secs(3600),
            download_budget: Bytes(300_000_000),
            download_limit: None,
        }],
        remove_superseded: RemoveSuperseded::Never,
        min_free: Bytes(0),
    }
}

/// Says these bytes and listens until the other side closes.
pub async fn say<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> Reply {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the server closes").ok();
    Reply::read(&answer)
}

/// One request on one connection.
pub async fn ask(to: SocketAddr, bytes: &[u8]) -> Reply {
    say(TcpStream::connect(to).await.unwrap(), bytes).await
}

/// `GET`, with a host of one's own.
pub async fn get(to: SocketAddr, path: &str) -> Reply {
    ask(to, format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").as_bytes()).await
}

/// Reads from a stream until this text has come; returns all that came.
pub async fn until<S: AsyncRead + Unpin>(stream: &mut S, text: &str) -> String {
    let mut all = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&all).contains(text) {
            match stream.read(&mut buffer).await.unwrap() {
                0 => panic!("closed before {text:?}: {}", String::from_utf8_lossy(&all)),
                n => all.extend_from_slice(&buffer[..n]),
            }
        }
    };
    tokio::time::timeout(LONG, read).await.unwrap_or_else(|_| panic!("{text:?} does not come"));
    String::from_utf8(all).unwrap()
}

impl Reply {
    fn read(answer: &[u8]) -> Self {
        let text = String::from_utf8_lossy(answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body as JSON; it must not be chunked.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|cause| panic!("{cause}: {self:?}"))
    }

    /// The problem's `type`, without what all have in common; checks that the document is one.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status);
        assert!(json["title"].is_string() && json["detail"].is_string());
        json["type"].as_str().unwrap().strip_prefix("urn:layerkeeper:problem:").unwrap().to_owned()
    }
}
