//! What nobody who lacks the secret can reach, and what never shows.

use axum::body::Body;
use axum::http::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;

use super::*;
use crate::testing::{logged, remember_log, say};

/// A request head as somebody without the secret may make it: near the truth in every part.
fn forged() -> impl Strategy<Value = (Vec<(String, String)>, String)> {
    let value = prop_oneof![
        Just("application/json".to_owned()),
        Just((NOW / 1000).to_string()),
        Just("msg_1".to_owned()),
        Just(format!("v1,{}", "A".repeat(43) + "=")),
        "v1,[A-Za-z0-9+/]{43}=",
        "[ -~]{0,40}",
    ];
    let name = prop_oneof![
        Just("content-type".to_owned()),
        Just("webhook-id".to_owned()),
        Just("webhook-timestamp".to_owned()),
        Just("webhook-signature".to_owned()),
        Just("authorization".to_owned()),
        Just("x-forwarded-for".to_owned()),
        "[a-z-]{1,12}",
    ];
    let body = prop_oneof![Just(BODY.to_owned()), "\\PC{0,80}"];
    (prop::collection::vec((name, value), 0..8), body)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_without_the_secret_is_ever_accepted((extra, body) in forged(), complete: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ground = Ground::resting().await;
            let settings = WebhookSettings { rate: None, ..settings() };
            let service = TowerToHyperService::new(router(ground.keeper.clone(), settings, CancellationToken::new()));
            let mut request = Request::builder().method("POST").uri("/v1/deploys");
            if complete {
                let guess = signature::sign("msg_1", NOW / 1000, body.as_bytes(), secrets("a guess of sixteen").newest());
                request = request
                    .header("content-type", "application/json")
                    .header("webhook-id", "msg_1")
                    .header("webhook-timestamp", NOW / 1000)
                    .header("webhook-signature", guess);
            }
            for (name, value) in &extra {
                request = request.header(name, value.trim());
            }
            let request = request.body(Body::from(body.clone())).unwrap();
            let status = service.call(request).await.unwrap().status().as_u16();
            prop_assert!(matches!(status, 401 | 415), "{}", status);
            prop_assert_eq!(ground.jobs().await, 0);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn neither_answers_nor_logs_show_a_secret_or_a_signature() {
    remember_log();
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let mut answers = String::new();
    for (id, body) in [("msg_1", BODY), ("msg_2", "{"), ("msg_3", r#"{"image":"ghcr.io/evil/x:1"}"#)] {
        answers.push_str(&format!("{:?}", ask(to, &signed(id, body)).await));
    }
    answers.push_str(&format!("{:?}", ask(to, &signed_at("msg_4", NOW / 1000, BODY, "the wrong secret 123")).await));
    let logged = logged();
    assert!(logged.contains("webhook taken") && logged.contains("webhook refused"), "{logged}");
    for id in ["msg_1", "msg_2", "msg_3"] {
        let body = if id == "msg_1" { BODY } else { "{" };
        let signature = signature::sign(id, NOW / 1000, body.as_bytes(), secrets(SECRET).newest());
        for text in [&answers, &logged] {
            assert!(!text.contains(SECRET) && !text.contains(&signature), "{text}");
        }
    }
}

#[tokio::test]
async fn https_is_spoken_where_a_certificate_is_given_and_http_is_not() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let config =
        crate::serve::tls::server_config(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
    let (_sender, tls) = watch::channel(config.unwrap());
    let mut ground = Ground::resting().await;
    let short = Duration::from_millis(200);
    let serve = ServeSettings { tls: Some(tls), header_timeout: short, ..ServeSettings::default() };
    let to = listen(&mut ground, WebhookSettings { serve, ..settings() });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = TcpStream::connect(to).await.unwrap();
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(say(stream, &signed("msg_1", BODY)).await.status, 202);
    let plain = ask(to, &signed("msg_2", BODY)).await;
    assert_eq!(plain.status, 0, "no answer in clear: {plain:?}");
    let silent = say(TcpStream::connect(to).await.unwrap(), b"").await;
    assert_eq!(silent.status, 0, "a handshake that never comes is closed");
}

#[test]
fn a_certificate_or_key_that_is_none_names_its_key_and_shows_nothing() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), other.signing_key.serialize_pem());
    let error = |cert: &str, key: &str| {
        crate::serve::tls::server_config(cert.as_bytes(), key.as_bytes()).unwrap_err().to_string()
    };
    assert!(error("", &key).contains("tls_cert"));
    assert!(error(&cert, "hunter2").contains("tls_key"));
    assert!(!error(&cert, "hunter2").contains("hunter2"));
    assert!(error(&cert, &key).contains("does not go with"), "{}", error(&cert, &key));
}
