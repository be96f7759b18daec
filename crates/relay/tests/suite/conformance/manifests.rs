//! "Pulling manifests" (end-3), and "Checking if content exists in the registry" of them.

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_testkit::{Fault, Image, Index, Layer, Media};

use super::{manifest, opened, refusal};
use crate::{Ground, Open};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A tag and a digest that stand for nothing.
fn unknown() -> [String; 2] {
    ["nope".to_owned(), Digest::of(b"unknown").to_string()]
}

fn image() -> Image {
    Image::new().layer(Layer::random(1, Bytes(10_000)).unwrap())
}

impl Open {
    /// GET and HEAD give this type, by tag and by digest.
    async fn gives_type(&self, media_type: &str) {
        for reference in self.references() {
            for method in ["GET", "HEAD"] {
                let answer = self.ask(method, &manifest(&reference), &[]).await;
                let got = (answer.status, answer.header("content-type"));
                assert_eq!(got, (200, Some(media_type)), "{method} {reference}");
            }
        }
    }
}

/// "A GET request to an existing manifest URL MUST provide the expected manifest, with a response code that MUST be
/// `200 OK`."
#[tokio::test(flavor = "multi_thread")]
async fn pulling_manifests_a_get_of_a_known_manifest_must_answer_200() {
    let (_ground, open) = opened().await;
    for reference in open.references() {
        assert_eq!(open.ask("GET", &manifest(&reference), &[]).await.status, 200, "{reference}");
    }
}

/// "A GET request to an existing manifest URL MUST provide the expected manifest": the origin's bytes, to the last blank.
#[tokio::test(flavor = "multi_thread")]
async fn pulling_manifests_a_get_must_provide_the_expected_manifest() {
    let (ground, open) = opened().await;
    let origin = ground.registry.api();
    for reference in open.references() {
        let real = origin.request("GET", &manifest(&reference)).header("Accept", OCI_MANIFEST).send().unwrap();
        let got = open.ask("GET", &manifest(&reference), &[]).await;
        assert_eq!(got.text(), real.text(), "{reference}");
        assert_eq!(Digest::of(&got.body), open.pushed.digest);
    }
}

/// "A successful response SHOULD contain the digest of the uploaded blob in the header `Docker-Content-Digest`."
#[tokio::test(flavor = "multi_thread")]
async fn pulling_manifests_the_answer_to_a_get_should_contain_the_digest() {
    let (_ground, open) = opened().await;
    for reference in open.references() {
        let got = open.ask("GET", &manifest(&reference), &[]).await;
        assert_eq!(got.header("docker-content-digest"), Some(open.pushed.digest.to_string().as_str()), "{reference}");
    }
}

/// "In a successful response, the `Content-Type` header will indicate the type of the returned manifest."
#[tokio::test(flavor = "multi_thread")]
async fn pulling_manifests_the_content_type_must_be_the_manifests_media_type() {
    for (media, media_type) in [(Media::Oci, OCI_MANIFEST), (Media::Docker, DOCKER_MANIFEST)] {
        let ground = Ground::new();
        let pushed = image().media(media).push(&ground.registry, "acme/app:1").unwrap();
        ground.open(&pushed).await.gives_type(media_type).await;
    }
}

/// "The `Content-Type` header SHOULD match what the client pushed as the manifest's `Content-Type`": an index is none of its
/// manifests.
#[tokio::test(flavor = "multi_thread")]
async fn pulling_manifests_an_index_is_served_as_it_is_and_with_its_own_media_type() {
    for (media, media_type) in [(Media::Oci, OCI_INDEX), (Media::Docker, DOCKER_LIST)] {
        let ground = Ground::new();
        let images = [image(), image().architecture("arm64")].map(|image| image.media(media));
        let pushed = Index::of(images).media(media).push(&ground.registry, "acme/app:1").unwrap();
        let open = ground.open(&pushed[0]).await;
        open.gives_type(media_type).await;
        for (wanted, size) in
            [(pushed[0].digest, pushed[0].index_size.unwrap()), (pushed[1].manifest.digest, pushed[1].manifest.size)]
        {
            let got = open.ask("GET", &manifest(wanted), &[]).await;
            assert_eq!((Digest::of(&got.body), got.body.len() as u64), (wanted, size.0));
        }
    }
}

/// "The registry SHOULD NOT include parameters on the `Content-Type` header", whatever the origin does.
#[tokio::test(flavor = "multi_thread")]
async fn pulling_manifests_the_content_type_should_not_have_parameters() {
    let (ground, open) = opened().await;
    let path = manifest(open.pushed.digest);
    let real = ground.registry.api().request("GET", &path).header("Accept", OCI_MANIFEST).send().unwrap();
    let typed = Fault::answer(200).header("Content-Type", &format!("{OCI_MANIFEST}; charset=utf-8")).body(real.body);
    ground.proxy.add(typed.on_path(&path));
    let got = open.ask("GET", &path, &[]).await;
    assert_eq!((got.status, got.header("content-type")), (200, Some(OCI_MANIFEST)));
}

/// "If the manifest is not found in the repository, the response code MUST be `404 Not Found`."
#[tokio::test(flavor = "multi_thread")]
async fn pulling_manifests_a_get_of_an_unknown_manifest_must_answer_404() {
    let (_ground, open) = opened().await;
    for reference in unknown() {
        let refused = open.ask("GET", &manifest(&reference), &[]).await;
        assert_eq!(refusal(&refused), (404, "MANIFEST_UNKNOWN".to_owned()), "{reference}");
    }
}

/// "`<reference>` as a tag MUST be at most 128 characters in length and MUST match the following regular expression:
/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`": so nothing else is asked for at the origin.
#[tokio::test(flavor = "multi_thread")]
async fn pulling_manifests_what_can_be_no_tag_is_not_found_and_not_asked_for() {
    let (ground, open) = opened().await;
    for reference in ["-nope".to_owned(), "a%2Fb".to_owned(), "a~".to_owned(), "a".repeat(129)] {
        let refused = open.ask("GET", &manifest(&reference), &[]).await;
        assert_eq!(refusal(&refused), (404, "MANIFEST_UNKNOWN".to_owned()), "{reference}");
    }
    assert_eq!(ground.proxy.passed(), []);
    open.ask("GET", &manifest("a".repeat(128)), &[]).await;
    assert_ne!(ground.proxy.passed(), [], "this may be one");
}

/// "A HEAD request to an existing blob or manifest URL MUST return `200 OK`."
#[tokio::test(flavor = "multi_thread")]
async fn checking_if_content_exists_a_head_of_a_known_manifest_must_answer_200() {
    let (_ground, open) = opened().await;
    for reference in open.references() {
        assert_eq!(open.ask("HEAD", &manifest(&reference), &[]).await.status, 200, "{reference}");
    }
}

/// "A successful response SHOULD contain the digest of the uploaded blob in the header `Docker-Content-Digest`."
#[tokio::test(flavor = "multi_thread")]
async fn checking_if_content_exists_a_head_of_a_manifest_should_contain_its_digest() {
    let (_ground, open) = opened().await;
    for reference in open.references() {
        let head = open.ask("HEAD", &manifest(&reference), &[]).await;
        assert_eq!(head.header("docker-content-digest"), Some(open.pushed.digest.to_string().as_str()), "{reference}");
    }
}

/// "A successful response SHOULD contain the size in bytes of the uploaded blob in the header `Content-Length`."
#[tokio::test(flavor = "multi_thread")]
async fn checking_if_content_exists_a_head_of_a_manifest_should_contain_its_size() {
    let (_ground, open) = opened().await;
    for reference in open.references() {
        let head = open.ask("HEAD", &manifest(&reference), &[]).await;
        assert_eq!(head.head.content_length(), Some(open.pushed.manifest.size.0), "{reference}");
    }
}

/// "If the blob or manifest is not found in the repository, the response code MUST be `404 Not Found`."
#[tokio::test(flavor = "multi_thread")]
async fn checking_if_content_exists_a_head_of_an_unknown_manifest_must_answer_404() {
    let (_ground, open) = opened().await;
    for reference in unknown() {
        assert_eq!(open.ask("HEAD", &manifest(&reference), &[]).await.status, 404, "{reference}");
    }
}
