//! What is not pulling: "Push", "Content Discovery" and "Content Management" are categories of their own ("Workflow
//! Categories"), which a relay does not have. Each endpoint is refused as "the operation is unsupported" (code-13), nothing of
//! it reaches the origin, and the pull goes on as if nothing had been asked.

use layerkeeper_core::Digest;
use layerkeeper_testkit::http::Server;

use super::{blob, manifest, opened, refusal};
use crate::Open;

const UPLOADS: &str = "/v2/acme/app/blobs/uploads/";

/// This request, with a body as it would have in earnest, is refused with this status.
async fn is_unsupported(method: &str, path: impl Fn(&Open) -> String, body: &[u8], status: u16) {
    let (ground, open) = opened().await;
    let (server, path) = (Server::tcp(open.host()), path(&open));
    let request = server.request(method, &path).header("Authorization", open.authorization());
    let refused = request.header("Content-Type", "application/octet-stream").body(body).send().unwrap();
    assert_eq!(refusal(&refused), (status, "UNSUPPORTED".to_owned()), "{method} {path}");
    assert_eq!(refused.header("location"), None, "there is nowhere to go on");
    // RFC 9110, 15.5.6: "The origin server MUST generate an Allow header field in a 405 response"
    assert_eq!(refused.header("allow"), (status == 405).then_some("GET, HEAD"), "{method} {path}");
    assert_eq!(ground.proxy.passed(), [], "nothing of it reaches the origin");
    assert_eq!(ground.relays.spool().entries(), [], "nothing of it is kept");
    for reference in open.references() {
        let got = open.ask("GET", &manifest(&reference), &[]).await;
        assert_eq!((got.status, Digest::of(&got.body)), (200, open.pushed.digest), "{reference}");
    }
    open.layer(0).await;
}

/// "Pushing blobs", end-4a: `POST /v2/<name>/blobs/uploads/`.
#[tokio::test(flavor = "multi_thread")]
async fn pushing_blobs_end_4_to_begin_an_upload_is_unsupported() {
    is_unsupported("POST", |_| UPLOADS.to_owned(), b"", 405).await;
}

/// "Pushing a blob monolithically", end-4b: `POST /v2/<name>/blobs/uploads/?digest=<digest>`.
#[tokio::test(flavor = "multi_thread")]
async fn pushing_blobs_end_4_to_send_a_blob_in_one_post_is_unsupported() {
    is_unsupported("POST", |_| format!("{UPLOADS}?digest={}", Digest::of(b"blob")), b"blob", 405).await;
}

/// "Pushing a blob in chunks", end-5: `PATCH /v2/<name>/blobs/uploads/<reference>`.
#[tokio::test(flavor = "multi_thread")]
async fn pushing_blobs_end_5_to_send_a_chunk_is_unsupported() {
    is_unsupported("PATCH", |_| format!("{UPLOADS}1"), b"blob", 405).await;
}

/// "POST then PUT", end-6: `PUT /v2/<name>/blobs/uploads/<reference>?digest=<digest>`.
#[tokio::test(flavor = "multi_thread")]
async fn pushing_blobs_end_6_to_end_an_upload_is_unsupported() {
    is_unsupported("PUT", |_| format!("{UPLOADS}1?digest={}", Digest::of(b"blob")), b"blob", 405).await;
}

/// "Pushing Manifests", end-7: `PUT /v2/<name>/manifests/<reference>`.
#[tokio::test(flavor = "multi_thread")]
async fn pushing_manifests_end_7_to_put_a_manifest_is_unsupported() {
    is_unsupported("PUT", |_| manifest(1), b"{\"schemaVersion\": 2}", 405).await;
    is_unsupported("PUT", |open| manifest(open.pushed.digest), b"{\"schemaVersion\": 2}", 405).await;
}

/// "Listing Tags", end-8: `GET /v2/<name>/tags/list`, whose failure is 404 ("Endpoints").
#[tokio::test(flavor = "multi_thread")]
async fn listing_tags_end_8_is_unsupported() {
    is_unsupported("GET", |_| "/v2/acme/app/tags/list".to_owned(), b"", 404).await;
    is_unsupported("GET", |_| "/v2/acme/app/tags/list?n=1&last=0".to_owned(), b"", 404).await;
}

/// "Pushing a blob in chunks", end-13: `GET /v2/<name>/blobs/uploads/<reference>`, whose failure is 404 ("Endpoints").
#[tokio::test(flavor = "multi_thread")]
async fn pushing_blobs_end_13_to_ask_how_far_an_upload_is_is_unsupported() {
    is_unsupported("GET", |_| format!("{UPLOADS}1"), b"", 404).await;
}

/// "Deleting tags", end-9: "If tag deletion is disabled, the registry MUST respond with either a `400 Bad Request` or a
/// `405 Method Not Allowed`."
#[tokio::test(flavor = "multi_thread")]
async fn deleting_tags_end_9_must_answer_405_where_it_is_disabled() {
    is_unsupported("DELETE", |_| manifest(1), b"", 405).await;
}

/// "Deleting Manifests", end-9: "If manifest deletion is disabled, the registry MUST respond with either a `400 Bad Request`
/// or a `405 Method Not Allowed`."
#[tokio::test(flavor = "multi_thread")]
async fn deleting_manifests_end_9_must_answer_405_where_it_is_disabled() {
    is_unsupported("DELETE", |open| manifest(open.pushed.digest), b"", 405).await;
}

/// "Deleting Blobs", end-10: "If blob deletion is disabled, the registry MUST respond with either a `400 Bad Request` or a
/// `405 Method Not Allowed`."
#[tokio::test(flavor = "multi_thread")]
async fn deleting_blobs_end_10_must_answer_405_where_it_is_disabled() {
    is_unsupported("DELETE", |open| blob(open.pushed.layers[0].blob), b"", 405).await;
}

/// "Mounting a blob from another repository", end-11: `POST /v2/<name>/blobs/uploads/?mount=<digest>&from=<other_name>`.
#[tokio::test(flavor = "multi_thread")]
async fn mounting_a_blob_end_11_is_unsupported() {
    is_unsupported("POST", |open| format!("{UPLOADS}?mount={}&from=other", open.pushed.layers[0].blob), b"", 405).await;
}

/// "Unavailable Referrers API", end-12: "A client querying the referrers API and receiving a `404 Not Found` MUST fallback to
/// using an image index pushed to a tag described by the referrers tag schema": so it is no other status.
#[tokio::test(flavor = "multi_thread")]
async fn listing_referrers_end_12_is_404_and_unsupported() {
    is_unsupported("GET", |open| format!("/v2/acme/app/referrers/{}", open.pushed.digest), b"", 404).await;
}
