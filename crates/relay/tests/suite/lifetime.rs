//! A relay is open while its pull runs, and no longer: after it nobody can connect, and who was connected is no more.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually;

use crate::{Ground, MB, Open, within};

/// Less than the relay waits for the next request over a connection that is open.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that stays open after an answer, as an engine's does.
struct Connection(TcpStream);

impl Connection {
    fn to(open: &Open) -> Self {
        let stream = TcpStream::connect(open.host()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, open: &Open, path: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: relay\r\nAuthorization: {}\r\n\r\n", open.authorization());
        self.0.write_all(head.as_bytes()).unwrap();
    }

    /// It gives an answer, so it is open.
    fn answers(&mut self, open: &Open) {
        self.send(open, "/v2/");
        let mut answer = Vec::new();
        while !answer.ends_with(b"{}") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    }

    /// It has ended; gives what came over it until then.
    fn rest(mut self) -> String {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        String::from_utf8_lossy(&rest).into_owned()
    }
}

fn refuses(host: &str) -> bool {
    TcpStream::connect(host).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_close_nobody_can_connect_and_who_was_connected_is_cut() {
    let ground = Ground::new();
    let open = ground.open(&ground.push(&[10_000])).await;
    let (host, mut connection) = (open.host(), Connection::to(&open));
    connection.answers(&open);
    connection.answers(&open);
    within(10, open.close()).await;
    assert!(refuses(&host));
    assert_eq!(connection.rest(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_of_a_pull_nobody_can_connect_and_who_was_connected_is_cut() {
    let ground = Ground::new();
    let open = ground.open(&ground.push(&[10_000])).await;
    open.layer(0).await;
    let (host, mut connection) = (open.host(), Connection::to(&open));
    connection.answers(&open);
    within(10, open.relay.finish()).await;
    assert!(refuses(&host));
    assert_eq!(connection.rest(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_blob_at_a_close_is_cut_and_what_came_of_it_is_not_served() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    ground.proxy.hold_after(Bytes(MB));
    let open = ground.open(&pushed).await;
    let (host, mut connection) = (open.host(), Connection::to(&open));
    connection.send(&open, &format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob));
    let some_has_come = async || ground.proxy.is_holding() && open.came() > Bytes::ZERO;
    eventually(Duration::from_secs(20), some_has_come).await;
    within(10, open.close()).await;
    assert!(refuses(&host));
    let rest = connection.rest();
    // it may be told of the close before it is cut
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 502 "), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_dropped_is_closed() {
    let ground = Ground::new();
    let open = ground.open(&ground.push(&[10_000])).await;
    let (host, mut connection) = (open.host(), Connection::to(&open));
    connection.answers(&open);
    drop(open);
    eventually(Duration::from_secs(20), async || refuses(&host)).await;
    assert_eq!(connection.rest(), "");
}
