//! Answers without an end: a head or a body that never stops, and redirects in a circle. What is read of them is bounded, and
//! they are given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_relay::Probe;
use layerkeeper_testkit::{Fault, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::{Ground, MB, at, within};

/// A head of many lines, and one of a single line.
const MANY_LINES: &str = "X-Fill: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
const ONE_LINE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Chunks of a body, each of 64 bytes.
const CHUNKS: &str = "40\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";

/// More than can be written of such a head: what the client reads, and what lies in the sockets' buffers when it hangs up.
const MOST: u64 = MB;

/// Of a blob, as its server says.
const SIZE: u64 = 20 * MB;

/// A source that only fails is asked so often.
const TIMES: u64 = 6;

/// Requests that a circle of redirects costs: one, and as many again as are followed.
const STEPS: usize = 6;

/// A server whose head, or body, has no end; it ends when this is dropped.
struct Endless {
    host: String,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: AtomicU64,
    /// Bytes that could be written before the client hung up.
    written: AtomicU64,
    /// Clients that did.
    gone: AtomicU64,
}

impl Endless {
    async fn start(fill: &'static str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // so that what was written is about what was read
        socket.set_send_buffer_size(16 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Seen::default());
        let counted = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = counted.clone();
                connections.spawn(async move { answer(stream, fill, &seen).await });
            }
        });
        Self { host, seen, task }
    }

    /// So many requests came, all who asked have hung up, and of no head was more taken than may be.
    async fn was_asked(&self, requests: u64) {
        let [asked, gone, written] = [&self.seen.requests, &self.seen.gone, &self.seen.written];
        let all_are_gone = async || gone.load(Ordering::Relaxed) == asked.load(Ordering::Relaxed);
        eventually(Duration::from_secs(20), all_are_gone).await;
        assert_eq!(asked.load(Ordering::Relaxed), requests);
        assert!(written.load(Ordering::Relaxed) < requests * MOST, "{:?}", self.seen);
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, fill: &str, seen: &Seen) {
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut raw).await.unwrap() == 0 {
            return;
        }
    }
    seen.requests.fetch_add(1, Ordering::Relaxed);
    let head = if fill == CHUNKS {
        let raw = String::from_utf8(raw).unwrap();
        let (_, range) = raw.split_once("bytes=").unwrap();
        let range = range.lines().next().unwrap();
        format!(
            "HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes {range}/{SIZE}\r\n\r\n"
        )
    } else {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Fill: ".to_owned()
    };
    let fill = fill.repeat(256);
    let mut next = head.as_bytes();
    while let Ok(written) = stream.write(next).await {
        seen.written.fetch_add(written as u64, Ordering::Relaxed);
        next = fill.as_bytes();
    }
    seen.gone.fetch_add(1, Ordering::Relaxed);
}

/// A measurement asks for a byte first, to have its connections made, and is sent more than it can ever read.
#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_of_who_sends_without_an_end_has_one() {
    let ground = Ground::new();
    let origin = Endless::start(CHUNKS).await;
    let road = Probe {
        repository: at(&origin.host, &"ghcr.io/acme/app".parse().unwrap()),
        blob: Digest::of(b"x"),
        size: Bytes(SIZE),
        connections: 4,
        bytes: Bytes(400_000),
        time: Duration::from_secs(60),
    };
    let told = within(30, ground.relays.measure(&road)).await.unwrap();
    assert!((400_000..MB).contains(&told.bytes.0) && told.rate > 0.0, "{told:?}");
    origin.was_asked(8).await;
}

/// A blob whose origin sends such a head is given up, and the relay with it.
async fn a_blob_is_given_up(fill: &'static str) {
    let ground = Ground::new();
    let pushed = ground.push(&[300_000]);
    let origin = Endless::start(fill).await;
    let open = ground.open_at(&origin.host, &pushed).await;
    let refused = within(60, open.blob(pushed.layers[0].blob)).await;
    assert_eq!(refused.status, 502);
    assert!(refused.text().contains("failed 6 times in a row"), "{}", refused.text());
    let snapshot = open.close().await;
    assert_eq!(snapshot.came().0, 0);
    assert_eq!(snapshot.failure.unwrap().reason(), "source");
    origin.was_asked(TIMES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_an_end_in_place_of_a_blob_is_given_up_and_little_of_it_is_read() {
    tokio::join!(a_blob_is_given_up(MANY_LINES), a_blob_is_given_up(ONE_LINE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_an_end_in_place_of_a_manifest_is_given_up_and_little_of_it_is_read() {
    let ground = Ground::new();
    let pushed = ground.push(&[10_000]);
    for fill in [MANY_LINES, ONE_LINE] {
        let origin = Endless::start(fill).await;
        let open = ground.open_at(&origin.host, &pushed).await;
        for reference in ["1".to_owned(), pushed.digest.to_string()] {
            let path = format!("/v2/acme/app/manifests/{reference}");
            assert_eq!(within(20, open.ask("GET", &path, &[])).await.status, 502, "{reference}");
        }
        origin.was_asked(2).await;
    }
}

impl Ground {
    /// What is asked for here is sent to another address, and that one sends back.
    fn circle(&self, path: &str) {
        let there = format!("{path}-there");
        self.proxy.add(Fault::answer(307).header("Location", path).on_path(&there));
        self.proxy.add(Fault::answer(307).header("Location", &there).on_path(path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_redirects_in_place_of_a_blob_is_followed_five_times_and_given_up() {
    let ground = Ground::new();
    let pushed = ground.push(&[300_000]);
    ground.circle(&format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob));
    let open = ground.open(&pushed).await;
    let refused = within(20, open.blob(pushed.layers[0].blob)).await;
    assert_eq!(refused.status, 502);
    assert!(refused.text().contains("redirects more than 5 times"), "{}", refused.text());
    assert_eq!(open.close().await.failure.unwrap().reason(), "source");
    assert_eq!(ground.proxy.passed().len(), STEPS, "{:#?}", ground.proxy.passed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_redirects_in_place_of_a_large_blob_costs_each_connection_no_more() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    ground.circle(&format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob));
    let order = ground.order(&pushed);
    let open = ground.open(&pushed).await;
    assert_eq!(within(20, open.blob(pushed.layers[0].blob)).await.status, 502);
    let asked = ground.proxy.passed().len();
    assert!((STEPS..=order.start * STEPS).contains(&asked), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_redirects_in_place_of_a_manifest_is_followed_five_times_and_given_up() {
    let ground = Ground::new();
    let pushed = ground.push(&[10_000]);
    for reference in ["1".to_owned(), pushed.digest.to_string()] {
        let path = format!("/v2/acme/app/manifests/{reference}");
        ground.circle(&path);
        let open = ground.open(&pushed).await;
        let before = ground.proxy.passed().len();
        let refused = within(20, open.ask("GET", &path, &[])).await;
        assert_eq!(refused.status, 502);
        assert!(refused.text().contains("redirects more than 5 times"), "{}", refused.text());
        assert_eq!(ground.proxy.passed().len() - before, STEPS, "{reference}");
        assert_eq!(open.blob(Digest::of(b"unknown")).await.status, 404, "the relay itself goes on");
    }
}
