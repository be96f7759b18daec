//! One HTTP client for each way of speaking to a host. They are built when they are first needed: reading the system's
//! certificates takes time and memory that a host with a loopback registry never needs.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Identity};
use rustls::AlertDescription;
use url::{Origin, Url};

use super::host;
use crate::error::Error;
use crate::settings::Settings;

/// For so long a connection for pieces is kept open without any.
const IDLE: Duration = Duration::from_secs(20);

/// The most clients that are kept.
const MOST: usize = 32;

/// The most servers that are remembered for speaking nothing but HTTP/2; to forget one costs a handshake.
const MOST_HTTP2_ONLY: usize = 64;

/// A client has one HTTP/2 connection to a server, so pieces take turns with so many clients.
const LANES: usize = 8;

/// What an HTTP/2 server may send before it is read, of one piece and over one connection: with all lanes in use no more than
/// 8 MiB wait in memory, and a connection with a tenth of a second to the server still gives 10 MB/s.
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    /// A proxy is never asked for these.
    loopback: bool,
    trust: Trust,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// All of it within a limit.
    Documents,
    /// Blobs: a connection for each piece, and as much time as they move.
    Pieces,
    /// The same from a server that speaks nothing but HTTP/2, over one of the lanes.
    Http2Pieces(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trust {
    /// Plain HTTP.
    None,
    /// The system's certificates.
    System,
    /// These and those in a directory of the host's own.
    Private(PathBuf),
}

#[derive(Debug)]
pub(super) struct Clients {
    settings: Settings,
    built: Mutex<HashMap<Kind, Client>>,
    http2_only: Mutex<HashSet<Origin>>,
    turn: AtomicUsize,
}

impl Clients {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, built: Mutex::default(), http2_only: Mutex::default(), turn: AtomicUsize::default() }
    }

    /// Is the host that goes by these names, each `host[:port]`, asked over plain HTTP?
    pub(super) fn speaks_plain(&self, names: &[String]) -> bool {
        let listed = |host: &String| self.settings.insecure.iter().any(|i| i == host || i == name_of(host));
        names.iter().any(listed)
            || (names.iter().any(|host| is_loopback(name_of(host))) && self.private(names).is_none())
    }

    /// The client for this address; `pieces` for parts of blobs.
    pub(super) fn of(&self, registry: &str, url: &Url, pieces: bool) -> Result<Client, Error> {
        let what = match pieces {
            false => What::Documents,
            true if self.is_http2_only(url) => What::Http2Pieces(self.turn.fetch_add(1, Ordering::Relaxed) % LANES),
            true => What::Pieces,
        };
        let kind = Kind { what, ..self.kind(registry, url) };
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = built.get(&kind) {
            return Ok(client.clone());
        }
        let client = self.build(&kind).map_err(|cause| Error::Unreachable { registry: registry.to_owned(), cause })?;
        if built.len() >= MOST {
            built.clear();
        }
        built.insert(kind, client.clone());
        Ok(client)
    }

    /// Takes note of a server that refused HTTP/1.1 in its handshake; true where that is the reason why a request for a piece
    /// failed, so that it is worth another one.
    pub(super) fn learn(&self, url: &Url, pieces: bool, error: &reqwest::Error) -> bool {
        let refused = pieces && url.scheme() == "https" && wants_another_protocol(error);
        if refused {
            let mut known = self.http2_only.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST_HTTP2_ONLY {
                known.clear();
            }
            if known.insert(url.origin()) {
                tracing::debug!(host = host(url), "speaks nothing but HTTP/2; pieces of blobs are asked for over that");
            }
        }
        refused
    }

    fn is_http2_only(&self, url: &Url) -> bool {
        self.http2_only.lock().unwrap_or_else(PoisonError::into_inner).contains(&url.origin())
    }

    fn kind(&self, registry: &str, url: &Url) -> Kind {
        let trust = match (url.scheme(), self.private(&names(registry, url))) {
            ("http", _) => Trust::None,
            (_, Some(dir)) => Trust::Private(dir),
            (_, None) => Trust::System,
        };
        let loopback = url.host_str().is_some_and(|host| is_loopback(name_of(host)));
        Kind { loopback, trust, what: What::Documents }
    }

    fn private(&self, names: &[String]) -> Option<PathBuf> {
        let dirs = names.iter().filter(|name| !name.starts_with('.')).map(|name| self.settings.certs_dir.join(name));
        dirs.into_iter().find(|dir| dir.is_dir())
    }

    fn build(&self, kind: &Kind) -> Result<Client, String> {
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .user_agent(&self.settings.user_agent)
            .connect_timeout(self.settings.connect_timeout);
        let silence = self.settings.read_timeout;
        builder = match kind.what {
            What::Documents => builder.timeout(self.settings.request_timeout),
            // HTTP/2 would send all pieces over one connection, and one connection is what is slow
            What::Pieces => builder.http1_only().read_timeout(silence).pool_idle_timeout(IDLE),
            What::Http2Pieces(_) => builder
                .read_timeout(silence)
                .pool_idle_timeout(IDLE)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                // a dead connection would be taken for the next piece, too: the end of a piece does not end it
                .http2_keep_alive_interval(silence / 2)
                .http2_keep_alive_timeout(silence / 2),
        };
        if kind.loopback {
            builder = builder.no_proxy();
        }
        builder = match &kind.trust {
            Trust::None => builder.tls_certs_only([]),
            Trust::System => builder,
            Trust::Private(dir) => {
                trusting(builder, dir).map_err(|(file, why)| format!("{}: {why}", file.display()))?
            }
        };
        builder.build().map_err(|e| format!("TLS cannot be set up: {}", super::words(&e)))
    }
}

/// Did the server end the handshake because it speaks none of the protocols that were offered (RFC 7301, 3.2)?
fn wants_another_protocol(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |cause| match cause.downcast_ref::<std::io::Error>() {
        // its `source` is the cause of the error that it holds, which would be passed by
        Some(held) => held.get_ref().map(|held| held as &(dyn std::error::Error + 'static)),
        None => cause.source(),
    });
    let refused = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    causes.filter_map(|cause| cause.downcast_ref::<rustls::Error>()).any(|cause| *cause == refused)
}

/// Adds what Docker keeps for a host: `*.crt` are roots, `NAME.cert` and `NAME.key` the client's own certificate.
fn trusting(mut builder: ClientBuilder, dir: &Path) -> Result<ClientBuilder, (PathBuf, String)> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| (path.to_owned(), e.to_string()));
    let entries = std::fs::read_dir(dir).map_err(|e| (dir.to_owned(), e.to_string()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut identity = None;
    for file in &files {
        match file.extension().and_then(|e| e.to_str()) {
            Some("crt") => {
                let roots = Certificate::from_pem_bundle(&read(file)?);
                let roots = roots.ok().filter(|roots| !roots.is_empty());
                let roots = roots.ok_or_else(|| (file.clone(), "holds no certificate in PEM form".to_owned()))?;
                builder = builder.tls_certs_merge(roots);
            }
            Some("cert") if identity.is_none() => identity = Some(file),
            _ => {}
        }
    }
    if let Some(file) = identity {
        let mut pem = read(&file.with_extension("key"))?;
        pem.push(b'\n');
        pem.extend(read(file)?);
        let identity = Identity::from_pem(&pem);
        let identity =
            identity.map_err(|_| (file.clone(), "is no client certificate with a .key beside it".to_owned()))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

/// The names by which settings may know an address's host. First as the reference has it, for that is what people write
/// and what Docker goes by: an address forgets its scheme's own port.
pub(super) fn names(registry: &str, url: &Url) -> Vec<String> {
    let mut names = Vec::new();
    let own = Url::parse(&format!("{}://{registry}", url.scheme()));
    if own.is_ok_and(|own| own.origin() == url.origin()) {
        names.push(registry.to_owned());
    }
    names.push(host(url));
    if let (Some(host), None, Some(port)) = (url.host_str(), url.port(), url.port_or_known_default()) {
        names.push(format!("{host}:{port}"));
    }
    names
}

fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    }
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_known_by_the_name_in_its_references_also_on_its_schemes_own_port() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["reg.lan:443", "127.0.0.7:443", "other.lan"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let clients = Clients::new(Settings { certs_dir: dir.path().to_owned(), ..Settings::default() });
        let trust = |registry: &str, url: &str| clients.kind(registry, &Url::parse(url).unwrap()).trust;
        assert_eq!(trust("reg.lan:443", "https://reg.lan:443/v2/"), Trust::Private(at("reg.lan:443")));
        assert_eq!(trust("127.0.0.7:443", "https://127.0.0.7:443/v2/"), Trust::Private(at("127.0.0.7:443")));
        assert_eq!(trust("other.lan", "https://other.lan/v2/"), Trust::Private(at("other.lan")));
        // whom a registry sends us to has no reference, and may be meant by either name
        assert_eq!(trust("r.io", "https://reg.lan/token"), Trust::Private(at("reg.lan:443")));
        assert_eq!(trust("r.io", "https://reg.lan:5000/token"), Trust::System);
        assert_eq!(trust("r.io", "http://reg.lan/token"), Trust::None);
        assert!(!clients.speaks_plain(&["127.0.0.7:443".to_owned()]), "its folder says that it speaks TLS");
    }
}
