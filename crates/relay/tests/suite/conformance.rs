//! The OCI distribution specification 1.1, "Pull" and "Error Codes", clause by clause. Each test is named after the section
//! and what the clause asks, and begins with its words. What is not the specification's says so.

mod blobs;
mod errors;
mod manifests;
mod ranges;
mod refused;

use std::fmt::Display;

use layerkeeper_testkit::http::Response;

use crate::{Ground, MB, Open};

/// All that there are (code-1 to code-14).
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// A relay before an image with one layer of three megabytes.
async fn opened() -> (Ground, Open) {
    let ground = Ground::new();
    let open = ground.open(&ground.push(&[3 * MB])).await;
    (ground, open)
}

fn manifest(reference: impl Display) -> String {
    format!("/v2/acme/app/manifests/{reference}")
}

fn blob(digest: impl Display) -> String {
    format!("/v2/acme/app/blobs/{digest}")
}

impl Open {
    /// The two ways to name its manifest.
    fn references(&self) -> [String; 2] {
        ["1".to_owned(), self.pushed.digest.to_string()]
    }

    /// All blobs of its manifest, with their sizes.
    fn blobs(&self) -> Vec<(String, u64)> {
        let layers = self.pushed.layers.iter().map(|layer| (layer.blob.to_string(), layer.size.0));
        layers.chain([(self.pushed.config.digest.to_string(), self.pushed.config.size.0)]).collect()
    }
}

/// The status of a refusal, and its code, from a body as the specification words it.
fn refusal(response: &Response) -> (u16, String) {
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json().unwrap();
    let error = &body["errors"][0];
    assert!(error["message"].is_string(), "{body}");
    let code = error["code"].as_str().unwrap();
    assert!(CODES.contains(&code), "{body}");
    (response.status, code.to_owned())
}

/// "Determining Support", end-1: "If the response is `200 OK`, then the registry implements this specification."
#[tokio::test(flavor = "multi_thread")]
async fn determining_support_end_1_a_get_of_v2_is_200() {
    let (ground, open) = opened().await;
    assert_eq!(open.ask("GET", "/v2/", &[]).await.status, 200);
    assert_eq!(ground.proxy.passed(), [], "the relay speaks for itself");
}

/// "Determining Support", end-1: "This endpoint MAY be used for authentication/authorization purposes"; of its failures
/// ("Endpoints") it is 401. What a challenge is says RFC 9110, 11.6.1.
#[tokio::test(flavor = "multi_thread")]
async fn determining_support_end_1_a_get_of_v2_by_a_stranger_is_401_with_a_challenge() {
    let (_ground, open) = opened().await;
    let refused = open.ask_as_is("GET", "/v2/", Vec::new()).await;
    assert_eq!(refusal(&refused), (401, "UNAUTHORIZED".to_owned()));
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"layerkeeper\""));
}

/// Not in the specification: whoever has this pull's credentials is taken for the engine, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_reached_by_who_has_its_credentials_and_by_nobody_else() {
    let (_ground, open) = opened().await;
    for headers in [vec![], vec![("Authorization".to_owned(), "Basic bGF5ZXJrZWVwZXI6bGF5ZXI=".to_owned())]] {
        open.ask_as_is("GET", "/v2/", headers).await;
    }
    assert!(!open.relay.is_reached(), "whoever that was, it was not the engine");
    open.ask("GET", "/v2/", &[]).await;
    assert!(open.relay.is_reached());
}

/// Not in the specification: the engine tries HTTPS first, and must get an end and not silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_tls_client_hello_ends_the_connection_and_the_next_request_is_answered() {
    use std::io::{Read, Write};
    let ground = Ground::new();
    let open = ground.open(&ground.push(&[MB])).await;
    let host = open.relay.repository().registry().to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        // record type 22, TLS 1.0, 512 bytes of a ClientHello
        let hello = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &[7; 506]].concat();
        stream.write_all(&hello).unwrap();
        let mut answer = Vec::new();
        // an end, by a closed connection or a reset one
        match stream.read_to_end(&mut answer) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    });
    assert!(ended.await.unwrap());
    assert_eq!(open.ask("GET", "/v2/", &[]).await.status, 200);
}
