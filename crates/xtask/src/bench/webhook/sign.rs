//! Signed requests, ready to be sent: as Standard Webhooks has it for us, and as GitHub has it for adnanh/webhook.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layerkeeper_core::Repository;
use ring::hmac::{HMAC_SHA256, Key, sign};

/// A deploy of a tag of its own for each request; numbers are used once.
pub fn standard(host: &str, repository: &Repository, secret: &str, numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let one = |number: usize| {
        let body = format!("{{\"image\":\"{repository}:sha-{number:07x}\"}}");
        let id = format!("msg_bench_{now}_{number}");
        let signature = STANDARD.encode(sign(&key, format!("{id}.{now}.{body}").as_bytes()));
        let head = format!("webhook-id: {id}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{signature}\r\n");
        post(host, "/v1/deploys", &head, &body)
    };
    numbers.map(one).collect()
}

/// The same bodies, signed with an HMAC of the body alone.
pub fn of_body(host: &str, path: &str, repository: &Repository, secret: &str, count: usize) -> Vec<Vec<u8>> {
    let key = Key::new(HMAC_SHA256, secret.as_bytes());
    let one = |number: usize| {
        let body = format!("{{\"image\":\"{repository}:sha-{number:07x}\"}}");
        let mut hex = String::new();
        for byte in sign(&key, body.as_bytes()).as_ref() {
            let _ = write!(hex, "{byte:02x}");
        }
        post(host, path, &format!("X-Hub-Signature-256: sha256={hex}\r\n"), &body)
    };
    (0..count).map(one).collect()
}

fn post(host: &str, path: &str, head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{head}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
