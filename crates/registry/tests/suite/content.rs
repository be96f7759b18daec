//! Bytes that are right, wrong, too few or too many, and how many moved.

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_registry::{Error, Resolved};

use crate::shelf::{OCI_LAYER, OCI_MANIFEST, Shelf, Stored};
use crate::stub::{Answer, Stub};
use crate::{Ground, amd64, reference};

fn one_image() -> (Shelf, Stored) {
    let mut shelf = Shelf::default();
    let stored = shelf.image("amd64", &[OCI_LAYER], &["v1"]);
    (shelf, stored)
}

async fn serve(shelf: Shelf) -> Stub {
    Stub::start(move |request| shelf.answer(request)).await
}

#[tokio::test]
async fn a_tag_is_resolved_without_moving_a_byte() {
    let (shelf, stored) = one_image();
    let stub = serve(shelf).await;
    let resolved = Ground::new().client.resolve(&reference(&stub.host(), "v1")).await.unwrap();
    let wanted = Resolved {
        digest: stored.digest,
        media_type: OCI_MANIFEST.into(),
        size: Some(Bytes(stored.size)),
        moved: Bytes::ZERO,
    };
    assert_eq!(resolved, wanted);
    assert_eq!(stub.lines(), ["HEAD /v2/acme/app/manifests/v1"]);
    let accept = stub.seen()[0].header("accept").unwrap().to_owned();
    assert!(accept.contains("image.index.v1") && accept.contains("manifest.list.v2"), "{accept}");
}

#[tokio::test]
async fn a_registry_that_keeps_the_digest_to_itself_is_asked_by_get() {
    let (shelf, stored) = one_image();
    for head in [200, 405] {
        let shelf = shelf.clone();
        let stub = Stub::start(move |request| match (request.method.as_str(), head) {
            ("HEAD", 405) => Answer::new(405),
            _ => shelf.answer(request).without("docker-content-digest"),
        })
        .await;
        let ground = Ground::new();
        let resolved = ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap();
        assert_eq!((resolved.digest, resolved.moved), (stored.digest, Bytes(stored.size)));

        // what was read to find the digest out is not read again
        let fetched = ground.client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap();
        assert_eq!(fetched.moved, Bytes(stored.size) + fetched.image.config.size);
    }
}

#[tokio::test]
async fn what_was_read_once_does_not_move_again() {
    let (shelf, stored) = one_image();
    let stub = serve(shelf).await;
    let ground = Ground::new();
    let by_tag = reference(&stub.host(), "v1");
    let first = ground.client.image(&by_tag, &amd64()).await.unwrap();
    assert_eq!(first.moved, Bytes(stored.size) + first.image.config.size);
    assert_eq!(first.moved, first.image.metadata_bytes());

    let asked = stub.seen().len();
    let again = ground.client.image(&reference(&stub.host(), &stored.digest.to_string()), &amd64()).await.unwrap();
    assert_eq!((again.moved, &again.image), (Bytes::ZERO, &first.image));
    assert_eq!(stub.seen().len(), asked);
    assert_eq!(ground.client.image(&by_tag, &amd64()).await.unwrap().moved, Bytes::ZERO);
    assert_eq!(stub.lines().last().map(String::as_str), Some("HEAD /v2/acme/app/manifests/v1"));
}

#[tokio::test]
async fn what_a_tag_was_resolved_by_is_not_read_again() {
    let (shelf, stored) = one_image();
    let stub = serve(shelf.clone()).await;
    let ground = Ground::new();
    let resolved = ground.client.resolve_by_get(&reference(&stub.host(), "v1")).await.unwrap();
    assert_eq!((resolved.digest, resolved.moved), (stored.digest, Bytes(stored.size)));
    let by_digest = reference(&stub.host(), &stored.digest.to_string());
    let fetched = ground.client.image(&by_digest, &amd64()).await.unwrap();
    assert_eq!(fetched.moved, fetched.image.config.size);
    let config = format!("GET /v2/acme/app/blobs/{}", fetched.image.config.digest);
    assert_eq!(stub.lines(), ["GET /v2/acme/app/manifests/v1", &config]);

    // a registry that is broken behind its tags still says what they show
    let stub = Stub::start(move |request| match request.method.as_str() {
        "HEAD" => shelf.answer(request),
        _ => Answer::new(500),
    })
    .await;
    let resolved = Ground::new().client.resolve_by_get(&reference(&stub.host(), "v1")).await.unwrap();
    assert_eq!((resolved.digest, resolved.moved), (stored.digest, Bytes::ZERO));
}

#[tokio::test]
async fn wrong_bytes_are_refused_by_both_digests() {
    let (mut shelf, stored) = one_image();
    let path = format!("manifests/{}", stored.digest);
    shelf.spoil(&path, |bytes| bytes.push(b' '));
    let stub = serve(shelf.clone()).await;
    for rest in ["v1", &stored.digest.to_string()] {
        let error = Ground::new().client.image(&reference(&stub.host(), rest), &amd64()).await.unwrap_err();
        let Error::DigestMismatch { wanted, got, .. } = &error else { panic!("{error}") };
        assert!(*wanted == stored.digest && got != wanted);
        let text = error.to_string();
        assert!(text.contains(&wanted.to_string()) && text.contains(&got.to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_get_that_contradicts_its_own_header_is_refused() {
    let (shelf, stored) = one_image();
    let lie = Digest::of(b"lie");
    let stub = Stub::start(move |request| match request.method.as_str() {
        "HEAD" => shelf.answer(request).without("docker-content-digest"),
        _ => shelf.answer(request).without("docker-content-digest").header("docker-content-digest", lie.to_string()),
    })
    .await;
    let error = Ground::new().client.resolve(&reference(&stub.host(), "v1")).await.unwrap_err();
    let Error::DigestMismatch { wanted, got, .. } = error else { panic!("{error}") };
    assert_eq!((wanted, got), (lie, stored.digest));
}

#[tokio::test]
async fn a_config_of_other_bytes_is_refused() {
    let (mut shelf, _) = one_image();
    let config = config_path(&shelf);
    shelf.spoil(&config, |bytes| *bytes.last_mut().unwrap() = b' ');
    let stub = serve(shelf).await;
    let error = Ground::new().client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap_err();
    assert!(matches!(&error, Error::DigestMismatch { what, .. } if what.starts_with("config ")), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_worth_another_try() {
    let (shelf, stored) = one_image();
    let full = stored.size;
    let stub = Stub::start(move |request| {
        let answer = shelf.answer(request);
        if request.path.contains("/manifests/sha256:") { answer.body("{\"schema") } else { answer }
    })
    .await;
    let error = Ground::new().client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Truncated { got: 8, expected: Some(n), .. } if n == full), "{error}");
    assert!(error.is_transient() && !error.is_unreachable());
}

#[tokio::test]
async fn no_more_is_read_than_the_limit() {
    // with the length announced, and without: then the connection's end is the body's
    for announced in [true, false] {
        let stub = Stub::start(move |_| {
            let answer = Answer::new(200).header("content-type", OCI_MANIFEST).body(vec![b' '; (4 << 20) + 1]);
            if announced { answer } else { answer.unannounced() }
        })
        .await;
        let digest = Digest::of(b"x").to_string();
        let error = Ground::new().client.image(&reference(&stub.host(), &digest), &amd64()).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 4_194_304, .. }), "{announced}: {error}");
    }
}

#[tokio::test]
async fn a_manifest_that_lies_about_the_length_of_its_config_is_refused() {
    let mut shelf = Shelf::default();
    let config = shelf.blob(crate::shelf::OCI_CONFIG, br#"{"rootfs":{}}"#.to_vec());
    for (size, wanted) in [(config.size + 1, "13 bytes"), (9 << 20, "longer than 8388608")] {
        let listed = Stored { size, ..config.clone() };
        let manifest = serde_json::json!({ "schemaVersion": 2, "config": listed.descriptor(), "layers": [] });
        shelf.manifest(OCI_MANIFEST, &manifest, &["v1"]);
        let stub = serve(shelf.clone()).await;
        let error = Ground::new().client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

/// Where the one config of this shelf lies.
fn config_path(shelf: &Shelf) -> String {
    shelf.paths().find(|path| path.starts_with("blobs/")).unwrap().to_owned()
}
