//! A real registry (distribution) of our own on a loopback port.

mod access;
mod auth;
mod storage;
mod tls;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use layerkeeper_core::{Bytes, Digest};

pub use access::{Access, Agent, Mark};
pub use auth::Auth;
pub(crate) use auth::basic;
pub use tls::TlsFront;

use crate::error::{Doing, Error, Result};
use crate::http::{Request, Server};
use crate::port::free_port;
use crate::process::{Process, Program};
use crate::scratch::Scratch;
use crate::token::TokenServer;

const READY: Duration = Duration::from_secs(20);

/// A running (or stopped) registry; dropping it ends it and removes its storage.
#[derive(Debug)]
pub struct Registry {
    // before the directory that it lives in
    process: Process,
    program: Program,
    port: u16,
    auth: Auth,
    tokens: Option<TokenServer>,
    scratch: Scratch,
}

impl Registry {
    /// Starts one with an empty storage; returns when it answers.
    pub fn start(auth: Auth) -> Result<Self> {
        Self::configured(auth, "")
    }

    /// Starts an open pull-through cache of the registry at `remote` (`http://127.0.0.1:5000`).
    pub fn cache_of(remote: &str) -> Result<Self> {
        Self::configured(Auth::Open, &format!("proxy:\n  remoteurl: {remote}\n"))
    }

    /// Starts one; `more` is added to its configuration file (YAML, top level).
    pub fn configured(auth: Auth, more: &str) -> Result<Self> {
        loop {
            if let Some(registry) = Self::at(free_port()?, auth.clone(), more)? {
                return Ok(registry);
            }
        }
    }

    /// `None` where somebody else took the port first.
    fn at(port: u16, auth: Auth, more: &str) -> Result<Option<Self>> {
        let tokens = auth.token_server()?;
        let scratch = Scratch::new("registry")?;
        let dir = scratch.path();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\n\
             storage:\n  filesystem: {{rootdirectory: {dir}/storage}}\n  delete: {{enabled: true}}\n  \
             maintenance: {{uploadpurging: {{enabled: false}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\", secret: testkit}}\n{more}\n",
            dir = dir.display()
        );
        config += &auth.configure(dir, tokens.as_ref())?;
        let path = dir.join("config.yml");
        fs::write(&path, config).doing(|| format!("writing {}", path.display()))?;
        let program = Program::new("registry", "docker-registry").arg("serve").arg(&path);
        let process = program.start(&scratch)?;
        let mut registry = Self { process, program, port, auth, tokens, scratch };
        match registry.until_ready() {
            Err(_) if registry.process.tail().contains("address already in use") => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(Some(registry)),
        }
    }

    /// `127.0.0.1:PORT`, the first part of its images' names.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How it authenticates.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The server that issues its tokens, with [`Auth::Token`].
    pub fn tokens(&self) -> Option<&TokenServer> {
        self.tokens.as_ref()
    }

    /// A request to it with the credentials of somebody who may do everything in this repository.
    pub fn request<'a>(&self, server: &'a Server, method: &'a str, path: &str, repository: &str) -> Request<'a> {
        let header = self.auth.header(self.tokens.as_ref(), repository);
        server.request(method, path).header("User-Agent", access::TESTKIT).maybe_header("Authorization", header)
    }

    /// Its API.
    pub fn api(&self) -> Server {
        Server::tcp(self.host())
    }

    /// Now, as a place in the access log.
    pub fn mark(&self) -> Mark {
        Mark::end_of(&self.process.out_path())
    }

    /// What was asked since then, in order of completion: a registry logs a request when its answer is done. So this
    /// first waits until nothing was logged for 200 ms.
    pub fn accesses(&self, since: Mark) -> Vec<Access> {
        access::settle(&self.process.out_path());
        access::read(&self.process.out_path(), since)
    }

    /// How many bytes of these layers this agent was sent since then, whole (200) and partial (206) answers alike.
    pub fn bytes_of_layers(&self, since: Mark, layers: &HashSet<Digest>, agent: Agent) -> Bytes {
        let counts = |access: &Access| {
            let of_layer = access.blob().is_some_and(|digest| layers.contains(&digest));
            access.method == "GET" && matches!(access.status, 200 | 206) && of_layer && access.agent() == agent
        };
        self.accesses(since).iter().filter(|access| counts(access)).map(|access| access.bytes).sum()
    }

    /// Stops it; the storage stays.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Kills it (KILL); the storage stays as it is.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again on the same port and storage.
    pub fn start_again(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            self.process.stop();
            self.process = self.program.start(&self.scratch)?;
            match self.until_ready() {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// What it logged besides the accesses.
    pub fn log(&self) -> String {
        self.process.err()
    }

    /// Where its storage is, for another registry that is to serve the same.
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("storage")
    }

    fn storage(&self) -> PathBuf {
        self.root().join("docker/registry/v2")
    }

    fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        let api = self.api();
        loop {
            let answer = api.get("/v2/").and_then(|answer| answer.expect(&[200, 401]));
            // another process may answer at this port while ours could not bind it
            let ended = self.process.ended();
            let why = match (answer, ended) {
                (Ok(_), None) => return Ok(()),
                (_, Some(status)) => format!("it ended with {status}"),
                (Err(error), None) => error.to_string(),
            };
            if ended.is_some() || Instant::now() > deadline {
                return Err(Error::NotReady { what: "docker-registry".into(), why, log: self.process.tail() });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
