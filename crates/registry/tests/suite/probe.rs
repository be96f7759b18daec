//! What a registry tells somebody whom it does not know, and where credentials come from.

use std::time::Duration;

use layerkeeper_core::Timestamp;
use layerkeeper_registry::{Error, Source};

use crate::Ground;
use crate::stub::{Answer, Stub};

#[tokio::test]
async fn a_refusal_tells_the_time_too_and_no_credentials_are_shown() {
    let stub = Stub::start(|_| {
        let refusal = Answer::new(401).header("www-authenticate", "Basic realm=\"r\"");
        refusal.header("date", "Tue, 24 Nov 2026 03:00:00 GMT")
    })
    .await;
    let ground = Ground::new();
    ground.login(&stub.host(), "sal", "secret");
    let probe = ground.client.probe(&stub.host()).await.unwrap();
    assert_eq!(probe.date, Some(Timestamp(1_795_489_200_000)));
    assert!(probe.asked <= probe.answered && probe.asked > Timestamp(0), "{probe:?}");
    assert_eq!(stub.lines(), ["GET /v2/"]);
    assert_eq!(stub.seen()[0].authorization(), None);
}

#[tokio::test]
async fn what_is_no_date_or_another_hosts_is_none() {
    let none = Stub::start(|_| Answer::new(200).header("date", "yesterday")).await;
    let ground = Ground::new();
    assert_eq!(ground.client.probe(&none.host()).await.unwrap().date, None);
    let other = Stub::start(|_| Answer::new(200).header("date", "Tue, 24 Nov 2026 03:00:00 GMT")).await;
    let there = format!("http://{}/v2/", other.other_host());
    let away = Stub::start(move |_| Answer::new(307).header("location", &there)).await;
    assert_eq!(ground.client.probe(&away.host()).await.unwrap().date, None);
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_told_in_time() {
    let slow = Stub::start(|_| Answer::new(200).body("x").slowly(Duration::from_secs(5))).await;
    let ground = Ground::with(|settings| settings.resolve_timeout = Duration::from_millis(200));
    let error = ground.client.probe(&slow.host()).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { cause, .. } if cause.contains("0.2 s")), "{error}");
    let error = ground.client.probe("127.0.0.1:1").await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[test]
fn the_source_of_credentials_is_told_and_no_helper_is_run() {
    let ground = Ground::new();
    let file = ground.dir.path().join("config.json");
    let source = |registry: &str| ground.client.source(registry).unwrap();
    assert_eq!(source("r.io"), Source::NoEntry(file.clone()));
    ground.login("r.io", "sal", "secret");
    assert_eq!(source("r.io"), Source::File(file.clone()));
    ground.config(r#"{"credHelpers":{"r.io":"which-is-not-installed"}}"#);
    let program = "docker-credential-which-is-not-installed".to_owned();
    assert_eq!(source("r.io"), Source::Helper { file, program });
    ground.config("{");
    assert!(matches!(ground.client.source("r.io"), Err(Error::Credentials { .. })));
}
