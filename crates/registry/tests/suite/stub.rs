//! A tiny HTTP/1.1 server that answers as a test wants, also where that is wrong, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    announced: bool,
    slowly: Option<Duration>,
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// The server; it ends when this is dropped.
pub struct Stub {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Stub {
    /// Serves plain HTTP.
    pub async fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve(None, Arc::new(handler)).await
    }

    /// Serves TLS with the certificate of `tls/`, for 127.0.0.1, localhost and registry.test.
    pub async fn start_tls(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let certs = CertificateDer::from_pem_slice(include_bytes!("tls/server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certs], key)
            .unwrap();
        Self::serve(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(handler)).await
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `localhost:PORT`, the same server as another origin.
    pub fn other_host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Everything asked so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Everything asked so far as `METHOD /path`.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    async fn serve(tls: Option<TlsAcceptor>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            // one connection after the other: the client asks one thing at a time
            while let Ok((stream, _)) = listener.accept().await {
                let served = match &tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => one(stream, &remembered, &*handler).await,
                        Err(e) => Err(e),
                    },
                    None => one(stream, &remembered, &*handler).await,
                };
                // a client that hangs up is no matter of the server
                drop(served);
            }
        });
        Self { port, seen, task }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Request {
    /// A header's value by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// How the client names this server.
    pub fn host(&self) -> &str {
        self.header("host").unwrap_or_default()
    }
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), announced: true, slowly: None }
    }

    pub fn json(status: u16, body: serde_json::Value) -> Self {
        Self::new(status).header("content-type", "application/json").body(body.to_string())
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Says nothing of the body's length: it ends with the connection.
    pub fn unannounced(mut self) -> Self {
        self.announced = false;
        self
    }

    /// One byte after the other, each after this time.
    pub fn slowly(mut self, each: Duration) -> Self {
        self.slowly = Some(each);
        self
    }

    fn bytes(&self, head: bool) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} Stub\r\nconnection: close\r\n", self.status).into_bytes();
        if self.announced && !self.headers.iter().any(|(name, _)| name == "content-length") {
            out.extend(format!("content-length: {}\r\n", self.body.len()).into_bytes());
        }
        for (name, value) in &self.headers {
            out.extend(name.as_bytes());
            out.extend(b": ");
            out.extend(value);
            out.extend(b"\r\n");
        }
        out.extend(b"\r\n");
        if !head {
            out.extend(&self.body);
        }
        out
    }
}

async fn one(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<Request>>,
    handler: &Handler,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, n)| n.parse().ok());
    while bytes.len() < head_end + 4 + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let body = String::from_utf8_lossy(&bytes[head_end + 4..]).into_owned();
    let request = Request { method, path, headers, body };
    seen.lock().unwrap().push(request.clone());
    let answer = handler(&request);
    let bytes = answer.bytes(request.method == "HEAD");
    match answer.slowly {
        None => stream.write_all(&bytes).await?,
        Some(each) => {
            for byte in bytes {
                tokio::time::sleep(each).await;
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
            }
        }
    }
    stream.shutdown().await
}
