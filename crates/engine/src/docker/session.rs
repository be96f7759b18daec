//! The connection: made when it is needed, and made anew after the engine went away or was replaced by another version.
//!
//! bollard's own negotiation is not used: its requests carry no version (`Url::join` drops the prefix), so that the engine
//! answers in its newest API, which may be newer than what bollard can parse. Here the version that both know is put into
//! each path.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use layerkeeper_core::EngineInfo;
use tracing::{debug, info};

use crate::EngineError;
use crate::classify::classify;

/// For an answer that a healthy engine gives at once.
pub(super) const PING_LIMIT: Duration = Duration::from_secs(10);
/// For an answer out of the engine's own memory and disk; a busy host takes its time.
pub(super) const QUICK_LIMIT: Duration = Duration::from_secs(60);
/// For the first bytes of an answer that waits for a registry.
pub(super) const HEADER_LIMIT: Duration = Duration::from_secs(120);
/// For a removal: unlinking gigabytes under I/O pressure is slow, and giving up does not stop it.
pub(super) const REMOVE_LIMIT: Duration = Duration::from_secs(300);

/// An API version, major and minor.
type Version = (usize, usize);

#[derive(Debug)]
pub(super) struct Session {
    host: String,
    address: Address,
    client: Mutex<Option<Docker>>,
    known: Arc<Known>,
}

/// What the engine said of itself, and when. It stays so for as long as the engine's process runs, and no stream of its
/// events outlives that.
#[derive(Debug, Default)]
struct Known {
    info: Mutex<Option<(Instant, EngineInfo)>>,
    /// Streams of events that are open.
    streams: AtomicUsize,
}

/// Held by a stream of events: while it is there, the engine is the one that it was.
#[derive(Debug)]
pub(super) struct Alive(Arc<Known>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
        self.0.forget();
    }
}

impl Known {
    fn forget(&self) {
        *self.slot() = None;
    }

    fn slot(&self) -> MutexGuard<'_, Option<(Instant, EngineInfo)>> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Address {
    Unix(String),
    Http(String),
}

impl Session {
    pub(super) fn new(host: &str) -> Result<Self, EngineError> {
        let unsupported = |why: &str| EngineError::Unsupported { host: host.to_owned(), why: why.to_owned() };
        let address = match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Address::Unix(path.to_owned()),
            Some(("unix", _)) => {
                return Err(unsupported("a Unix socket needs an absolute path, unix:///run/docker.sock"));
            }
            Some(("tcp" | "http", rest)) if !rest.is_empty() => Address::Http(rest.trim_end_matches('/').to_owned()),
            Some(("https", _)) => return Err(unsupported("TLS to the engine is not supported; use its Unix socket")),
            _ => {
                return Err(unsupported(
                    "write unix:///PATH, or tcp://HOST:PORT for plain HTTP (TLS is not supported)",
                ));
            }
        };
        Ok(Self { host: host.to_owned(), address, client: Mutex::new(None), known: Arc::default() })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// A client that speaks a version which the engine knows.
    pub(super) async fn client(&self) -> Result<Docker, EngineError> {
        if let Some(client) = self.slot().clone() {
            return Ok(client);
        }
        let answer = tokio::time::timeout(PING_LIMIT, self.open()?.version()).await;
        let answer = answer.map_err(|_| self.silent(PING_LIMIT))?.map_err(|e| self.failure(e))?;
        let newest = version(answer.api_version.as_deref())
            .ok_or_else(|| EngineError::Malformed("GET /version: no ApiVersion".to_owned()))?;
        let oldest = version(answer.min_api_version.as_deref()).unwrap_or((1, 12));
        let ours = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
        let agreed = ours.min(newest).max(oldest);
        info!(host = %self.host, api = %format!("{}.{}", agreed.0, agreed.1), version = answer.version, "connected to the engine");
        let client = self.open()?.with_request_modifier(move |request| amend(request, agreed));
        *self.slot() = Some(client.clone());
        Ok(client)
    }

    /// Takes note of what the engine said of itself.
    pub(super) fn remember(&self, info: &EngineInfo) {
        *self.known.slot() = Some((Instant::now(), info.clone()));
    }

    /// What the engine said of itself, where that is not older and it answered ever since. `listening` is the age while a
    /// stream of its events is open.
    pub(super) fn remembered(&self, at_most: Duration, listening: Duration) -> Option<EngineInfo> {
        let at_most = if self.known.streams.load(Ordering::SeqCst) > 0 { listening } else { at_most };
        self.known.slot().as_ref().filter(|(at, _)| at.elapsed() < at_most).map(|(_, info)| info.clone())
    }

    /// A stream of events begins; what was known before it may be another engine's.
    pub(super) fn listens(&self) -> Alive {
        self.known.forget();
        self.known.streams.fetch_add(1, Ordering::SeqCst);
        Alive(self.known.clone())
    }

    /// A call that the engine answers by itself.
    pub(super) async fn quick<T, F>(&self, call: impl Fn(Docker) -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call(QUICK_LIMIT, call).await
    }

    /// A call that must be answered, to the last byte, within `limit`.
    pub(super) async fn call<T, F>(&self, limit: Duration, call: impl Fn(Docker) -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tried = false;
        loop {
            // bollard's own limit is for the headers alone; ours comes first
            let client = self.client().await?.with_timeout(limit * 2);
            match tokio::time::timeout(limit, call(client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if !tried && self.is_stale(&error) => tried = true,
                Ok(Err(error)) => return Err(self.failure(error)),
                Err(_) => return Err(self.silent(limit)),
            }
        }
    }

    /// Does the engine refuse our version, since it is another one than when we agreed on it? Then agree anew.
    pub(super) fn is_stale(&self, error: &Error) -> bool {
        let stale = matches!(error, Error::DockerResponseServerError { status_code: 400, message }
            if message.contains("client version") || message.contains("API version"));
        if stale {
            debug!(host = %self.host, "the engine no longer speaks the API version agreed on");
            self.forget();
        }
        stale
    }

    /// What bollard's error means. After one that says that the engine is gone, the next call agrees on a version anew.
    pub(super) fn failure(&self, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { status_code, message } => classify(Some(status_code), &message),
            Error::DockerStreamError { error } => classify(None, &error),
            Error::JsonDataError { message, .. } => EngineError::Malformed(message),
            Error::JsonSerdeError { err } => EngineError::Malformed(err.to_string()),
            Error::StrParseError { err } => EngineError::Malformed(err.to_string()),
            Error::RequestTimeoutError => self.silent(HEADER_LIMIT),
            Error::SocketNotFoundError(_) => self.unreachable("there is no such socket".to_owned()),
            Error::IOError { err } => self.unreachable(chain(&err)),
            Error::HyperResponseError { err } => self.unreachable(chain(&err)),
            Error::HyperLegacyError { err } => self.unreachable(chain(&err)),
            other => EngineError::Other(other.to_string()),
        }
    }

    fn open(&self) -> Result<Docker, EngineError> {
        let limit = HEADER_LIMIT.as_secs();
        match &self.address {
            Address::Unix(path) => Docker::connect_with_unix(path, limit, API_DEFAULT_VERSION),
            Address::Http(address) => Docker::connect_with_http(address, limit, API_DEFAULT_VERSION),
        }
        .map_err(|e| self.failure(e))
    }

    fn unreachable(&self, cause: String) -> EngineError {
        self.forget();
        EngineError::Unreachable { host: self.host.clone(), cause }
    }

    pub(super) fn silent(&self, limit: Duration) -> EngineError {
        self.unreachable(format!("{SILENT} {} s", limit.as_secs()))
    }

    fn forget(&self) {
        *self.slot() = None;
        self.known.forget();
    }

    fn slot(&self) -> MutexGuard<'_, Option<Docker>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SILENT: &str = "no answer within";

/// Is this the cause of an [`EngineError::Unreachable`] that came from waiting in vain?
pub(super) fn is_timeout(cause: &str) -> bool {
    cause.starts_with(SILENT)
}

/// `1.41`
fn version(text: Option<&str>) -> Option<Version> {
    let (major, minor) = text?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Puts the version into the path, and the registry's credentials into the alphabet that the engine reads: bollard
/// encodes them by RFC 4648 §4, the engine decodes §5 (URL-safe), and 20.10 takes what it cannot read for no credentials.
fn amend(mut request: BollardRequest, (major, minor): Version) -> BollardRequest {
    let uri = request.uri().to_string();
    if let Some(at) = uri.find("://").and_then(|scheme| uri[scheme + 3..].find('/').map(|path| scheme + 3 + path))
        && let Ok(versioned) = format!("{}/v{major}.{minor}{}", &uri[..at], &uri[at..]).parse()
    {
        *request.uri_mut() = versioned;
    }
    if let Some(value) = request.headers_mut().get_mut("x-registry-auth")
        && let Ok(text) = value.to_str()
        && let Ok(safe) = text.replace('+', "-").replace('/', "_").parse()
    {
        *value = safe;
        value.set_sensitive(true);
    }
    request
}

/// An error with all its causes; hyper's own text is only "client error (Connect)".
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_cannot_be_reached_are_refused_with_the_reason() {
        for (host, part) in [
            ("https://h:2376", "TLS"),
            ("ssh://h", "TLS is not supported"),
            ("unix://run/docker.sock", "absolute"),
            ("/run/docker.sock", "unix:///PATH"),
            ("tcp://", "tcp://HOST:PORT"),
        ] {
            let error = Session::new(host).unwrap_err();
            assert!(matches!(error, EngineError::Unsupported { .. }));
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(Session::new("unix:///run/docker.sock").is_ok());
        assert!(Session::new("tcp://127.0.0.1:2375").is_ok());
    }

    #[test]
    fn what_the_engine_said_of_itself_is_forgotten_with_the_connection_and_with_time() {
        let session = Session::new("unix:///run/docker.sock").unwrap();
        let info = EngineInfo {
            rootless: false,
            id: "x".to_owned(),
            version: "26.1.5".to_owned(),
            store: layerkeeper_core::StoreKind::Graphdriver,
            driver: "overlay2".to_owned(),
            data_root: "/var/lib/docker".to_owned(),
            platform: layerkeeper_core::Platform {
                os: "linux".to_owned(),
                architecture: "amd64".to_owned(),
                variant: None,
            },
        };
        let hour = Duration::from_secs(3600);
        let known = || session.remembered(Duration::ZERO, hour).is_some();
        assert_eq!(session.remembered(hour, hour), None);
        session.remember(&info);
        assert_eq!(session.remembered(hour, Duration::ZERO), Some(info.clone()));
        assert!(!known());
        // a stream of its events: it is the engine that it was
        let streams = [session.listens(), session.listens()];
        assert!(!known(), "what was known before may be another engine's");
        session.remember(&info);
        assert!(known());
        let [one, other] = streams;
        drop(one);
        assert!(!known(), "it may have ended");
        session.remember(&info);
        assert!(known());
        drop(other);
        session.remember(&info);
        assert!(!known());
        let gone = session.failure(Error::SocketNotFoundError("x".to_owned()));
        assert!(matches!(gone, EngineError::Unreachable { .. }));
        assert_eq!(session.remembered(hour, hour), None);
    }

    #[tokio::test]
    async fn a_missing_socket_is_an_engine_that_does_not_answer() {
        let session = Session::new("unix:///nonexistent/docker.sock").unwrap();
        let error = session.client().await.unwrap_err();
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
        assert!(error.is_transient());
    }
}
