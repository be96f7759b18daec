//! The configuration: one TOML file, checked as a whole before anything is touched.

mod build;
mod environment;
mod expect;
pub mod keys;
pub mod pin;
mod policy;
mod problem;
pub mod reference;
mod schedule;
pub mod secret;
mod section;
mod transfer;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use layerkeeper_keeper::Settings;
use toml::de::DeTable;

pub use environment::Environment;
pub use problem::{ConfigError, Place, Problem, Wrong};
use section::Reader;
pub use value::{duration, kept};

/// Where the configuration lies unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/layerkeeper/layerkeeper.toml";

/// A configuration that passed every check that needs no other file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// The engine's address: `unix:///PATH` or `tcp://HOST:PORT`.
    pub engine_host: String,
    /// Where to listen.
    pub listen: Listen,
    /// The public listener's secret and certificate.
    pub webhook: Webhook,
    /// How registries are reached.
    pub registry: Registry,
    /// What is remembered.
    pub state: State,
    /// Jobs that may wait at once.
    pub max_queued: usize,
    /// What the keeper needs to know; replaced as a whole on reload.
    pub settings: Settings,
    lines: BTreeMap<String, usize>,
}

/// Where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The public listener.
    pub webhook: Option<SocketAddr>,
    /// The local listener; a loopback address.
    pub status: SocketAddr,
    /// Further Host names of the local listener, in lower case.
    pub status_hosts: Vec<String>,
    /// Metrics for a remote Prometheus.
    pub metrics: Option<SocketAddr>,
    /// The control socket.
    pub control: PathBuf,
}

/// The public listener's secret, certificate and pace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The file with the secret; none where it is neither named nor handed over by systemd.
    pub secret_file: Option<PathBuf>,
    /// Certificate chain and key.
    pub tls: Option<Tls>,
    /// Requests per second from one sender in the long run; none for no limit.
    pub rate: Option<u32>,
    /// Requests at once.
    pub burst: u32,
    /// Connections of one sender; none for no limit.
    pub connections: Option<usize>,
}

/// A certificate chain and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// How registries are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Docker's `config.json` with the credentials; none leaves the places where it usually lies.
    pub docker_config: Option<PathBuf>,
    /// Hosts that speak plain HTTP.
    pub insecure: Vec<String>,
    /// Private certificate authorities: `HOST:PORT/ca.crt` below this.
    pub certs_dir: PathBuf,
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where the database lies.
    pub dir: PathBuf,
    /// Finished jobs and events go after so many days.
    pub keep_days: u32,
    /// At most so many finished jobs.
    pub keep_jobs: u64,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let right = "name the file with --config, or copy config/layerkeeper.toml there and change it";
            let wrong = Wrong::new(format!("the configuration cannot be read: {error}"), right);
            ConfigError::new(file, vec![wrong.at(Place::File, "")])
        })?;
        Self::parse(&text, file, environment)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let reader = Reader::new(text);
        let (root, broken) = DeTable::parse_recoverable(text);
        for error in &broken {
            reader.report_broken(error);
        }
        let root = root.into_inner();
        // what could not be read is no ground for judging the rest
        let config = if broken.is_empty() { build::build(&reader, &root, file, environment) } else { None };
        let (problems, lines) = reader.finish();
        match config {
            Some(config) if problems.is_empty() => Ok(Self { lines, ..config }),
            _ => Err(ConfigError::new(file, problems)),
        }
    }

    /// How registries are reached, for whoever asks them.
    pub fn registry_settings(&self) -> layerkeeper_registry::Settings {
        layerkeeper_registry::Settings {
            docker_config: self.registry.docker_config.clone(),
            insecure: self.registry.insecure.clone(),
            certs_dir: self.registry.certs_dir.clone(),
            ..layerkeeper_registry::Settings::default()
        }
    }

    /// `FILE:LINE` of a key, or the file alone where the key has its default.
    pub fn place(&self, key: &str) -> String {
        let file = self.file.display();
        self.lines.get(key).map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
    }

    /// Something that turned out wrong with a key's value later: a port in use, a file that is not there.
    pub fn problem(&self, key: &str, wrong: Wrong) -> Problem {
        wrong.at(self.lines.get(key).map_or(Place::File, |line| Place::Line(*line)), key)
    }
}

/// The control socket that a configuration names, whatever else may be wrong with it: a command finds the daemon that
/// runs even where its file has been spoiled since.
pub fn control_socket(text: &str) -> PathBuf {
    path_of(text, "listen", "control", value::socket_path)
}

/// The state directory that a configuration names, whatever else may be wrong with it.
pub fn state_dir(text: &str) -> PathBuf {
    path_of(text, "state", "dir", value::path)
}

fn path_of(text: &str, table: &'static str, key: &'static str, read: fn(&str) -> Result<PathBuf, Wrong>) -> PathBuf {
    let reader = Reader::new(text);
    let (root, _) = DeTable::parse_recoverable(text);
    let root = root.into_inner();
    let named = reader.section(&root, table).text(key, read);
    named.or_else(|| keys::find(table, key)?.default_text().map(PathBuf::from)).unwrap_or_default()
}
