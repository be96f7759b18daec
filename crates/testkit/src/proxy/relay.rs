//! A connection through the proxy: request by request, each over a connection of its own to the server.

use std::io;
use std::sync::Arc;

use layerkeeper_core::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::fault::Action;
use super::pace::Pace;
use super::{Desk, lock};
use crate::http::Head;

/// Where the body of an answer ends early, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    None,
    Cut(u64),
    Stall(u64),
}

/// One request's way.
struct Passage<'a> {
    desk: &'a Desk,
    /// Of this connection alone.
    pace: &'a Pace,
    request: usize,
    limit: Limit,
    sent: u64,
}

type Stream = BufReader<TcpStream>;

const TLS_HANDSHAKE: u8 = 0x16;

pub(super) async fn serve(listener: std::net::TcpListener, desk: Arc<Desk>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((client, _)) = listener.accept().await {
        let desk = desk.clone();
        // it ends with the event loop, which this thread owns
        tokio::spawn(async move {
            let _ = client.set_nodelay(true);
            let _ = connection(BufReader::new(client), &desk).await;
        });
    }
}

async fn connection(mut client: Stream, desk: &Desk) -> io::Result<()> {
    let pace = Pace::default();
    while let Some((raw, head)) = read_head(&mut client).await? {
        let request = desk.arrived(&head);
        pace.set(*lock(&desk.each));
        let (mut passage, mut raw) = (Passage { desk, pace: &pace, request, limit: Limit::None, sent: 0 }, raw);
        match desk.fault_for(&head).map(|fault| fault.action) {
            None => {}
            Some(Action::Delay(time)) => tokio::time::sleep(time).await,
            Some(Action::CutAfter(bytes)) => passage.limit = Limit::Cut(bytes),
            Some(Action::StallAfter(bytes)) => passage.limit = Limit::Stall(bytes),
            Some(Action::Trickle(rate)) => pace.set(Some(rate)),
            Some(Action::DropRange) => raw = without_range(&raw),
            Some(Action::Hang) => return until_closed(&mut client).await,
            Some(Action::Close) => return Ok(()),
            Some(Action::Answer { status, headers, body }) => {
                passage.answer(&mut client, &head, status, &headers, &body).await?;
                if has_body(&head) {
                    return Ok(());
                }
                continue;
            }
        }
        let upstream = lock(&desk.upstream).clone();
        let Ok(server) = TcpStream::connect(upstream).await else {
            return passage.answer(&mut client, &head, 502, &[], b"the server cannot be reached").await;
        };
        let mut server = BufReader::new(server);
        if head.method() == "CONNECT" {
            return passage.tunnel(client, server).await;
        }
        server.write_all(&without_host(raw, &head)).await?;
        forward_request_body(&mut client, &mut server, &head).await?;
        if !passage.response(&mut server, &mut client, &head).await? || head.closes() {
            return Ok(());
        }
    }
    Ok(())
}

impl Passage<'_> {
    async fn answer(
        &mut self,
        client: &mut Stream,
        request: &Head,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} Fault\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.status(status);
        client.write_all(format!("{head}\r\n").as_bytes()).await?;
        let body = if request.method() == "HEAD" { &[] } else { body };
        self.send(client, body).await?;
        client.flush().await
    }

    /// Passes the answer on; `false` where the connection cannot go on after it.
    async fn response(&mut self, server: &mut Stream, client: &mut Stream, request: &Head) -> io::Result<bool> {
        let (raw, head) = loop {
            let Some((raw, head)) = read_head(server).await? else { return Ok(false) };
            if !matches!(head.status(), Some(100..=199)) {
                break (raw, head);
            }
            client.write_all(&raw).await?;
        };
        let status = head.status().unwrap_or_default();
        self.status(status);
        client.write_all(&raw).await?;
        if request.method() == "HEAD" || matches!(status, 204 | 304) {
            client.flush().await?;
            return Ok(!head.closes());
        }
        let whole = if head.is_chunked() {
            self.chunks(server, client).await?
        } else {
            self.bytes(server, client, head.content_length().unwrap_or(u64::MAX)).await?
        };
        client.flush().await?;
        Ok(whole && !head.closes() && (head.is_chunked() || head.content_length().is_some()))
    }

    /// Passes on so many bytes, or all until the end; `false` where fewer came or went.
    async fn bytes(&mut self, server: &mut Stream, client: &mut Stream, mut left: u64) -> io::Result<bool> {
        let mut buffer = vec![0; self.desk.pace.portion().min(self.pace.portion())];
        while left > 0 {
            let most = left.min(buffer.len() as u64) as usize;
            let read = server.read(&mut buffer[..most]).await?;
            if read == 0 || !self.send(client, &buffer[..read]).await? {
                return Ok(false);
            }
            left -= read as u64;
        }
        Ok(true)
    }

    async fn chunks(&mut self, server: &mut Stream, client: &mut Stream) -> io::Result<bool> {
        loop {
            let mut line = String::new();
            server.read_line(&mut line).await?;
            client.write_all(line.as_bytes()).await?;
            let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(io::Error::other)?;
            if !self.bytes(server, client, size).await? {
                return Ok(false);
            }
            let mut end = String::new();
            server.read_line(&mut end).await?;
            client.write_all(end.as_bytes()).await?;
            if size == 0 {
                return Ok(true);
            }
        }
    }

    /// Sends bytes of a body at the common pace, up to this request's limit; `false` where that is reached, or where
    /// the client has gone meanwhile.
    async fn send(&mut self, client: &mut Stream, bytes: &[u8]) -> io::Result<bool> {
        let (allowed, stalls) = match self.limit {
            Limit::None => (u64::MAX, false),
            Limit::Cut(limit) => (limit - self.sent, false),
            Limit::Stall(limit) => (limit - self.sent, true),
        };
        let going = &bytes[..bytes.len().min(usize::try_from(allowed).unwrap_or(usize::MAX))];
        tokio::select! {
            biased;
            _ = async { tokio::join!(self.desk.pace.take(going.len()), self.pace.take(going.len())) } => {}
            () = gone(client) => return Ok(false),
        }
        client.write_all(going).await?;
        self.sent += going.len() as u64;
        self.desk.update(self.request, |passed| passed.sent = Bytes(self.sent));
        if going.len() == bytes.len() {
            return Ok(true);
        }
        client.flush().await?;
        if stalls {
            until_closed(client).await?;
        }
        Ok(false)
    }

    async fn tunnel(&mut self, mut client: Stream, server: Stream) -> io::Result<()> {
        self.status(200);
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        let early = client.buffer().to_vec();
        let (mut from_client, mut to_client) = client.into_inner().into_split();
        let (mut from_server, mut to_server) = server.into_inner().into_split();
        to_server.write_all(&early).await?;
        let up = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(|_| ()) };
        let down = async {
            let mut buffer = vec![0; self.desk.pace.portion()];
            loop {
                let read = from_server.read(&mut buffer).await?;
                if read == 0 {
                    return Ok::<(), io::Error>(());
                }
                self.desk.pace.take(read).await;
                to_client.write_all(&buffer[..read]).await?;
                self.desk.update(self.request, |passed| passed.sent += Bytes(read as u64));
            }
        };
        tokio::select! {
            done = up => done,
            done = down => done,
        }
    }

    fn status(&self, status: u16) {
        self.desk.update(self.request, |passed| passed.status = Some(status));
    }
}

/// `None` where the peer is done, or speaks something else than HTTP.
async fn read_head(stream: &mut Stream) -> io::Result<Option<(Vec<u8>, Head)>> {
    if stream.fill_buf().await?.first() == Some(&TLS_HANDSHAKE) {
        // engines try HTTPS first and go back to HTTP when they see this
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await?;
        return Ok(None);
    }
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        let read = stream.read_until(b'\n', &mut raw).await?;
        if read == 0 || raw.len() > 64 * 1024 {
            return Ok(None);
        }
    }
    Ok(Head::parse(&raw).map(|head| (raw, head)))
}

fn has_body(head: &Head) -> bool {
    head.is_chunked() || head.content_length().is_some_and(|length| length > 0)
}

/// The head without its Range line: the server answers with the whole.
fn without_range(raw: &[u8]) -> Vec<u8> {
    let line = |line: &&[u8]| !line.to_ascii_lowercase().starts_with(b"range:");
    raw.split_inclusive(|byte| *byte == b'\n').filter(line).collect::<Vec<_>>().concat()
}

/// `GET http://host/path`, as a proxy is asked, becomes `GET /path`.
fn without_host(raw: Vec<u8>, head: &Head) -> Vec<u8> {
    let Some(rest) = head.path().strip_prefix("http://") else { return raw };
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    let line_end = raw.iter().position(|&byte| byte == b'\r').unwrap_or(raw.len());
    let mut changed = format!("{} {path} HTTP/1.1", head.method()).into_bytes();
    changed.extend_from_slice(&raw[line_end..]);
    changed
}

async fn forward_request_body(client: &mut Stream, server: &mut Stream, head: &Head) -> io::Result<()> {
    if head.is_chunked() {
        loop {
            let mut line = String::new();
            client.read_line(&mut line).await?;
            server.write_all(line.as_bytes()).await?;
            let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            // the line end after each chunk belongs to it
            let size = size.map_err(io::Error::other)?;
            tokio::io::copy(&mut (&mut *client).take(size + 2), server).await?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = head.content_length() {
        tokio::io::copy(&mut (&mut *client).take(length), server).await?;
    }
    server.flush().await
}

/// Returns when the client has closed the connection without a word.
async fn gone(client: &mut Stream) {
    if matches!(client.fill_buf().await, Ok(next) if !next.is_empty()) {
        std::future::pending::<()>().await;
    }
}

async fn until_closed(client: &mut Stream) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while client.read(&mut ignored).await? > 0 {}
    Ok(())
}
