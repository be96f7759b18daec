//! Slow and idle clients, too many of them, and the end of the listener.

use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use super::*;
use crate::serve::SourceLimit;
use crate::testing::{LONG, say};

/// What must not end what another limit is to end.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn hasty() -> WebhookSettings {
    let short = Duration::from_millis(150);
    let serve = ServeSettings { header_timeout: short, ..ServeSettings::default() };
    WebhookSettings { body_timeout: short, serve, ..settings() }
}

/// What comes until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut all)).await.expect("the server closes").unwrap();
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn a_body_that_dawdles_is_408_and_a_head_that_does_is_closed() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, hasty());
    let mut body = TcpStream::connect(to).await.unwrap();
    body.write_all(
        b"POST /v1/deploys HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
    )
    .await
    .unwrap();
    let reply = rest(&mut body).await;
    assert!(reply.starts_with("HTTP/1.1 408") && reply.contains("urn:layerkeeper:problem:too-slow"), "{reply}");
    assert_eq!(ground.counted("timeout").await, "1");
    let mut head = TcpStream::connect(to).await.unwrap();
    head.write_all(b"POST /v1/deploys HTTP/1.1\r\nHost:").await.unwrap();
    assert!(!rest(&mut head).await.contains("202"));
    let mut idle = TcpStream::connect(to).await.unwrap();
    assert_eq!(rest(&mut idle).await, "", "one that never says anything is closed too");
    let mut kept = TcpStream::connect(to).await.unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(rest(&mut kept).await.starts_with("HTTP/1.1 404"), "and so is an idle one after its answer");
}

#[tokio::test]
async fn a_chunked_body_is_cut_at_its_limit() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head =
        "POST /v1/deploys HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 40_000, "x".repeat(40_000));
    stream.write_all(chunk.as_bytes()).await.unwrap();
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let reply = until(&mut stream, "too-large").await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_their_turn() {
    let mut ground = Ground::resting().await;
    let serve = ServeSettings { max_connections: 1, ..ServeSettings::default() };
    let to = listen(&mut ground, WebhookSettings { serve, ..settings() });
    let first = TcpStream::connect(to).await.unwrap();
    let mut second = TcpStream::connect(to).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.readable()).await;
    assert!(early.is_err(), "the second is not served while the first is there");
    drop(first);
    assert!(rest(&mut second).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_let_go() {
    let mut ground = Ground::resting().await;
    let serve = ServeSettings {
        header_timeout: FOR_EVER,
        write_timeout: Duration::from_millis(150),
        max_connections: 1,
        ..ServeSettings::default()
    };
    let to = listen(&mut ground, WebhookSettings { rate: None, serve, ..settings() });
    let socket = TcpSocket::new_v4().unwrap();
    // so that few answers fill it
    socket.set_recv_buffer_size(4096).unwrap();
    let mut greedy = socket.connect(to).await.unwrap();
    let asks = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let ends = async { while greedy.write_all(&asks).await.is_ok() {} };
    tokio::time::timeout(LONG, ends).await.expect("the server closes");
    assert_eq!(get(to, "/").await.status, 404, "the only seat is free again");
}

/// A connection that comes from this address.
async fn from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Waits until the server has closed it, in whatever way.
async fn closed(stream: &mut TcpStream) {
    let read = tokio::time::timeout(LONG, stream.read(&mut [0; 1])).await.expect("the server closes");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn one_source_cannot_take_all_connections() {
    let mut ground = Ground::resting().await;
    let limit = SourceLimit { most: 2, loopback_too: true };
    let serve = ServeSettings {
        header_timeout: FOR_EVER,
        max_connections: 3,
        per_source: Some(limit),
        ..ServeSettings::default()
    };
    let to = listen(&mut ground, WebhookSettings { serve, ..settings() });
    let held = [from("127.0.0.2", to).await, from("127.0.0.2", to).await];
    for _ in 0..20 {
        closed(&mut from("127.0.0.2", to).await).await;
    }
    let ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(say(from("127.0.0.3", to).await, ask).await.status, 404, "another one is served");
    drop(held);
    let served = async {
        let mut answer = Vec::new();
        while !answer.starts_with(b"HTTP/1.1 404") {
            let mut stream = from("127.0.0.2", to).await;
            // one that is closed at once may fail either
            if stream.write_all(ask).await.is_ok() {
                let _ = stream.read_to_end(&mut answer).await;
            }
        }
    };
    tokio::time::timeout(LONG, served).await.expect("its share comes back");
}

#[tokio::test]
async fn the_end_lets_requests_finish_ends_followers_and_closes_idle_connections() {
    let ground = Ground::resting().await;
    let listener = WebhookListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let to = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(listener.serve(ground.keeper.clone(), settings(), stop.clone()));
    let id = id_of(&ask(to, &signed("msg_1", BODY)).await);
    let mut follower = follow(to, &id).await;
    until(&mut follower, "\"queued\"").await;
    let mut idle = TcpStream::connect(to).await.unwrap();
    let mut middle = TcpStream::connect(to).await.unwrap();
    let bytes = signed("msg_2", BODY);
    let (head, tail) = bytes.split_at(bytes.len() - 5);
    middle.write_all(head).await.unwrap();
    // the server has surely seen the head once a later request on another connection was answered
    assert_eq!(get(to, "/").await.status, 404);
    stop.cancel();
    assert!(rest(&mut follower).await.ends_with("0\r\n\r\n"));
    assert_eq!(rest(&mut idle).await, "");
    middle.write_all(tail).await.unwrap();
    assert!(rest(&mut middle).await.starts_with("HTTP/1.1 202"));
    tokio::time::timeout(LONG, serving).await.expect("serve returns").unwrap();
    assert!(TcpStream::connect(to).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_address_in_use_names_its_key() {
    let first = WebhookListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = first.local_addr().unwrap();
    let error = WebhookListener::bind(address).unwrap_err();
    let wanted = format!(
        "[listen] webhook = \"{address}\": another process listens on this address; stop it or choose another port"
    );
    assert_eq!(error.to_string(), wanted);
}
