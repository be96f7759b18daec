//! An origin that lies about the type or the digest of what it gives. Only the bytes count: what has the digest that was asked
//! for is served under that digest, whatever the headers said, and nothing else is.

use layerkeeper_core::Digest;
use layerkeeper_testkit::Fault;

use crate::{Ground, MB};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

impl Ground {
    /// What the registry has there.
    fn content(&self, path: &str) -> Vec<u8> {
        self.registry.api().request("GET", path).header("Accept", MANIFEST).send().unwrap().body
    }
}

fn manifest(reference: impl std::fmt::Display) -> String {
    format!("/v2/acme/app/manifests/{reference}")
}

fn blob(digest: Digest) -> String {
    format!("/v2/acme/app/blobs/{digest}")
}

/// The specification has whoever uses a manifest judge that: "If the manifest has a `mediaType` field, clients SHOULD reject
/// unless the `mediaType` field's value matches the type specified by the `Content-Type` header" ("Pulling manifests"). So the
/// engine gets both as the origin gives them.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_under_another_type_than_it_names_reaches_the_engine_so_that_it_can_reject_it() {
    let ground = Ground::new();
    let pushed = ground.push(&[10_000]);
    let real = ground.content(&manifest(pushed.digest));
    let lie = Fault::answer(200).header("Content-Type", INDEX).body(real.as_slice());
    ground.proxy.add(lie.on_path("/manifests/").on_method("GET"));
    for reference in ["1".to_owned(), pushed.digest.to_string()] {
        let open = ground.open(&pushed).await;
        let got = open.ask("GET", &manifest(&reference), &[]).await;
        assert_eq!((got.status, got.header("content-type")), (200, Some(INDEX)), "{reference}");
        assert_eq!(got.header("docker-content-digest"), Some(pushed.digest.to_string().as_str()));
        assert_eq!(Digest::of(&got.body), pushed.digest);
        assert_eq!(got.json().unwrap()["mediaType"], MANIFEST);
    }
}

/// Of that type the digest is of other bytes than those that come, so nothing could be verified.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_under_the_type_of_signed_ones_is_refused() {
    let ground = Ground::new();
    let pushed = ground.push(&[10_000]);
    let real = ground.content(&manifest(pushed.digest));
    let lie = Fault::answer(200).header("Content-Type", SIGNED).body(real);
    ground.proxy.add(lie.on_path("/manifests/").on_method("GET"));
    let open = ground.open(&pushed).await;
    for reference in ["1".to_owned(), pushed.digest.to_string()] {
        let refused = open.ask("GET", &manifest(&reference), &[]).await;
        assert_eq!(refused.status, 502, "{reference}");
        assert!(refused.text().contains("manifest of version 1"), "{}", refused.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_other_bytes_is_refused_by_digest_and_by_tag() {
    let ground = Ground::new();
    let pushed = ground.push(&[10_000]);
    let mut other = ground.content(&manifest(pushed.digest));
    other.push(b' ');
    // its headers are those of the real one
    let digest = pushed.digest.to_string();
    let lie = Fault::answer(200).header("Content-Type", MANIFEST).header("Docker-Content-Digest", &digest).body(other);
    ground.proxy.add(lie.on_path("/manifests/").on_method("GET"));
    let open = ground.open(&pushed).await;
    for reference in ["1".to_owned(), digest] {
        let refused = open.ask("GET", &manifest(&reference), &[]).await;
        assert_eq!(refused.status, 502, "{reference}");
        assert!(refused.text().contains("serves wrong bytes"), "{}", refused.text());
    }
}

/// Asked for by digest its bytes are their own proof.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_under_a_false_digest_is_served_by_digest_under_its_own() {
    let ground = Ground::new();
    let pushed = ground.push(&[10_000]);
    let (path, false_one) = (manifest(pushed.digest), Digest::of(b"false").to_string());
    let real = ground.content(&path);
    let lie = Fault::answer(200).header("Content-Type", MANIFEST).header("Docker-Content-Digest", &false_one);
    ground.proxy.add(lie.body(real.as_slice()));
    let open = ground.open(&pushed).await;
    let got = open.ask("GET", &path, &[]).await;
    assert_eq!((got.status, got.body == real), (200, true), "{}", got.text());
    assert_eq!(got.header("docker-content-digest"), Some(pushed.digest.to_string().as_str()));
}

/// Asked for by tag there is no other proof than the digest that the origin names: "if it is used, the client MUST verify the
/// value matches the returned manifest" ("Pulling manifests").
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_under_a_false_digest_is_refused_by_tag() {
    let ground = Ground::new();
    let pushed = ground.push(&[10_000]);
    let real = ground.content(&manifest(pushed.digest));
    let false_one = Digest::of(b"false").to_string();
    let lie =
        Fault::answer(200).header("Content-Type", MANIFEST).header("Docker-Content-Digest", &false_one).body(real);
    // to HEAD and GET alike, and, the second time, to GET alone
    for no_head in [false, true] {
        ground.proxy.clear();
        if no_head {
            ground.proxy.add(Fault::answer(405).on_method("HEAD"));
        }
        ground.proxy.add(lie.clone());
        let open = ground.open(&pushed).await;
        let refused = open.ask("GET", &manifest(1), &[]).await;
        assert_eq!(refused.status, 502, "{no_head}");
        assert!(refused.text().contains("serves wrong bytes"), "{}", refused.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_under_another_type_and_a_false_digest_is_served_for_what_it_is() {
    let ground = Ground::new();
    let pushed = ground.push(&[300_000]);
    let layer = &pushed.layers[0];
    let false_one = Digest::of(b"false").to_string();
    let lie = Fault::answer(200).header("Content-Type", "text/html").header("Docker-Content-Digest", &false_one);
    ground.proxy.add(lie.body(ground.content(&blob(layer.blob))).on_path("/blobs/"));
    let open = ground.open(&pushed).await;
    let got = open.blob(layer.blob).await;
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/octet-stream")));
    assert_eq!(got.header("docker-content-digest"), Some(layer.blob.to_string().as_str()));
    assert_eq!(Digest::of(&got.body), layer.blob);
    assert_eq!(open.close().await.remarks, Vec::<String>::new());
}

/// What a captive portal or a broken proxy does.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_place_of_a_blob_is_never_served_also_where_the_headers_vouch_for_it() {
    let ground = Ground::new();
    let pushed = ground.push(&[MB / 2]);
    let layer = &pushed.layers[0];
    let mut page = b"<html>Please log in</html>".to_vec();
    page.resize(usize::try_from(layer.size.0).unwrap(), b' ');
    let digest = layer.blob.to_string();
    let lie = Fault::answer(200).header("Content-Type", "text/html").header("Docker-Content-Digest", &digest);
    ground.proxy.add(lie.body(page).on_path("/blobs/"));
    let open = ground.open(&pushed).await;
    let refused = open.blob(layer.blob).await;
    assert_eq!(refused.status, 502);
    assert!(refused.text().contains("wrong bytes") && !refused.text().contains("log in"), "{}", refused.text());
    assert_eq!(open.close().await.failure.unwrap().reason(), "wrong_bytes");
}
