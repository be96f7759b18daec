//! From a target to the head of an answer.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::request::Builder;
use axum::http::response::Parts;
use axum::http::{Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::ClientError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

type Plain = legacy::Client<HttpConnector, Full<Bytes>>;
type Secure = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Whom to talk to.
#[derive(Clone)]
pub(super) enum Target {
    /// A control socket.
    Unix(PathBuf),
    /// `http://`, and what goes before every path.
    Plain(Plain, String),
    /// `https://`, and what goes before every path.
    Secure(Secure, String),
}

/// The head of an answer, and what its body comes over.
pub(super) struct Answer {
    pub head: Parts,
    body: Incoming,
    connection: Option<Connection>,
}

/// The task that drives a connection; it ends with this.
pub(super) type Connection = AbortOnDropHandle<()>;

impl Answer {
    /// The body; it comes as long as the connection is kept.
    pub(super) fn into_body(self) -> (Incoming, Option<Connection>) {
        (self.body, self.connection)
    }
}

impl Target {
    pub(super) fn web(url: &str) -> Result<Self, ClientError> {
        let bad = |cause: String| ClientError::Url { url: without_password(url), cause };
        let uri: Uri = url.parse().map_err(|cause| bad(format!("{cause}")))?;
        if uri.host().is_none() {
            return Err(bad("write it as https://HOST or http://HOST:PORT".to_owned()));
        }
        if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(bad("it may hold neither a query nor a password".to_owned()));
        }
        let base = url.trim_end_matches('/').to_owned();
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(0);
        match uri.scheme_str() {
            Some("http") => Ok(Self::Plain(builder.build(http), base)),
            Some("https") => {
                http.enforce_http(false);
                let https = HttpsConnectorBuilder::new()
                    .with_provider_and_platform_verifier(Arc::new(rustls::crypto::ring::default_provider()))
                    .map_err(|cause| bad(format!("this machine's certificate store cannot be used: {cause}")))?
                    .https_only()
                    .enable_http1()
                    .wrap_connector(http);
                Ok(Self::Secure(builder.build(https), base))
            }
            _ => Err(bad("it must start with https:// or http://".to_owned())),
        }
    }

    /// Sends a request to a path.
    pub(super) async fn ask(&self, request: Builder, path: &str, body: Full<Bytes>) -> Result<Answer, ClientError> {
        let malformed = |cause: axum::http::Error| ClientError::Protocol(format!("cannot ask for {path:?}: {cause}"));
        let response = match self {
            Self::Unix(socket) => {
                let request = request.uri(path).header(header::HOST, "localhost").body(body).map_err(malformed)?;
                return over_socket(socket, request).await;
            }
            Self::Plain(client, base) => {
                client.request(request.uri(format!("{base}{path}")).body(body).map_err(malformed)?).await
            }
            Self::Secure(client, base) => {
                client.request(request.uri(format!("{base}{path}")).body(body).map_err(malformed)?).await
            }
        };
        let (head, body) = response.map_err(|cause| self.failed(&cause))?.into_parts();
        Ok(Answer { head, body, connection: None })
    }

    fn failed(&self, cause: &legacy::Error) -> ClientError {
        let words = chain(cause);
        if cause.is_connect() {
            ClientError::NotReachable { target: self.to_string(), cause: words }
        } else {
            ClientError::Protocol(format!("the connection to {self} broke off: {words}"))
        }
    }
}

/// A URL fit to be shown.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => format!("{}://…{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

async fn over_socket(socket: &PathBuf, request: axum::http::Request<Full<Bytes>>) -> Result<Answer, ClientError> {
    let unreachable = |cause: &io::Error| ClientError::NotReachable {
        target: socket.display().to_string(),
        cause: match cause.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "it is not running".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "not allowed; run as root or as a member of the group layerkeeper".to_owned()
            }
            _ => cause.to_string(),
        },
    };
    let broke = |cause: hyper::Error| ClientError::Protocol(format!("the daemon broke off: {}", chain(&cause)));
    let stream = UnixStream::connect(socket).await.map_err(|cause| unreachable(&cause))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    // its own error reaches the caller through the request or the body
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let (head, body) = sender.send_request(request).await.map_err(broke)?.into_parts();
    Ok(Answer { head, body, connection: Some(driver) })
}

/// An error with its causes: hyper's own words alone say nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words.push_str(": ");
            words.push_str(&cause_words);
        }
        source = cause.source();
    }
    words
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Plain(_, base) | Self::Secure(_, base) => f.write_str(base),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}
