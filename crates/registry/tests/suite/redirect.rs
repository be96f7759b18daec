//! Blobs that live elsewhere.

use layerkeeper_registry::Error;

use crate::shelf::{OCI_LAYER, Shelf};
use crate::stub::{Answer, Stub};
use crate::{Ground, amd64, reference};

const SAL: &str = "Basic c2FsOnNlY3JldA==";

/// A registry that wants sal's password and keeps its blobs in `storage`.
async fn registry(shelf: &Shelf, storage: String) -> (Stub, Ground) {
    let shelf = shelf.clone();
    let stub = Stub::start(move |request| match request.authorization() {
        Some(SAL) if request.path.contains("/blobs/") => {
            let to = format!("http://{storage}{}?X-Amz-Signature=s1gn4ture", request.path);
            Answer::new(307).header("location", to)
        }
        Some(SAL) => shelf.answer(request),
        _ => Answer::new(401).header("www-authenticate", "Basic realm=r"),
    })
    .await;
    let ground = Ground::new();
    ground.login(&stub.host(), "sal", "secret");
    (stub, ground)
}

fn shelf() -> Shelf {
    let mut shelf = Shelf::default();
    shelf.image("amd64", &[OCI_LAYER], &["v1"]);
    shelf
}

#[tokio::test]
async fn storage_gets_the_question_without_the_credentials() {
    let shelf = shelf();
    let held = shelf.clone();
    let storage = Stub::start(move |request| {
        let mut plain = request.clone();
        plain.path = plain.path.split('?').next().unwrap_or_default().to_owned();
        held.answer(&plain)
    })
    .await;
    let (stub, ground) = registry(&shelf, storage.other_host()).await;
    ground.client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap();
    let seen = storage.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].path.ends_with("?X-Amz-Signature=s1gn4ture"));
    assert_eq!(seen[0].authorization(), None);
}

#[tokio::test]
async fn storage_cannot_ask_for_credentials_and_its_address_is_not_shown() {
    let storage = Stub::start(|request| {
        let realm = format!("http://{}/token", request.host());
        Answer::new(401).header("www-authenticate", format!("Bearer realm=\"{realm}\",service=s"))
    })
    .await;
    let (stub, ground) = registry(&shelf(), storage.other_host()).await;
    let error = ground.client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Server { status: 401, .. }), "{error}");
    assert_eq!(storage.seen().len(), 1, "{:?}", storage.lines());
    assert!(!format!("{error} {error:?}").contains("s1gn4ture"));
}

#[tokio::test]
async fn storage_that_is_down_is_named_without_its_signature() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let (stub, ground) = registry(&shelf(), closed.clone()).await;
    let error = ground.client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains(&closed), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!format!("{error} {error:?}").contains("s1gn4ture"));
}

#[tokio::test]
async fn a_circle_is_left() {
    let stub = Stub::start(|request| Answer::new(302).header("location", request.path.clone())).await;
    let error = Ground::new().client.resolve(&reference(&stub.host(), "v1")).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }) && error.to_string().contains("more than 5"), "{error}");
    assert_eq!(stub.seen().len(), 6);
}
