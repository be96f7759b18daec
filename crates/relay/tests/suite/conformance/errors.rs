//! "Error Codes": "If the response body is in JSON format, it MUST have the following format". The codes that a pull can meet;
//! those of what is not pulling are beside it.

use layerkeeper_core::Digest;

use super::{CODES, blob, manifest, opened, refusal};
use crate::Open;

impl Open {
    /// Refused with this status and code, and nothing else is said of it.
    async fn refuses(&self, path: &str, status: u16, code: &str) {
        let refused = self.ask("GET", path, &[]).await;
        assert_eq!(refusal(&refused), (status, code.to_owned()), "{path}");
    }
}

/// "If the response body is in JSON format, it MUST have the following format: […]"; "The `code` field MUST be one of the
/// following".
#[tokio::test(flavor = "multi_thread")]
async fn error_codes_every_body_must_have_the_format_and_a_code_of_the_list() {
    let (_ground, open) = opened().await;
    let unknown = Digest::of(b"unknown");
    let refused =
        [manifest("nope"), manifest("sha256:0"), blob(unknown), blob("0"), "/v2/other/blobs/0".into(), "/".into()];
    for path in refused {
        let answer = open.ask("GET", &path, &[]).await;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        let body = answer.json().unwrap();
        let errors = body["errors"].as_array().unwrap();
        assert!(!errors.is_empty(), "{body}");
        for error in errors {
            assert!(error["code"].as_str().is_some_and(|code| CODES.contains(&code)), "{path}: {body}");
            assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{path}: {body}");
        }
    }
}

/// code-1: "blob unknown to registry".
#[tokio::test(flavor = "multi_thread")]
async fn error_codes_1_blob_unknown_is_404() {
    let (_ground, open) = opened().await;
    open.refuses(&blob(Digest::of(b"unknown")), 404, "BLOB_UNKNOWN").await;
}

/// "Pulling Blobs" and "Pulling Manifests": "If the [blob, manifest] is not found in the registry, the response code MUST be
/// `404 Not Found`", also where its digest is one of another algorithm that is registered.
#[tokio::test(flavor = "multi_thread")]
async fn pulling_by_a_digest_of_another_algorithm_must_answer_404() {
    let (_ground, open) = opened().await;
    let digest = format!("sha512:{}", "0".repeat(128));
    open.refuses(&blob(&digest), 404, "BLOB_UNKNOWN").await;
    open.refuses(&manifest(&digest), 404, "MANIFEST_UNKNOWN").await;
    open.refuses(&blob(&digest[..100]), 400, "DIGEST_INVALID").await;
}

/// code-4: "provided digest did not match uploaded content"; nothing matches what is no digest, so it is said for that, too.
#[tokio::test(flavor = "multi_thread")]
async fn error_codes_4_what_is_no_digest_is_400_digest_invalid_and_not_asked_for() {
    let (ground, open) = opened().await;
    for bad in ["sha256:0".to_owned(), "sha256:xyz".to_owned(), format!("sha256:{}", "A".repeat(64))] {
        open.refuses(&blob(&bad), 400, "DIGEST_INVALID").await;
        open.refuses(&manifest(&bad), 400, "DIGEST_INVALID").await;
    }
    assert_eq!(ground.proxy.passed(), []);
}

/// code-7: "manifest unknown to registry".
#[tokio::test(flavor = "multi_thread")]
async fn error_codes_7_manifest_unknown_is_404() {
    let (_ground, open) = opened().await;
    open.refuses(&manifest("nope"), 404, "MANIFEST_UNKNOWN").await;
}

/// code-9: "repository name not known to registry": a relay knows one, also where the origin has others.
#[tokio::test(flavor = "multi_thread")]
async fn error_codes_9_the_name_of_any_other_repository_is_404_and_not_asked_for() {
    let (ground, open) = opened().await;
    for name in ["other/app", "acme/app/more", "acme", "evil/v2/acme/app"] {
        open.refuses(&format!("/v2/{name}/blobs/{}", open.pushed.layers[0].blob), 404, "NAME_UNKNOWN").await;
        open.refuses(&format!("/v2/{name}/manifests/1"), 404, "NAME_UNKNOWN").await;
    }
    assert_eq!(ground.proxy.passed(), []);
}

/// code-11: "authentication required": for whatever is asked, be it there or not, and nothing of it leaks or is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn error_codes_11_unauthorized_is_all_that_a_stranger_is_told() {
    let (ground, open) = opened().await;
    open.layer(0).await;
    let asked = ground.proxy.passed().len();
    let paths = [manifest(1), manifest("nope"), blob(open.pushed.layers[0].blob), blob("sha256:0"), "/".into()];
    for path in paths {
        for headers in [vec![], vec![("Authorization".to_owned(), "Basic bGF5ZXJrZWVwZXI6bGF5ZXI=".to_owned())]] {
            let refused = open.ask_as_is("GET", &path, headers).await;
            assert_eq!(refusal(&refused), (401, "UNAUTHORIZED".to_owned()), "{path}");
            assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"layerkeeper\""), "{path}");
        }
    }
    assert_eq!(ground.proxy.passed().len(), asked);
}

/// code-13: "the operation is unsupported": there is nothing but what a pull needs.
#[tokio::test(flavor = "multi_thread")]
async fn error_codes_13_what_is_no_endpoint_of_a_pull_is_404_unsupported() {
    let (ground, open) = opened().await;
    for path in ["/", "/v1/", "/v2/_catalog", "/v2foo", "/v2/acme/app"] {
        open.refuses(path, 404, "UNSUPPORTED").await;
    }
    assert_eq!(ground.proxy.passed(), []);
}
