//! "Pulling blobs" (end-2), and "Checking if content exists in the registry" of them.

use layerkeeper_core::Digest;

use super::{blob, opened, refusal};

/// "A GET request to an existing blob URL MUST provide the expected blob, with a response code that MUST be `200 OK`."
#[tokio::test(flavor = "multi_thread")]
async fn pulling_blobs_a_get_of_a_known_blob_must_answer_200() {
    let (_ground, open) = opened().await;
    for (digest, _) in open.blobs() {
        assert_eq!(open.ask("GET", &blob(&digest), &[]).await.status, 200, "{digest}");
    }
}

/// "A GET request to an existing blob URL MUST provide the expected blob": also a second time, from the spool.
#[tokio::test(flavor = "multi_thread")]
async fn pulling_blobs_a_get_must_provide_the_expected_blob() {
    let (ground, open) = opened().await;
    for (digest, size) in open.blobs() {
        let real = ground.registry.api().get(&blob(&digest)).unwrap().body;
        for time in ["from the origin", "from the spool"] {
            let got = open.ask("GET", &blob(&digest), &[]).await;
            assert!(got.body == real && real.len() as u64 == size, "{time}: {digest}");
            assert_eq!(got.head.content_length(), Some(size), "{time}: {digest}");
        }
    }
}

/// "A successful response SHOULD contain the digest of the uploaded blob in the header `Docker-Content-Digest`. If present,
/// the value of this header MUST be a digest matching that of the response body."
#[tokio::test(flavor = "multi_thread")]
async fn pulling_blobs_the_answer_should_contain_a_digest_and_it_must_match_the_body() {
    let (_ground, open) = opened().await;
    for (digest, _) in open.blobs() {
        let got = open.ask("GET", &blob(&digest), &[]).await;
        let named: Digest = got.header("docker-content-digest").unwrap().parse().unwrap();
        assert_eq!(named, Digest::of(&got.body), "{digest}");
    }
}

/// "If the blob is not found in the repository, the response code MUST be `404 Not Found`."
#[tokio::test(flavor = "multi_thread")]
async fn pulling_blobs_a_get_of_an_unknown_blob_must_answer_404() {
    let (_ground, open) = opened().await;
    let refused = open.blob(Digest::of(b"unknown")).await;
    assert_eq!(refusal(&refused), (404, "BLOB_UNKNOWN".to_owned()));
}

/// "To pull a blob, perform a `GET` request to a URL in the following form: `/v2/<name>/blobs/<digest>`": also one that the
/// manifest of this pull does not list is there as long as the origin has it.
#[tokio::test(flavor = "multi_thread")]
async fn pulling_blobs_a_get_of_a_blob_of_another_manifest_of_the_repository_must_answer_200() {
    let (ground, open) = opened().await;
    let other = ground.push(&[10_000]);
    let got = open.blob(other.config.digest).await;
    assert_eq!((got.status, Digest::of(&got.body)), (200, other.config.digest));
}

/// "A HEAD request to an existing blob or manifest URL MUST return `200 OK`."
#[tokio::test(flavor = "multi_thread")]
async fn checking_if_content_exists_a_head_of_a_known_blob_must_answer_200() {
    let (_ground, open) = opened().await;
    for (digest, _) in open.blobs() {
        assert_eq!(open.ask("HEAD", &blob(&digest), &[]).await.status, 200, "{digest}");
    }
}

/// "A successful response SHOULD contain the digest of the uploaded blob in the header `Docker-Content-Digest`."
#[tokio::test(flavor = "multi_thread")]
async fn checking_if_content_exists_a_head_of_a_blob_should_contain_its_digest() {
    let (_ground, open) = opened().await;
    for (digest, _) in open.blobs() {
        let head = open.ask("HEAD", &blob(&digest), &[]).await;
        assert_eq!(head.header("docker-content-digest"), Some(digest.as_str()));
    }
}

/// "A successful response SHOULD contain the size in bytes of the uploaded blob in the header `Content-Length`."
#[tokio::test(flavor = "multi_thread")]
async fn checking_if_content_exists_a_head_of_a_blob_should_contain_its_size() {
    let (_ground, open) = opened().await;
    for (digest, size) in open.blobs() {
        let head = open.ask("HEAD", &blob(&digest), &[]).await;
        assert_eq!(head.head.content_length(), Some(size), "{digest}");
    }
}

/// "If the blob or manifest is not found in the repository, the response code MUST be `404 Not Found`."
#[tokio::test(flavor = "multi_thread")]
async fn checking_if_content_exists_a_head_of_an_unknown_blob_must_answer_404() {
    let (_ground, open) = opened().await;
    assert_eq!(open.ask("HEAD", &blob(Digest::of(b"unknown")), &[]).await.status, 404);
}

/// Not in the specification: who only looks makes nothing come.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_a_blob_fetches_nothing() {
    let (ground, open) = opened().await;
    for (digest, _) in open.blobs() {
        open.ask("HEAD", &blob(&digest), &[]).await;
    }
    assert_eq!((ground.proxy.passed(), open.relay.snapshot().blobs.len()), (vec![], 0));
}
