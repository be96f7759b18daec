//! Over real sockets: what is told, to whom, and that nothing changes.

use super::*;
use crate::rate::Rate;
use crate::signature;
use crate::testing::{Ground, LONG, app, ask, get, name};
use layerkeeper_keeper::DeployRequest;
use std::time::Duration;

async fn local(ground: &mut Ground, status_hosts: &[&str]) -> SocketAddr {
    let listener = LocalListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let status_hosts = status_hosts.iter().map(|host| (*host).to_owned()).collect();
    let settings = LocalSettings { status_hosts, ..LocalSettings::default() };
    let (keeper, stop) = (ground.keeper.clone(), ground.stop.clone());
    ground.spawn(listener.serve(keeper, settings, stop));
    address
}

async fn ready(to: SocketAddr) {
    let ready = async {
        while get(to, "/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, ready).await.expect("it gets ready");
}

#[tokio::test]
async fn everything_is_told_with_the_engine_never_seen() {
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &[]).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/jobs", "text/html; charset=utf-8"),
        ("/names", "text/html; charset=utf-8"),
        ("/v1/status", "application/json"),
        ("/v1/images", "application/json"),
        ("/v1/jobs", "application/json"),
        ("/v1/events", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
    ] {
        let reply = get(to, path).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{path}: {reply:?}");
    }
    let unready = get(to, "/readyz").await;
    assert_eq!((unready.status, &unready.json()["ready"]), (503, &false.into()), "{unready:?}");
    assert!(!unready.json()["reasons"][0].as_str().unwrap().is_empty());
    let page = get(to, "/").await;
    assert!(page.body.contains("ghcr.io/acme/") && page.body.contains("http-equiv=\"refresh\""), "{page:?}");
    assert!(get(to, "/metrics").await.body.contains("# TYPE layerkeeper_build_info gauge"));
}

#[tokio::test]
async fn it_is_ready_once_the_engine_was_looked_at() {
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &[]).await;
    assert_eq!(get(to, "/readyz").await.status, 503);
    ground.start();
    ready(to).await;
    assert_eq!(get(to, "/v1/status").await.json()["engine"]["up"], true);
}

#[tokio::test]
async fn jobs_can_be_filtered_and_read_whole() {
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &[]).await;
    ground.publish("app:sha-1", &app("v1"));
    let request = DeployRequest { image: name("app:sha-1"), digest: None, over_limit: false };
    let id = ground.keeper.deploy(request, 7).await.unwrap().job.id.to_string();
    ground.start();
    assert_eq!(ground.end(&id).await, "succeeded");
    let listed = |query: &str| {
        let path = format!("/v1/jobs{query}");
        async move { get(to, &path).await.json().as_array().unwrap().len() }
    };
    assert_eq!(listed("?kind=deploy").await, 1);
    assert_eq!(listed("?kind=deploy&state=succeeded&image=ghcr.io/acme/app:sha-1&limit=5").await, 1);
    assert_eq!(listed("?kind=deploy&state=failed").await, 0);
    let whole = get(to, &format!("/v1/jobs/{id}")).await.json();
    assert_eq!(whole["trigger"], "operator (uid 7)");
    assert_eq!(whole["outcome"]["pull"]["layers"].as_array().unwrap().len(), 2);
    let brief = get(to, "/v1/jobs?kind=deploy").await.json();
    assert_eq!(brief[0]["outcome"]["pull"]["downloaded_bytes"], whole["outcome"]["pull"]["downloaded_bytes"]);
    assert_eq!(brief[0]["outcome"]["pull"]["layers"].as_array().unwrap().len(), 0, "lists leave the layers out");
    for bad in ["?state=done", "?kind=pull", "?limit=many", "?colour=red"] {
        let reply = get(to, &format!("/v1/jobs{bad}")).await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, "malformed"), "{bad}");
    }
    assert_eq!(get(to, "/v1/jobs?image=UPPER:1").await.status, 422);
    assert_eq!(get(to, &format!("/v1/jobs/{}", "0".repeat(32))).await.status, 404);
}

#[tokio::test]
async fn a_name_is_found_however_docker_lets_it_be_written() {
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &[]).await;
    ground.engine.load(&"nginx:1.25".parse().unwrap(), &app("v1"));
    ground.start();
    ready(to).await;
    for written in ["nginx:1.25", "library/nginx:1.25", "docker.io/library/nginx:1.25", "%20nginx:1.25%20"] {
        let page = get(to, &format!("/names?name={written}")).await.body;
        assert!(page.contains("<ol class=\"layers\">"), "{written}: {page}");
        let changes = get(to, &format!("/v1/changes?name={written}")).await.json();
        assert_eq!(changes[0]["name"], "docker.io/library/nginx:1.25", "{written}");
    }
    assert!(get(to, "/names?name=UPPER:1").await.body.contains("UPPER:1"), "what is no name is not known, and says so");
}

#[tokio::test]
async fn the_page_of_a_job_and_of_a_name_lead_from_what_stands_now_to_how_it_came() {
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &[]).await;
    ground.publish("app:sha-1", &app("v1"));
    ground.start();
    ready(to).await;
    let before = get(to, "/names?at=2027-01-15T07:00").await;
    assert!(before.body.contains("Nothing is known to have been here."), "{before:?}");
    let request = DeployRequest { image: name("app:sha-1"), digest: None, over_limit: false };
    let id = ground.keeper.deploy(request, 7).await.unwrap().job.id.to_string();
    assert_eq!(ground.end(&id).await, "succeeded");

    let link = format!("href=\"/jobs/{id}\"");
    for path in ["/", "/jobs", "/jobs?image=ghcr.io/acme/app:sha-1"] {
        assert!(get(to, path).await.body.contains(&link), "{path}");
    }
    let page = get(to, &format!("/jobs/{id}")).await.body;
    for part in ["The estimate beside the fact", "Where the time went", "20.0 MB", "operator (uid 7)", "What went and"]
    {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("http-equiv=\"refresh\""), "what has ended does not change");

    let standing = get(to, "/names?name=ghcr.io/acme/app:sha-1").await.body;
    let digest = get(to, &format!("/v1/jobs/{id}")).await.json()["outcome"]["digest"].as_str().unwrap().to_owned();
    assert!(standing.contains(&digest) && standing.contains("<ol class=\"layers\">"), "{standing}");
    let now = get(to, "/names?at=2027-01-15T08:00&name=").await.body;
    assert!(now.contains("/names?name=ghcr.io/acme/app:sha-1&amp;at=2027-01-15T08:00"), "{now}");

    assert_eq!(get(to, &format!("/jobs/{}", "0".repeat(32))).await.status, 404);
    assert_eq!(get(to, "/jobs?image=UPPER:1").await.status, 422);
    for bad in ["/names?at=tuesday", "/names?colour=red", "/jobs?before=x", "/jobs?limit=5"] {
        assert_eq!(get(to, bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn only_configured_repositories_are_planned() {
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &[]).await;
    ground.publish("app:sha-1", &app("v1"));
    ground.start();
    ready(to).await;
    let plan = get(to, "/v1/plan?image=ghcr.io/acme/app:sha-1").await;
    assert_eq!((plan.status, &plan.json()["estimate"]["total_bytes"]), (200, &70_000_000.into()), "{plan:?}");
    assert_eq!(get(to, "/v1/plan?image=ghcr.io/acme/app:sha-none").await.status, 404);
    let other = get(to, "/v1/plan?image=ghcr.io/evil/app:sha-1").await;
    assert_eq!((other.status, other.problem().as_str()), (403, "outside-policy"));
    assert!(other.body.contains("layerkeeper plan ghcr.io/evil/app:sha-1"), "{other:?}");
    assert_eq!(get(to, "/v1/plan?image=ghcr.io/acme/app").await.status, 422);
    assert_eq!(get(to, "/v1/plan").await.status, 400);
    ground.registry_down();
    let down = get(to, "/v1/plan?image=ghcr.io/acme/app:sha-1").await;
    assert_eq!((down.status, down.problem().as_str()), (503, "unavailable"));
}

#[tokio::test]
async fn a_foreign_host_is_refused_whatever_it_asks_for() {
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &["box.example"]).await;
    let with =
        |host: &str| format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes();
    for ours in ["localhost", "127.0.0.1:1", "[::1]", "box.example:80"] {
        assert_eq!(ask(to, &with(ours)).await.status, 200, "{ours}");
    }
    for foreign in ["evil.example", "localhost.evil.example", "10.1.2.3", ""] {
        let reply = ask(to, &with(foreign)).await;
        assert_eq!((reply.status, reply.problem().as_str()), (421, "foreign-host"), "{foreign}");
    }
    let absolute = b"GET http://evil.example/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(to, absolute).await.status, 421, "the target's own authority counts too");
    let none = ask(to, b"GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!((none.status, none.problem().as_str()), (400, "malformed"));
    assert_eq!(ask(to, b"GET /healthz HTTP/1.0\r\n\r\n").await.status, 200, "old probes send none");
    let fallback = ask(to, b"GET /nowhere HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(fallback.status, 421);
}

#[tokio::test]
async fn nothing_can_be_changed_and_every_answer_is_guarded() {
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &[]).await;
    let routes = [
        ("/", 405),
        ("/jobs", 405),
        ("/jobs/x", 405),
        ("/names", 405),
        ("/v1/status", 405),
        ("/v1/images", 405),
        ("/v1/jobs", 405),
        ("/v1/events", 405),
        ("/v1/plan", 405),
        ("/metrics", 405),
        ("/healthz", 405),
        ("/readyz", 405),
        ("/v1/deploys", 404),
        ("/v1/prune", 404),
        ("/v1/prewarm", 404),
    ];
    for (path, status) in routes {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let text = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\ncontent-length: 0\r\n\r\n"
            );
            let reply = ask(to, text.as_bytes()).await;
            assert_eq!(reply.status, status, "{method} {path}");
            reply.problem();
        }
    }
    for path in ["/", "/v1/status", "/nowhere"] {
        let reply = get(to, path).await;
        assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'none'"), "{path}");
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "deny"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.header(header), Some(value), "{path}");
        }
    }
    assert_eq!(ground.jobs().await, 0);
}

#[tokio::test]
async fn the_metrics_listener_tells_metrics_and_health_under_any_name_and_nothing_else() {
    let mut ground = Ground::resting().await;
    let listener = MetricsListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let to = listener.local_addr().unwrap();
    ground.spawn(listener.serve(ground.keeper.clone(), ServeSettings::default(), ground.stop.clone()));
    let scrape = ask(to, b"GET /metrics HTTP/1.1\r\nHost: box.example:9319\r\nConnection: close\r\n\r\n").await;
    assert_eq!(scrape.status, 200);
    assert!(scrape.body.contains("layerkeeper_build_info"));
    assert_eq!(get(to, "/healthz").await.status, 200);
    for path in ["/", "/jobs", "/names", "/v1/status", "/v1/jobs", "/readyz", "/v1/plan?image=ghcr.io/acme/app:sha-1"] {
        assert_eq!(get(to, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn webhook_secrets_never_show_here() {
    // the local listener does not know them; this holds it so
    let mut ground = Ground::resting().await;
    let to = local(&mut ground, &[]).await;
    let secret = crate::secret::Secrets::parse(b"0123456789abcdef-webhook").unwrap();
    let (_sender, secrets) = tokio::sync::watch::channel(secret.clone());
    let webhook = crate::webhook::WebhookListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let public = webhook.local_addr().unwrap();
    let settings = crate::webhook::WebhookSettings {
        rate: Some(Rate::default()),
        ..crate::webhook::WebhookSettings::new(secrets)
    };
    ground.spawn(webhook.serve(ground.keeper.clone(), settings, ground.stop.clone()));
    let body = r#"{"image":"ghcr.io/acme/app:sha-1"}"#;
    let seconds = crate::testing::NOW / 1000;
    let signature = signature::sign("msg_1", seconds, body.as_bytes(), secret.newest());
    let text = format!(
        "POST /v1/deploys HTTP/1.1\r\nHost: x\r\nConnection: close\r\ncontent-type: application/json\r\nwebhook-id: msg_1\r\n\
         webhook-timestamp: {seconds}\r\nwebhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(ask(public, text.as_bytes()).await.status, 202);
    for path in ["/", "/jobs", "/names", "/v1/status", "/v1/jobs", "/v1/events", "/metrics"] {
        let reply = get(to, path).await;
        assert!(!reply.body.contains("0123456789abcdef") && !reply.body.contains(&signature), "{path}");
    }
    assert!(get(to, "/v1/jobs").await.body.contains("webhook msg_1"));
}
