//! Anonymous, Basic and Bearer, and what happens when they fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use layerkeeper_registry::{Error, Login};
use serde_json::json;

use crate::shelf::{OCI_LAYER, Shelf};
use crate::stub::{Answer, Request, Stub};
use crate::{Ground, amd64, reference};

const SAL: &str = "Basic c2FsOnNlY3JldA=="; // sal:secret

fn shelf() -> Shelf {
    let mut shelf = Shelf::default();
    shelf.image("amd64", &[OCI_LAYER], &["v1"]);
    shelf
}

/// A registry that wants a bearer token from itself; `good` says which token holds now.
fn bearer(request: &Request, shelf: &Shelf, good: &str) -> Answer {
    if request.authorization() == Some(&format!("Bearer {good}")) {
        return shelf.answer(request);
    }
    let realm = format!("http://{}/token", request.host());
    let challenge = format!(r#"Bearer realm="{realm}",service="reg \"1\"",scope="repository:acme/app:pull""#);
    let refusal = json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "authentication required" }] });
    Answer::json(401, refusal).header("www-authenticate", challenge)
}

fn tokens_asked(stub: &Stub) -> usize {
    stub.seen().iter().filter(|request| request.path.starts_with("/token")).count()
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_until_the_registry_refuses_it() {
    let issued = Arc::new(AtomicUsize::new(0));
    let good = Arc::new(AtomicUsize::new(1));
    let (shelf, accepts) = (shelf(), Arc::clone(&good));
    let stub = Stub::start(move |request| {
        if request.path.starts_with("/token") {
            return Answer::json(200, json!({ "access_token": format!("t{}", issued.fetch_add(1, SeqCst) + 1) }));
        }
        bearer(request, &shelf, &format!("t{}", accepts.load(SeqCst)))
    })
    .await;
    let ground = Ground::new();
    let image = reference(&stub.host(), "v1");

    ground.client.image(&image, &amd64()).await.unwrap();
    ground.client.resolve(&image).await.unwrap();
    assert_eq!(tokens_asked(&stub), 1, "{:?}", stub.lines());
    let asked = stub.seen().into_iter().find(|request| request.path.starts_with("/token")).unwrap();
    assert_eq!(asked.path, "/token?service=reg+%221%22&scope=repository%3Aacme%2Fapp%3Apull");
    assert_eq!(asked.authorization(), None);

    // the registry no longer takes the token: one new one, and on we go
    good.store(2, SeqCst);
    ground.client.resolve(&image).await.unwrap();
    assert_eq!(tokens_asked(&stub), 2);

    // a registry that takes none of its own tokens is not asked for ever
    good.store(100, SeqCst);
    let refused = ground.client.resolve(&image).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized { login: Login::Anonymous, .. }), "{refused}");
    assert_eq!(tokens_asked(&stub), 3);

    // nor is a token that was refused sent again
    let asked = stub.seen().len();
    ground.client.resolve(&image).await.unwrap_err();
    assert_eq!(stub.seen()[asked].authorization(), None);
}

#[tokio::test]
async fn a_token_that_ran_out_by_the_clock_is_not_sent() {
    let shelf = shelf();
    let stub = Stub::start(move |request| {
        if request.path.starts_with("/token") {
            return Answer::json(200, json!({ "token": "t", "expires_in": 0 }));
        }
        bearer(request, &shelf, "t")
    })
    .await;
    let ground = Ground::new();
    ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap();
    ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap();
    assert_eq!(tokens_asked(&stub), 2);
    let third = stub.seen()[3].clone();
    assert_eq!((third.method.as_str(), third.authorization()), ("HEAD", None));
}

#[tokio::test]
async fn the_password_goes_to_the_token_server_and_only_there() {
    let shelf = shelf();
    let stub = Stub::start(move |request| match (request.path.starts_with("/token"), request.authorization()) {
        (true, Some(SAL)) => Answer::json(200, json!({ "token": "t" })),
        (true, _) => Answer::json(401, json!({ "details": "incorrect username or password secret-not" })),
        _ => bearer(request, &shelf, "t"),
    })
    .await;
    let (ground, image) = (Ground::new(), reference(&stub.host(), "v1"));
    ground.login(&stub.host(), "sal", "secret");
    ground.client.resolve(&image).await.unwrap();
    assert!(stub.seen().iter().any(|request| request.path.ends_with("&account=sal")), "{:?}", stub.lines());
    assert!(stub.seen().iter().all(|r| r.path.starts_with("/token") || r.authorization() != Some(SAL)));

    // other credentials: the token that was granted to sal is not theirs
    ground.login(&stub.host(), "sal", "wrong");
    let refused = ground.client.resolve(&image).await.unwrap_err();
    let Error::Unauthorized { login, detail, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*login, Login::User("sal".into()));
    assert_eq!(detail.text(), Some("incorrect username or password secret-not"));
    assert!(!refused.is_transient() && !format!("{refused:?}").contains("wrong"));
}

#[tokio::test]
async fn basic_is_answered_and_a_wrong_password_is_told() {
    let shelf = shelf();
    let stub = Stub::start(move |request| match request.authorization() {
        Some(SAL) => shelf.answer(request),
        _ => Answer::new(401).header("www-authenticate", "Negotiate").header("www-authenticate", "Basic realm=\"r\""),
    })
    .await;
    let (ground, image) = (Ground::new(), reference(&stub.host(), "v1"));
    let refused = ground.client.resolve(&image).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized { login: Login::Anonymous, .. }), "{refused}");

    ground.login(&stub.host(), "sal", "secret");
    ground.client.image(&image, &amd64()).await.unwrap();
    let asked_without = stub.seen().iter().filter(|request| request.authorization().is_none()).count();
    assert_eq!(asked_without, 2, "what worked once is sent at once: {:?}", stub.lines());

    ground.login(&stub.host(), "sal", "hunter2");
    let refused = ground.client.resolve(&image).await.unwrap_err();
    assert!(refused.to_string().contains("as user \"sal\""), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_identity_token_is_posted() {
    let shelf = shelf();
    let stub = Stub::start(move |request| {
        let wanted = "grant_type=refresh_token&service=reg+%221%22&client_id=layerkeeper\
                      &scope=repository%3Aacme%2Fapp%3Apull&refresh_token=re%2Bfresh";
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/token") if request.body == wanted && request.authorization().is_none() => {
                Answer::json(200, json!({ "access_token": "t" }))
            }
            ("POST", _) => Answer::new(400),
            _ => bearer(request, &shelf, "t"),
        }
    })
    .await;
    let ground = Ground::new();
    ground.config(&json!({ "auths": { stub.host(): { "identitytoken": "re+fresh" } } }).to_string());
    ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap();
}

#[tokio::test]
async fn a_registry_with_tls_cannot_send_the_password_over_plain_http_not_even_to_this_machine() {
    let token = Stub::start(|_| Answer::json(200, json!({ "token": "t" }))).await;
    let realm = format!(r#"Bearer realm="http://{}/token",service="s""#, token.host());
    let stub = Stub::start_tls(move |_| Answer::new(401).header("www-authenticate", &realm)).await;
    let ground = Ground::new();
    ground.trust(&stub.host(), include_str!("tls/ca.crt"));
    ground.login(&stub.host(), "sal", "secret");
    let error = ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }) && error.to_string().contains("plain HTTP"), "{error}");
    assert_eq!(stub.seen().len(), 1);
    assert!(token.seen().is_empty(), "{:?}", token.lines());
}

#[tokio::test]
async fn a_token_server_without_tls_is_not_asked() {
    let stub = Stub::start(|_| {
        Answer::new(401).header("www-authenticate", r#"Bearer realm="http://192.0.2.1/token",service="s""#)
    })
    .await;
    let ground = Ground::new();
    ground.login(&stub.host(), "sal", "secret");
    let error = ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }) && error.to_string().contains("plain HTTP"), "{error}");
}
