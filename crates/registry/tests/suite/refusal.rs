//! Registries that say no.

use std::time::Duration;

use layerkeeper_registry::{Error, Login};
use serde_json::json;

use crate::shelf::{OCI_LAYER, Shelf};
use crate::stub::{Answer, Stub};
use crate::{Ground, amd64, reference};

async fn refused(answer: Answer) -> Error {
    let stub = Stub::start(move |_| answer.clone()).await;
    // by digest, because a refusal of HEAD has no body to tell
    let digest = layerkeeper_core::Digest::of(b"x").to_string();
    Ground::new().client.image(&reference(&stub.host(), &digest), &amd64()).await.unwrap_err()
}

#[tokio::test]
async fn too_many_requests_says_how_long_to_wait_if_that_makes_sense() {
    let waits = [
        (&b"7"[..], Some(7)),
        ("880µs".as_bytes(), Some(1)),
        (b"86400", Some(900)),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", Some(1)),
        (b"whenever", None),
    ];
    for (header, wanted) in waits {
        let error = refused(Answer::new(429).header("retry-after", header)).await;
        assert!(matches!(error, Error::TooManyRequests { .. }) && error.is_transient(), "{error}");
        assert_eq!(error.retry_after(), wanted.map(Duration::from_secs), "{header:?}");
    }
    assert_eq!(refused(Answer::new(429)).await.retry_after(), None);
}

#[tokio::test]
async fn refusals_are_told_apart_and_quote_the_registry() {
    let said = |code: &str| json!({ "errors": [{ "code": code, "message": "so it is" }] });
    let error = refused(Answer::json(404, said("MANIFEST_UNKNOWN"))).await;
    assert!(matches!(error, Error::NotFound { .. }) && !error.is_transient());
    assert!(error.to_string().ends_with("MANIFEST_UNKNOWN: so it is"), "{error}");

    let error = refused(Answer::json(403, said("DENIED"))).await;
    assert!(matches!(error, Error::Forbidden { login: Login::Anonymous, .. }), "{error}");

    let error = refused(Answer::json(503, said("BUSY")).header("retry-after", "3")).await;
    assert!(matches!(error, Error::Server { status: 503, .. }) && error.is_transient(), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));

    let error = refused(Answer::new(400).body("<html>secret page</html>")).await;
    assert!(matches!(error, Error::Server { status: 400, .. }) && !error.is_transient(), "{error}");
    assert!(!error.to_string().contains("page"), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_unreachable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = Ground::new().client.resolve(&reference(&closed, "v1")).await.unwrap_err();
    assert!(error.is_unreachable() && error.is_transient(), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_registry_that_trickles_does_not_hold_its_asker() {
    // each answer comes to its end in good time, and leads on to the next one
    let stub = Stub::start(|request| {
        Answer::new(302).header("location", request.path.clone()).slowly(Duration::from_millis(2))
    })
    .await;
    let ground = Ground::with(|settings| {
        settings.resolve_timeout = Duration::from_millis(150);
        settings.image_timeout = Duration::from_millis(250);
    });
    let image = reference(&stub.host(), "v1");
    let resolve = ground.client.resolve(&image).await.unwrap_err();
    let read = ground.client.image(&image, &amd64()).await.unwrap_err();
    for (error, limit) in [(resolve, "0.15 s"), (read, "0.25 s")] {
        assert!(error.is_unreachable() && error.is_transient(), "{error}");
        assert!(error.to_string().ends_with(&format!("the whole answer did not come within {limit}")), "{error}");
    }
}

#[tokio::test]
async fn a_missing_part_does_not_make_the_reference_missing() {
    let mut shelf = Shelf::default();
    let image = shelf.image("amd64", &[OCI_LAYER], &[]);
    shelf.index(&[image.entry("linux", "amd64")], &["v1"]);
    shelf.remove(&format!("manifests/{}", image.digest));
    let stub = Stub::start(move |request| shelf.answer(request)).await;
    let ground = Ground::new();
    let error = ground.client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let error = ground.client.image(&reference(&stub.host(), "v2"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
