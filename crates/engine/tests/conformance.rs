//! The conformance suite on real engines: 20.10 and 26.1 with the classic store, 26.1 with the containerd store. All are
//! private to this test; the host's own Docker is never asked.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use layerkeeper_core::{Bytes, Digest, Reference, StoreKind};
use layerkeeper_engine::conformance::{Published, Recipe, Subject, suite};
use layerkeeper_engine::contents::{self, LABEL};
use layerkeeper_engine::docker::Docker;
use layerkeeper_engine::{Engine, EngineError, Login};
use layerkeeper_testkit::{
    Agent, Auth, EngineKind, Engines, Image, Index, Layer, Mark, Proxy, Pushed, Registry, free_port,
};

struct OnDocker {
    docker: Docker,
    real: &'static layerkeeper_testkit::Engine,
    registry: Registry,
    mark: Mark,
    slow: Proxy,
    silent: u16,
    /// Layer blobs published: the access log names configs the same way.
    layers: Mutex<HashSet<Digest>>,
}

impl OnDocker {
    fn new(kind: EngineKind) -> Self {
        let real = Engines::of(kind);
        let registry = Registry::start(Auth::Open).unwrap();
        let slow = Proxy::start(&registry.host()).unwrap();
        slow.throttle(Some(Bytes(15_000)));
        Self {
            docker: Docker::connect(&real.host()).unwrap(),
            real,
            mark: registry.mark(),
            registry,
            slow,
            silent: free_port().unwrap(),
            layers: Mutex::default(),
        }
    }
}

/// A number that is the same for the same name.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn build(recipe: &Recipe) -> Image {
    let image = Image::new().label("label", &recipe.label).env("A", "b");
    let layer = |(name, size): &(String, u64)| {
        let layer = Layer::random(seed(name), Bytes(*size)).unwrap();
        if recipe.recompressed { layer.gzip(6) } else { layer }
    };
    let image = recipe.layers.iter().map(layer).fold(image, Image::layer);
    match recipe.files.is_empty() {
        true => image,
        false => image.layer(Layer::tree(recipe.files.clone(), &recipe.links).unwrap()),
    }
}

fn published(pushed: &Pushed) -> Published {
    Published {
        resolved: pushed.digest,
        manifest: pushed.manifest.digest,
        blobs: pushed.layers.iter().map(|layer| layer.blob).collect(),
        diff_ids: pushed.diff_ids(),
    }
}

#[async_trait]
impl Subject for OnDocker {
    fn engine(&self) -> &dyn Engine {
        &self.docker
    }

    fn store(&self) -> StoreKind {
        self.real.kind().store()
    }

    fn registry(&self) -> String {
        self.registry.host()
    }

    fn slow_registry(&self) -> String {
        self.slow.host()
    }

    fn slow_pulls(&self) -> usize {
        // the line is slow, yet a living pull moves some bytes in every second
        let before = self.slow.sent();
        std::thread::sleep(Duration::from_secs(1));
        usize::from(self.slow.sent() > before)
    }

    fn silent_registry(&self) -> String {
        format!("127.0.0.1:{}", self.silent)
    }

    async fn publish(&self, name: &str, recipe: &Recipe) -> Published {
        let image = build(recipe);
        let pushed = match recipe.indexed {
            true => Index::of([image]).attested().push(&self.registry, name).unwrap().remove(0),
            false => image.push(&self.registry, name).unwrap(),
        };
        self.layers.lock().unwrap().extend(pushed.layer_digests());
        published(&pushed)
    }

    fn lose_blob(&self, blob: Digest) {
        self.registry.lose_blob(blob).unwrap();
    }

    fn fetched(&self) -> Vec<Digest> {
        let layers = self.layers.lock().unwrap();
        let accesses = self.registry.accesses(self.mark);
        let fetches = accesses.iter().filter(|access| {
            access.method == "GET" && matches!(access.status, 200 | 206) && access.agent() == Agent::Engine
        });
        fetches.filter_map(|access| access.blob()).filter(|blob| layers.contains(blob)).collect()
    }

    async fn create_container(&self, from: &Reference) -> String {
        self.real.run_docker(["create", "--pull=never", &from.to_string()]).unwrap().trim().to_owned()
    }

    async fn remove_container(&self, id: &str) {
        self.real.run_docker(["rm", id]).unwrap();
    }
}

/// 20.10 takes credentials that it cannot decode for none. This password's JSON has bytes whose base64 differs between
/// the standard and the URL-safe alphabet, at each of the three places in a group.
async fn credentials_reach_the_registry(kind: EngineKind) {
    let docker = Docker::connect(&Engines::of(kind).host()).unwrap();
    let password = "~~~???>>>~?>ÿ";
    let registry = Registry::start(Auth::Htpasswd { user: "ci".into(), password: password.into() }).unwrap();
    let recipe = Recipe { label: "login".into(), layers: vec![("login a".into(), 1000)], ..Recipe::default() };
    let pushed = build(&recipe).push(&registry, "login/app:t").unwrap();
    let login = |password: &str| Login {
        username: "ci".into(),
        password: password.into(),
        identity_token: None,
        registry_token: None,
        server_address: registry.host(),
    };
    let reference = pushed.name.to_reference();
    for wrong in [None, Some(login("wrong"))] {
        let error = pull(&docker, &reference, wrong.as_ref()).await.unwrap_err();
        assert!(matches!(error, EngineError::Denied(_)), "{error:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        let error = docker.resolve(&reference, wrong.as_ref()).await.unwrap_err();
        assert!(matches!(error, EngineError::Denied(_)), "{error:?}");
    }
    assert_eq!(docker.resolve(&reference, Some(&login(password))).await, Ok(pushed.digest));
    pull(&docker, &reference, Some(&login(password))).await.unwrap();
    docker.remove(&reference).await.unwrap();
}

/// An image may declare volumes, which the engine copies for every container that it makes; and it may have a label that its
/// containers take over.
async fn reading_copies_nothing_and_hides_nobody(kind: EngineKind) {
    let real = Engines::of(kind);
    let docker = Docker::connect(&real.host()).unwrap();
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = Layer::files([("srv/db/table", "rows"), ("srv/db/sub/index", "tree"), ("srv/app", "#!")]).unwrap();
    let image = Image::new().layer(layer).volume("/srv/db").volume("/srv/db/sub/").volume("/nowhere");
    let pushed = image.label(LABEL, "0123456789abcdef").push(&registry, "volumes/app:t").unwrap();
    let name = pushed.name.to_reference();
    pull(&docker, &name, None).await.unwrap();
    let volumes = || real.run_docker(["volume", "ls", "--quiet"]).unwrap();
    let before = volumes();
    let id = docker.open(&name, "fedcba9876543210").await.unwrap();
    let mut seen = Vec::new();
    let archive = docker.archive(&id, "/srv").await.unwrap();
    contents::files("/srv", archive, |file| seen.push((file.path, file.digest))).await.unwrap();
    seen.sort();
    let wanted = [("/srv/app", "#!"), ("/srv/db/sub/index", "tree"), ("/srv/db/table", "rows")];
    assert_eq!(seen, wanted.map(|(path, content)| (path.to_owned(), Digest::of(content.as_bytes()))));
    assert_eq!(volumes(), before, "nothing was copied");

    let is_listed = async |id: &str| docker.containers().await.unwrap().iter().any(|container| container.id == *id);
    assert!(!is_listed(&id).await, "ours");
    let another = Docker::connect(&real.host()).unwrap().open(&name, "0123456789abcdef").await.unwrap();
    assert!(is_listed(&another).await, "what another daemon reads by holds the image, and may stay for ever");
    let theirs = real.run_docker(["create", "--pull=never", &name.to_string()]).unwrap().trim().to_owned();
    assert!(is_listed(&theirs).await, "it has the label from its image");
    let left = docker.left_open("0123456789abcdef").await.unwrap();
    assert_eq!(left, [another.as_str()], "it is none of ours to remove, though it has the label and never ran");
    real.run_docker(["rm", "--volumes", &theirs]).unwrap();
    for id in [id, another] {
        docker.close(&id).await.unwrap();
    }
    assert_eq!(volumes(), before);
    docker.remove(&name).await.unwrap();
}

async fn pull(docker: &Docker, reference: &Reference, login: Option<&Login>) -> Result<(), EngineError> {
    use futures_util::StreamExt;
    let mut stream = docker.pull(reference, login).await?;
    while let Some(line) = stream.next().await {
        line?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_20_10_with_the_classic_store_conforms() {
    suite(&OnDocker::new(EngineKind::A)).await;
    credentials_reach_the_registry(EngineKind::A).await;
    reading_copies_nothing_and_hides_nobody(EngineKind::A).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_26_1_with_the_classic_store_conforms() {
    suite(&OnDocker::new(EngineKind::B)).await;
    credentials_reach_the_registry(EngineKind::B).await;
    reading_copies_nothing_and_hides_nobody(EngineKind::B).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_26_1_with_the_containerd_store_conforms() {
    suite(&OnDocker::new(EngineKind::C)).await;
    credentials_reach_the_registry(EngineKind::C).await;
    reading_copies_nothing_and_hides_nobody(EngineKind::C).await;
}
