//! Debian's own `docker-registry` (distribution), open and behind a password.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use layerkeeper_core::{Bytes, DiffId, Digest};
use layerkeeper_registry::{Error, Login};
use serde_json::json;

use crate::shelf::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::{Ground, amd64, reference};

/// `htpasswd -Bbn ci hunter2`
const HTPASSWD: &str = "ci:$2y$05$YutCm81QhiOHO/Yi/FTZj.Khix/IPurtbxObL7ZXE9oI7xg6PRYy6\n";

/// A registry of its own on a free loopback port; it ends when this is dropped.
struct Registry {
    child: Child,
    host: String,
    http: reqwest::Client,
    password: Option<&'static str>,
    _dir: tempfile::TempDir,
}

impl Registry {
    async fn start(password: Option<&'static str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // it may be the first in this process that needs TLS; an error means that it is not
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        // another process may take the free port before the registry does: then try another one
        for _ in 0..5 {
            let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let mut child = spawn(dir.path(), &host, password.is_some());
            if answers(&http, &host, &mut child).await {
                return Self { child, host, http, password, _dir: dir };
            }
        }
        panic!("docker-registry did not start");
    }

    async fn put(&self, path: &str, media_type: &str, bytes: Vec<u8>) {
        let request = self.http.put(format!("http://{}/v2/acme/app/{path}", self.host));
        let answer = self.signed(request).header("content-type", media_type).body(bytes).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
    }

    async fn push_blob(&self, bytes: Vec<u8>) {
        let begin = self.http.post(format!("http://{}/v2/acme/app/blobs/uploads/", self.host));
        let begun = self.signed(begin).send().await.unwrap();
        let mut location = reqwest::Url::parse(begun.headers()["location"].to_str().unwrap()).unwrap();
        location.query_pairs_mut().append_pair("digest", &Digest::of(&bytes).to_string());
        let end = self.signed(self.http.put(location)).header("content-type", "application/octet-stream");
        assert!(end.body(bytes).send().await.unwrap().status().is_success());
    }

    /// Pushes an image of two layers under an index; the digests of index and manifest.
    async fn push_image(&self) -> (Digest, Digest) {
        let layers = [b"first layer".to_vec(), b"second layer".to_vec()];
        let diff_ids: Vec<_> = layers.iter().map(|layer| DiffId::of(layer).to_string()).collect();
        let config =
            json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = config.to_string().into_bytes();
        let describe = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() });
        let listed: Vec<_> = layers.iter().map(|layer| describe(OCI_LAYER, layer)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": describe(OCI_CONFIG, &config), "layers": listed,
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = describe(OCI_MANIFEST, &manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        let index =
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] }).to_string().into_bytes();
        for blob in layers.into_iter().chain([config]) {
            self.push_blob(blob).await;
        }
        let digests = (Digest::of(&index), Digest::of(&manifest));
        self.put(&format!("manifests/{}", digests.1), OCI_MANIFEST, manifest).await;
        self.put("manifests/v1", OCI_INDEX, index).await;
        digests
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.password.is_some() { request.basic_auth("ci", self.password) } else { request }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // it may have ended by itself; the test has failed then already
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(dir: &Path, host: &str, protected: bool) -> Child {
    let (config, passwords) = (dir.join("config.yml"), dir.join("htpasswd"));
    let mut text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'}}\n",
        dir.join("data").display()
    );
    if protected {
        std::fs::write(&passwords, HTPASSWD).unwrap();
        text += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", passwords.display());
    }
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("docker-registry is not installed; run `cargo xtask test`, which installs it")
}

async fn answers(http: &reqwest::Client, host: &str, child: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        if http.get(format!("http://{host}/v2/")).send().await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(child.kill());
    drop(child.wait());
    false
}

#[tokio::test]
async fn an_image_is_read_back_from_an_open_registry() {
    let registry = Registry::start(None).await;
    let (index, manifest) = registry.push_image().await;
    let (ground, by_tag) = (Ground::new(), reference(&registry.host, "v1"));

    let resolved = ground.client.resolve(&by_tag).await.unwrap();
    assert_eq!((resolved.digest, resolved.media_type.as_str(), resolved.moved), (index, OCI_INDEX, Bytes::ZERO));
    let fetched = ground.client.image(&by_tag, &amd64()).await.unwrap();
    assert_eq!((fetched.image.resolved, fetched.image.manifest.digest), (index, manifest));
    assert_eq!(fetched.image.diff_ids(), [DiffId::of(b"first layer"), DiffId::of(b"second layer")]);
    assert_eq!(fetched.moved, fetched.image.metadata_bytes());
    let by_digest = ground.client.image(&reference(&registry.host, &manifest.to_string()), &amd64()).await.unwrap();
    assert_eq!(by_digest.image.layers, fetched.image.layers);

    let absent = ground.client.resolve(&reference(&registry.host, "v2")).await.unwrap_err();
    assert!(matches!(absent, Error::NotFound { .. }), "{absent}");
    let digest = Digest::of(b"absent").to_string();
    let absent = ground.client.image(&reference(&registry.host, &digest), &amd64()).await.unwrap_err();
    assert!(absent.to_string().contains("MANIFEST_UNKNOWN"), "{absent}");
}

#[tokio::test]
async fn a_password_opens_a_registry_that_wants_one() {
    let registry = Registry::start(Some("hunter2")).await;
    let (index, _) = registry.push_image().await;
    let (ground, by_tag) = (Ground::new(), reference(&registry.host, "v1"));

    let refused = ground.client.image(&by_tag, &amd64()).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized { login: Login::Anonymous, .. }), "{refused}");
    ground.login(&registry.host, "ci", "wrong");
    let refused = ground.client.image(&by_tag, &amd64()).await.unwrap_err();
    assert!(matches!(&refused, Error::Unauthorized { login: Login::User(name), .. } if name == "ci"), "{refused}");
    ground.login(&registry.host, "ci", "hunter2");
    assert_eq!(ground.client.image(&by_tag, &amd64()).await.unwrap().image.resolved, index);
}
