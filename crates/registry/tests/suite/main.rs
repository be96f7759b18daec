//! The client against small servers that behave well or badly, and against Debian's own `docker-registry`.
#![allow(clippy::unwrap_used)] // clippy knows tests by their attribute only, and this is all test

mod auth;
mod content;
mod debian;
mod helper;
mod image;
mod probe;
mod redirect;
mod refusal;
mod shelf;
mod stub;
mod trust;

use std::time::Duration;

use layerkeeper_core::{Platform, Reference};
use layerkeeper_registry::{Client, Settings};

/// The platform of every engine in these tests.
fn amd64() -> Platform {
    Platform { os: "linux".into(), architecture: "amd64".into(), variant: None }
}

/// A client that knows nobody; the folder holds its config.json (`{}` at first) and its certs.d.
struct Ground {
    client: Client,
    dir: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        Self::with(|_| ())
    }

    /// With other settings.
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            docker_config: Some(dir.path().join("config.json")),
            certs_dir: dir.path().join("certs.d"),
            request_timeout: Duration::from_secs(20),
            ..Settings::default()
        };
        change(&mut settings);
        let ground = Self { client: Client::new(settings).unwrap(), dir };
        ground.config("{}");
        ground
    }

    /// Takes this text for the certificate authority of a host, as Docker's folders do.
    fn trust(&self, host: &str, authority: &str) {
        let certs = self.dir.path().join("certs.d").join(host);
        std::fs::create_dir_all(&certs).unwrap();
        std::fs::write(certs.join("ca.crt"), authority).unwrap();
    }

    /// Writes config.json.
    fn config(&self, text: &str) {
        std::fs::write(self.dir.path().join("config.json"), text).unwrap();
    }

    /// Writes a config.json with this user for this registry.
    fn login(&self, registry: &str, username: &str, password: &str) {
        let auth = serde_json::json!({ "username": username, "password": password });
        self.config(&serde_json::json!({ "auths": { registry: auth } }).to_string());
    }
}

/// The reference `REGISTRY/acme/app:REST`, or `@REST` for a digest.
fn reference(registry: &str, rest: &str) -> Reference {
    let joint = if rest.starts_with("sha256:") { '@' } else { ':' };
    format!("{registry}/acme/app{joint}{rest}").parse().unwrap()
}
