//! How much a stranger may send, and how many may listen.

use super::*;
use crate::testing::{name, policy, settings as keeper_settings};

/// A signed request with so many further headers of so many bytes each.
fn padded(count: usize, bytes: usize) -> Vec<u8> {
    let signature = signature::sign("msg_1", NOW / 1000, BODY.as_bytes(), secrets(SECRET).newest());
    let time = (NOW / 1000).to_string();
    let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
    let filling = "y".repeat(bytes);
    let mut headers = vec![
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", time.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    headers.extend(names.iter().map(|name| (name.as_str(), filling.as_str())));
    request(&headers, BODY)
}

#[tokio::test]
async fn a_head_has_64_headers_at_most_and_is_whole_after_32_kib() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    // host, connection, content-length and the four of the signature are among them
    // of a head that comes in one piece one more read may be taken
    for (count, bytes) in [(58, 1), (500, 1), (1, 70_000), (57, 1500)] {
        let reply = ask(to, &padded(count, bytes)).await;
        assert_eq!((reply.status, reply.body.as_str()), (431, ""), "{count} of {bytes}: {reply:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70_000));
    assert!(matches!(ask(to, long.as_bytes()).await.status, 414 | 431), "nor a longer path");
    assert_eq!(ask(to, b"\x16\x03\x01\x02\x00\r\n\r\n").await.status, 400, "no HTTP");
    assert_eq!(ground.jobs().await, 0);
    assert_eq!(ask(to, &padded(57, 400)).await.status, 202, "what just fits is taken");
}

#[tokio::test]
async fn a_body_may_have_64_kib_and_not_one_byte_more() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let body = |bytes: usize| format!("{BODY}{}", " ".repeat(bytes - BODY.len()));
    assert_eq!(ask(to, &signed("msg_1", &body(64 * 1024 + 1))).await.status, 413);
    assert_eq!(ask(to, &signed("msg_1", &body(64 * 1024))).await.status, 202);
}

#[tokio::test]
async fn thirty_two_may_follow_in_all() {
    let mut ground = Ground::resting().await;
    let mut wider = policy();
    let one = wider.runtime[0].clone();
    wider.runtime.extend((0..9).map(|n| {
        let repository = name(&format!("app{n}:x")).repository;
        layerkeeper_core::Runtime { repository, ..one.clone() }
    }));
    ground.keeper.reload(keeper_settings(wider));
    let to = listen(&mut ground, WebhookSettings { rate: None, ..settings() });
    let mut seats = Vec::new();
    for n in 0..9 {
        let body = format!(r#"{{"image":"ghcr.io/acme/app{n}:sha-1"}}"#);
        let id = id_of(&ask(to, &signed(&format!("msg_{n}"), &body)).await);
        for _ in 0..4 {
            let mut stream = follow(to, &id).await;
            if seats.len() == 32 {
                assert!(until(&mut stream, "too-fast").await.starts_with("HTTP/1.1 429"));
            } else {
                until(&mut stream, "\"queued\"").await;
                seats.push(stream);
            }
        }
    }
    assert_eq!(seats.len(), 32);
}
