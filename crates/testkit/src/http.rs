//! A small HTTP/1.1 client over TCP or a Unix socket: one request per connection, blocking, plain text.
//!
//! The testkit has its own so that what it says about the real clients does not rest on one of them.

mod head;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use head::Head;

use crate::error::{Doing, Error, Result};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// `host:port`
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A request under construction.
#[derive(Debug)]
pub struct Request<'a> {
    server: &'a Server,
    method: &'a str,
    path: String,
    headers: Vec<(String, String)>,
    body: &'a [u8],
    limit: Duration,
}

/// A server's answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status line and headers.
    pub head: Head,
    /// HTTP status.
    pub status: u16,
    /// The whole body, its transfer encoding undone.
    pub body: Vec<u8>,
    request: String,
}

impl Server {
    /// A server at `host:port`.
    pub fn tcp(host: impl Into<String>) -> Self {
        Self::Tcp(host.into())
    }

    /// A server at a Unix socket.
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::Unix(path.as_ref().to_owned())
    }

    /// A request; `path` may also be an absolute `http://` URL, whose host is ignored.
    pub fn request<'a>(&'a self, method: &'a str, path: &str) -> Request<'a> {
        let path = match path.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => path,
        };
        Request {
            server: self,
            method,
            path: path.into(),
            headers: Vec::new(),
            body: &[],
            limit: Duration::from_secs(60),
        }
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path).send()
    }
}

impl<'a> Request<'a> {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a header where there is a value.
    pub fn maybe_header(self, name: &str, value: Option<String>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Sets the body.
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    /// How long a read or a write may stand still (default 60 s).
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends it and reads the whole answer, whatever its status.
    pub fn send(self) -> Result<Response> {
        let what = || format!("{} {} at {:?}", self.method, self.path, self.server);
        match self.server {
            Server::Tcp(host) => {
                let stream = TcpStream::connect(host).doing(what)?;
                stream.set_read_timeout(Some(self.limit)).doing(what)?;
                stream.set_write_timeout(Some(self.limit)).doing(what)?;
                self.over(stream, host)
            }
            Server::Unix(path) => {
                let stream = UnixStream::connect(path).doing(what)?;
                stream.set_read_timeout(Some(self.limit)).doing(what)?;
                stream.set_write_timeout(Some(self.limit)).doing(what)?;
                self.over(stream, "localhost")
            }
        }
        .doing(what)
    }

    fn over(&self, mut stream: impl Read + Write, host: &str) -> std::io::Result<Response> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(self.body)?;
        stream.flush()?;
        let mut stream = BufReader::new(stream);
        let head = loop {
            let head = read_head(&mut stream)?;
            if !matches!(head.status(), Some(100..=199)) {
                break head;
            }
        };
        let status = head.status().ok_or_else(|| invalid("no status line"))?;
        let body = if self.method == "HEAD" { Vec::new() } else { read_body(&mut stream, &head)? };
        Ok(Response { status, head, body, request: format!("{} {}", self.method, self.path) })
    }
}

impl Response {
    /// This answer if its status is one of these, else an error that quotes it.
    pub fn expect(self, statuses: &[u16]) -> Result<Self> {
        if statuses.contains(&self.status) {
            return Ok(self);
        }
        let body = String::from_utf8_lossy(&self.body).chars().take(500).collect();
        Err(Error::Answer { request: self.request, status: self.status, body })
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).map_err(|e| Error::failed(format!("reading JSON from {}", self.request), e))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn invalid(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned())
}

fn read_head(stream: &mut impl BufRead) -> std::io::Result<Head> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut bytes)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Head::parse(&bytes).ok_or_else(|| invalid("not an HTTP/1.1 head"))
}

fn read_body(stream: &mut impl BufRead, head: &Head) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if matches!(head.status(), Some(204 | 304)) {
        return Ok(body);
    }
    if head.is_chunked() {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let size = line.split(';').next().and_then(|hex| usize::from_str_radix(hex.trim(), 16).ok());
            let size = size.ok_or_else(|| invalid("a bad chunk size"))?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..])?;
            stream.read_line(&mut String::new())?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match head.content_length() {
        Some(length) => {
            stream.take(length).read_to_end(&mut body)?;
            if body.len() as u64 != length {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        None => {
            stream.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}
