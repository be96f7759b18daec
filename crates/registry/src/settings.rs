//! What the operator may set about talking to registries.

use std::path::PathBuf;
use std::time::Duration;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Docker's `config.json` with the credentials, or with the names of the helpers that have them. None looks, at each use, at
    /// `$CREDENTIALS_DIRECTORY/docker-config.json`, `$DOCKER_CONFIG/config.json` and `~/.docker/config.json`, and goes
    /// anonymous where none of them exists; a file that is named here must exist.
    pub docker_config: Option<PathBuf>,
    /// What credential helpers get for HOME where the environment has none: a folder that the daemon may write to.
    pub state_dir: Option<PathBuf>,
    /// Limit for a credential helper to answer.
    pub helper_timeout: Duration,
    /// Private CAs by registry, as Docker keeps them: `HOST[:PORT]/*.crt`, with an optional `NAME.cert` and `NAME.key`
    /// as client certificate. Read when a registry is first used.
    pub certs_dir: PathBuf,
    /// Registries, `host` or `host:port`, that speak plain HTTP. Loopback hosts always do, unless `certs_dir` has a
    /// directory for them.
    pub insecure: Vec<String>,
    /// Limit for a connection to be made, TLS included.
    pub connect_timeout: Duration,
    /// Limit for one whole request, from the connection to the last byte.
    pub request_timeout: Duration,
    /// For so long a blob that is read in pieces may send nothing.
    pub read_timeout: Duration,
    /// Limit for finding out what a reference resolves to, with all its requests, redirects and tokens together.
    pub resolve_timeout: Duration,
    /// Limit for reading an image's documents, likewise.
    pub image_timeout: Duration,
    /// How we introduce ourselves.
    pub user_agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            docker_config: None,
            state_dir: None,
            helper_timeout: Duration::from_secs(10),
            certs_dir: PathBuf::from("/etc/docker/certs.d"),
            insecure: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(20),
            resolve_timeout: Duration::from_secs(60),
            image_timeout: Duration::from_secs(120),
            user_agent: concat!("layerkeeper/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
