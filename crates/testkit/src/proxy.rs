//! Faults on the wire: an HTTP proxy in front of one server that delays, throttles, cuts, hangs and lies on command.
//!
//! It stands in front of the registry under an address of its own, and takes the requests of clients that were told to
//! use it as their `HTTP_PROXY` or `HTTPS_PROXY` too: whatever host they ask for, it goes to that one server.

mod fault;
mod pace;
mod relay;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use layerkeeper_core::Bytes;

pub use fault::Fault;

use crate::background::Background;
use crate::error::{Doing, Result};
use crate::http::Head;
use pace::Pace;

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    desk: Arc<Desk>,
    _thread: Background,
}

/// A request that came by, and what became of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// `GET`, or `CONNECT` for a tunnel.
    pub method: String,
    /// Path and query, or a tunnel's target.
    pub path: String,
    /// The Range header.
    pub range: Option<String>,
    /// The User-Agent header.
    pub user_agent: String,
    /// Did it carry an Authorization header?
    pub authorized: bool,
    /// The status that the client was sent.
    pub status: Option<u16>,
    /// Bytes of the answer's body (for a tunnel: of everything) that the client was sent.
    pub sent: Bytes,
    /// When it came, or when the client was last sent something of the answer.
    pub last: Instant,
}

/// What the proxy's connections share.
#[derive(Debug)]
struct Desk {
    upstream: Mutex<String>,
    faults: Mutex<Vec<Fault>>,
    passed: Mutex<Vec<Passed>>,
    pace: Pace,
    each: Mutex<Option<Bytes>>,
}

impl Proxy {
    /// Starts one in front of `upstream` (`127.0.0.1:5000`).
    pub fn start(upstream: &str) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").doing(|| "binding a loopback port".into())?;
        listener.set_nonblocking(true).doing(|| "preparing a socket".into())?;
        let address = listener.local_addr().doing(|| "asking for the port".into())?;
        let desk = Arc::new(Desk {
            upstream: Mutex::new(upstream.into()),
            faults: Mutex::default(),
            passed: Mutex::default(),
            pace: Pace::default(),
            each: Mutex::default(),
        });
        let serving = desk.clone();
        let thread = Background::run("fault-proxy", move || relay::serve(listener, serving))?;
        Ok(Self { address, desk, _thread: thread })
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Sends what comes from now on to another server.
    pub fn set_upstream(&self, upstream: &str) {
        *lock(&self.desk.upstream) = upstream.into();
    }

    /// Adds a fault; of several that match a request, the one added first is used.
    pub fn add(&self, fault: Fault) {
        lock(&self.desk.faults).push(fault);
    }

    /// Takes back all faults. Requests that met one already stay as they are.
    pub fn clear(&self) {
        lock(&self.desk.faults).clear();
    }

    /// Lets at most this many bytes of bodies through per second, over all connections; `None` lifts that.
    pub fn throttle(&self, bytes_per_second: Option<Bytes>) {
        self.desk.pace.set(bytes_per_second);
    }

    /// Lets at most this many bytes of bodies through per second over each connection, as from its next request on.
    pub fn throttle_each(&self, bytes_per_second: Option<Bytes>) {
        *lock(&self.desk.each) = bytes_per_second;
    }

    /// Lets so many more bytes of bodies through, over all connections; then nothing moves until [`Proxy::release`].
    /// For what has to happen in the middle of a pull: it cannot end before the test wants it to.
    pub fn hold_after(&self, bytes: Bytes) {
        self.desk.pace.allow(Some(bytes));
    }

    /// Has all gone that [`Proxy::hold_after`] lets through, but for less than 32 KiB?
    pub fn is_holding(&self) -> bool {
        self.desk.pace.is_spent()
    }

    /// Lets through what [`Proxy::hold_after`] holds.
    pub fn release(&self) {
        self.desk.pace.allow(None);
    }

    /// All requests so far, in the order in which they came.
    pub fn passed(&self) -> Vec<Passed> {
        lock(&self.desk.passed).clone()
    }

    /// Bytes of bodies that clients were sent so far.
    pub fn sent(&self) -> Bytes {
        lock(&self.desk.passed).iter().map(|passed| passed.sent).sum()
    }
}

impl Desk {
    fn arrived(&self, head: &Head) -> usize {
        let mut passed = lock(&self.passed);
        passed.push(Passed {
            method: head.method().into(),
            path: head.path().into(),
            range: head.get("range").map(str::to_owned),
            user_agent: head.get("user-agent").unwrap_or_default().into(),
            authorized: head.get("authorization").is_some(),
            status: None,
            sent: Bytes::ZERO,
            last: Instant::now(),
        });
        passed.len() - 1
    }

    fn update(&self, request: usize, change: impl FnOnce(&mut Passed)) {
        if let Some(passed) = lock(&self.passed).get_mut(request) {
            change(passed);
            passed.last = Instant::now();
        }
    }

    fn fault_for(&self, head: &Head) -> Option<Fault> {
        lock(&self.faults).iter_mut().find_map(|fault| fault.meets(head).then(|| fault.clone()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
