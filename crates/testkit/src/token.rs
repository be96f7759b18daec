//! The token server of a registry with `auth: token`, as ghcr.io and docker.io have one.
//!
//! Protocol: distribution's "Token Authentication Specification" (`docs/spec/auth/token.md`, `scope.md`).

mod jwt;
mod serve;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::background::Background;
use crate::error::{Doing, Result};
use jwt::{Grant, Signer};

/// A running token server.
#[derive(Debug)]
pub struct TokenServer {
    address: SocketAddr,
    desk: Arc<Desk>,
    _thread: Background,
}

/// Somebody asked for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The scopes asked for, such as `repository:acme/app:pull`.
    pub scopes: Vec<String>,
    /// Who authenticated, if anybody did.
    pub user: Option<String>,
    /// What we answered.
    pub status: u16,
}

/// What the server's requests share.
#[derive(Debug)]
struct Desk {
    signer: Signer,
    rules: Mutex<Rules>,
    seen: Mutex<Vec<TokenRequest>>,
}

#[derive(Debug, Clone)]
struct Rules {
    private: HashSet<String>,
    lifetime: Duration,
    refuse: Option<u16>,
}

impl TokenServer {
    /// The name of the registry as a service.
    pub const SERVICE: &str = "testkit-registry";
    /// The name in the tokens.
    pub const ISSUER: &str = "testkit-issuer";
    /// The user who may do everything.
    pub const USER: &str = "deployer";
    /// That user's password.
    pub const PASSWORD: &str = "correct horse";

    /// Starts one: everything may be pulled by anybody, nothing else without credentials.
    pub fn start() -> Result<Self> {
        let rules = Rules { private: HashSet::new(), lifetime: Duration::from_secs(300), refuse: None };
        let desk = Arc::new(Desk { signer: Signer::new()?, rules: Mutex::new(rules), seen: Mutex::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").doing(|| "binding a loopback port".into())?;
        listener.set_nonblocking(true).doing(|| "preparing a socket".into())?;
        let address = listener.local_addr().doing(|| "asking for the port".into())?;
        let serving = desk.clone();
        let thread = Background::run("token-server", move || serve::serve(listener, serving))?;
        Ok(Self { address, desk, _thread: thread })
    }

    /// Where tokens are to be asked for, as in a challenge's `realm`.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// The certificate (PEM) that the registry trusts.
    pub fn certificate(&self) -> &str {
        self.desk.signer.certificate()
    }

    /// From now on, pulling this repository takes credentials.
    pub fn make_private(&self, repository: &str) {
        self.desk.rules().private.insert(repository.to_owned());
    }

    /// How long the registry takes new tokens (default 5 minutes).
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.desk.rules().lifetime = lifetime;
    }

    /// From now on, every request gets this status; `None` ends that.
    pub fn refuse_with(&self, status: Option<u16>) {
        self.desk.rules().refuse = status;
    }

    /// Who asked so far.
    pub fn requests(&self) -> Vec<TokenRequest> {
        lock(&self.desk.seen).clone()
    }

    /// A token for everything in this repository.
    pub fn full_access(&self, repository: &str) -> String {
        let actions = ["pull", "push", "delete"].map(str::to_owned).to_vec();
        let grant = Grant { kind: "repository".into(), name: repository.into(), actions };
        self.desk.signer.token("testkit", &[grant], Duration::from_secs(300))
    }
}

impl Desk {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        lock(&self.rules)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
