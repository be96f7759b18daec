//! Over real sockets: every status of the contract, what was queued and counted, and who may follow.

mod hostile;
mod limits;
mod slow;

use std::net::SocketAddr;

use layerkeeper_core::Digest;
use layerkeeper_store::Options;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::signature;
use crate::testing::{Ground, NOW, Reply, app, ask, get, logged, remember_log, until};

const SECRET: &str = "0123456789abcdef-the-shared-one";
const BODY: &str = r#"{"image":"ghcr.io/acme/app:sha-1"}"#;

fn secrets(file: &str) -> Secrets {
    Secrets::parse(file.as_bytes()).unwrap()
}

fn settings() -> WebhookSettings {
    // the sender is not needed: the secret stays
    WebhookSettings::new(watch::channel(secrets(SECRET)).1)
}

fn listen(ground: &mut Ground, settings: WebhookSettings) -> SocketAddr {
    let listener = WebhookListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (keeper, stop) = (ground.keeper.clone(), ground.stop.clone());
    ground.spawn(listener.serve(keeper, settings, stop));
    address
}

fn request(headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = String::from("POST /v1/deploys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

fn signed_at(id: &str, seconds: i64, body: &str, secret: &str) -> Vec<u8> {
    let signature = signature::sign(id, seconds, body.as_bytes(), secrets(secret).newest());
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &seconds.to_string()),
        ("webhook-signature", &signature),
    ];
    request(&headers, body)
}

fn signed(id: &str, body: &str) -> Vec<u8> {
    signed_at(id, NOW / 1000, body, SECRET)
}

#[tokio::test]
async fn a_signed_deploy_is_queued_and_can_be_read_by_who_has_its_id() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let reply = ask(to, &signed("msg_1", BODY)).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let accepted: crate::wire::Accepted = serde_json::from_value(reply.json()).unwrap();
    assert_eq!(accepted.state, "queued");
    assert_eq!(accepted.status_url, format!("/v1/deploys/{}", accepted.id));
    assert_eq!(reply.header("location"), Some(accepted.status_url.as_str()));
    let seen = get(to, &accepted.status_url).await;
    let wanted = serde_json::json!({
        "id": accepted.id, "image": "ghcr.io/acme/app:sha-1", "state": "queued", "report": null, "error": null,
    });
    assert_eq!((seen.status, seen.json()), (200, wanted));
    assert_eq!((ground.jobs().await, ground.counted("accepted").await.as_str()), (1, "1"));
}

#[tokio::test]
async fn a_retry_gets_the_first_job_another_body_a_conflict_and_another_id_joins() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let first = ask(to, &signed("msg_1", BODY)).await.json();
    // a sender signs every try anew
    let retry = ask(to, &signed_at("msg_1", NOW / 1000 + 9, BODY, SECRET)).await;
    assert_eq!((retry.status, &retry.json()["id"]), (202, &first["id"]));
    let other = ask(to, &signed("msg_1", r#"{"image":"ghcr.io/acme/app:sha-2"}"#)).await;
    assert_eq!((other.status, other.problem().as_str()), (409, "id-reused"));
    let joined = ask(to, &signed("msg_2", BODY)).await;
    assert_eq!((joined.status, &joined.json()["id"]), (202, &first["id"]));
    assert_eq!(ground.jobs().await, 1);
    for outcome in ["accepted", "repeated", "conflict", "joined"] {
        assert_eq!(ground.counted(outcome).await, "1", "{outcome}");
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_no_old_request_young() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let first = ask(to, &signed("msg_1", BODY)).await;
    ground.clock.set_back(Duration::from_secs(3600));
    let overheard_long_ago = ask(to, &signed_at("msg_0", NOW / 1000 - 3600, BODY, SECRET)).await;
    assert_eq!(overheard_long_ago.status, 401, "{overheard_long_ago:?}");
    assert!(overheard_long_ago.body.contains("2027-01-15T08:00:00Z"), "the newest time counts: {overheard_long_ago:?}");
    let replayed = ask(to, &signed("msg_1", BODY)).await;
    assert_eq!((replayed.status, id_of(&replayed)), (202, id_of(&first)));
    let right = signed_at("msg_2", NOW / 1000 + 1, r#"{"image":"ghcr.io/acme/app:sha-2"}"#, SECRET);
    assert_eq!(ask(to, &right).await.status, 202, "who is right is heard");
}

#[tokio::test]
async fn what_is_refused_has_its_status_is_counted_and_queues_nothing() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let json = ("content-type", "application/json");
    let image = |image: &str| format!(r#"{{"image":"{image}"}}"#);
    let old = signed_at("msg_a", NOW / 1000 - 301, BODY, SECRET);
    let early = signed_at("msg_a", NOW / 1000 + 301, BODY, SECRET);
    let cases: Vec<(&str, Vec<u8>, u16, &str, &str)> = vec![
        ("no signature", request(&[json], BODY), 401, "not-authenticated", "unauthenticated"),
        (
            "wrong secret",
            signed_at("msg_a", NOW / 1000, BODY, "another secret of theirs"),
            401,
            "not-authenticated",
            "unauthenticated",
        ),
        ("too old", old, 401, "not-authenticated", "unauthenticated"),
        ("too early", early, 401, "not-authenticated", "unauthenticated"),
        ("not JSON inside", signed("msg_a", "{"), 400, "malformed", "malformed"),
        (
            "unknown key",
            signed("msg_a", r#"{"image":"ghcr.io/acme/app:sha-1","tag":"x"}"#),
            400,
            "malformed",
            "malformed",
        ),
        ("uppercase", signed("msg_a", &image("ghcr.io/Acme/app:sha-1")), 422, "not-a-reference", "unprocessable"),
        ("no tag", signed("msg_a", &image("ghcr.io/acme/app")), 422, "not-a-reference", "unprocessable"),
        (
            "short digest",
            signed("msg_a", r#"{"image":"ghcr.io/acme/app:sha-1","digest":"sha256:12"}"#),
            422,
            "not-a-reference",
            "unprocessable",
        ),
        ("other repository", signed("msg_a", &image("ghcr.io/evil/app:sha-1")), 403, "outside-policy", "forbidden"),
        ("other tag", signed("msg_a", &image("ghcr.io/acme/app:latest")), 403, "outside-policy", "forbidden"),
        ("not declared JSON", request(&[("content-type", "text/plain")], BODY), 415, "not-json", "unsupported"),
        ("too large", request(&[json], &"x".repeat(65_537)), 413, "too-large", "too_large"),
    ];
    let mut counted = std::collections::BTreeMap::new();
    for (what, bytes, status, problem, outcome) in cases {
        let reply = ask(to, &bytes).await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, problem), "{what}: {reply:?}");
        *counted.entry(outcome).or_insert(0) += 1;
    }
    for (outcome, times) in counted {
        assert_eq!(ground.counted(outcome).await, times.to_string(), "{outcome}");
    }
    assert_eq!(ground.jobs().await, 0);
    // and the id that all of them used is still free
    assert_eq!(ask(to, &signed("msg_a", BODY)).await.status, 202);
}

#[tokio::test]
async fn a_refusal_says_what_would_be_right() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let skew = ask(to, &signed_at("m", NOW / 1000 - 301, BODY, SECRET)).await;
    assert!(skew.body.contains("2027-01-15T08:00:00Z") && skew.body.contains("1800000000"), "{skew:?}");
    assert_eq!(skew.header("www-authenticate"), Some("standardwebhooks"));
    let key = ask(to, &signed("m", r#"{"image":"a:1","tag":"x"}"#)).await;
    assert!(key.body.contains("unknown field `tag`"), "{key:?}");
    let digest = ask(to, &signed("m", r#"{"image":"ghcr.io/acme/app:sha-1","digest":"sha256:12"}"#)).await;
    assert!(digest.body.contains("has 2 characters"), "{digest:?}");
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_problems_too() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    for path in
        ["/", "/v1/status", "/metrics", "/v1/deploys/", "/v1/deploys/short", "/v1/deploys/%ff", "/../etc/passwd"]
    {
        let reply = get(to, path).await;
        assert_eq!((reply.status, reply.problem().as_str()), (404, "not-found"), "{path}");
    }
    let unknown = "0".repeat(32);
    assert_eq!(get(to, &format!("/v1/deploys/{unknown}")).await.status, 404);
    assert_eq!(get(to, &format!("/v1/deploys/{unknown}/events")).await.status, 404);
    let reply = get(to, "/v1/deploys").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("post")));
    let head = ask(to, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!((head.status, head.body.as_str()), (404, ""));
}

#[tokio::test]
async fn too_many_requests_jobs_and_a_stopping_daemon_say_when_to_come_back() {
    let mut ground = Ground::with(Options { max_queued: 1, ..Options::default() }).await;
    let slow = Some(Rate { per_second: 0.01, burst: 3.0 });
    let to = listen(&mut ground, WebhookSettings { rate: slow, ..settings() });
    assert_eq!(ask(to, &signed("msg_1", BODY)).await.status, 202);
    let full = ask(to, &signed("msg_2", r#"{"image":"ghcr.io/acme/base:1"}"#)).await;
    assert_eq!((full.status, full.problem().as_str()), (429, "queue-full"));
    assert_eq!(full.header("retry-after"), Some("30"));
    ground.keeper.stop();
    let stopping = ask(to, &signed("msg_3", r#"{"image":"ghcr.io/acme/app:sha-2"}"#)).await;
    assert_eq!((stopping.status, stopping.problem().as_str()), (503, "stopping"));
    assert!(stopping.header("retry-after").is_some());
    // the fourth is too fast, and that is said before its signature is looked at
    let fast = ask(to, &request(&[("content-type", "application/json")], BODY)).await;
    assert_eq!((fast.status, fast.problem().as_str()), (429, "too-fast"));
    assert!(fast.header("retry-after").unwrap().parse::<u64>().unwrap() >= 90, "{fast:?}");
    // reading is counted apart
    assert_eq!(get(to, &format!("/v1/deploys/{}", "0".repeat(32))).await.status, 404);
    for outcome in ["accepted", "queue_full", "stopping", "rate_limited"] {
        assert_eq!(ground.counted(outcome).await, "1", "{outcome}");
    }
}

#[tokio::test]
async fn what_leads_nowhere_is_limited_as_every_read_is() {
    let mut ground = Ground::resting().await;
    let slow = Some(Rate { per_second: 0.01, burst: 2.0 });
    let to = listen(&mut ground, WebhookSettings { rate: slow, ..settings() });
    assert_eq!((get(to, "/").await.status, get(to, "/v1/deploys").await.status), (404, 405));
    for path in ["/", "/v1/deploys", "/v1/deploys/x/y", "/v1/deploys/x"] {
        let reply = get(to, path).await;
        assert_eq!((reply.status, reply.problem().as_str()), (429, "too-fast"), "{path}");
    }
}

#[tokio::test]
async fn a_flood_of_unfit_heads_is_cut_by_the_rate_and_does_not_flood_the_log() {
    remember_log();
    let mut ground = Ground::resting().await;
    let slow = Some(Rate { per_second: 0.01, burst: 2.0 });
    let to = listen(&mut ground, WebhookSettings { rate: slow, ..settings() });
    let large = request(&[("content-type", "application/json")], &"x".repeat(65_537));
    let text = request(&[("content-type", "text/plain")], BODY);
    assert_eq!((ask(to, &text).await.status, ask(to, &large).await.status), (415, 413));
    for bytes in [&text, &large, &text] {
        assert_eq!(ask(to, bytes).await.status, 429);
    }
    let warned = logged().lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(warned, 2, "{}", logged());
}

#[tokio::test]
async fn a_new_secret_counts_at_once() {
    let mut ground = Ground::resting().await;
    let (sender, receiver) = watch::channel(secrets(SECRET));
    let to = listen(&mut ground, WebhookSettings::new(receiver));
    let new = "a-new-secret-after-a-reload";
    let by = |id: &str, secret: &str| signed_at(id, NOW / 1000, BODY, secret);
    assert_eq!(ask(to, &by("msg_1", new)).await.status, 401);
    sender.send(secrets(&format!("{new}\n{SECRET}"))).unwrap();
    assert_eq!(ask(to, &by("msg_1", new)).await.status, 202);
    assert_eq!(ask(to, &by("msg_2", SECRET)).await.status, 202);
    sender.send(secrets(new)).unwrap();
    assert_eq!(ask(to, &by("msg_3", SECRET)).await.status, 401);
}

async fn follow(to: SocketAddr, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let text = format!("GET /v1/deploys/{id}/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

fn id_of(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn events_begin_with_the_present_and_end_with_the_final_state() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, settings());
    let digest: Digest = ground.publish("app:sha-1", &app("v1"));
    let id = id_of(&ask(to, &signed("msg_1", BODY)).await);
    let mut stream = follow(to, &id).await;
    let first = until(&mut stream, "\"queued\"").await;
    assert!(first.to_ascii_lowercase().contains("content-type: text/event-stream"), "{first}");
    ground.start();
    assert_eq!(ground.end(&id).await, "succeeded");
    let rest = until(&mut stream, "\r\n0\r\n\r\n").await;
    assert!(rest.contains(r#""state":"succeeded","phase":"done""#), "{rest}");
    // who comes late is told the end, and no more
    let late = until(&mut follow(to, &id).await, "\r\n0\r\n\r\n").await;
    assert_eq!(late.matches("data: ").count(), 1, "{late}");
    let report = get(to, &format!("/v1/deploys/{id}")).await.json();
    assert_eq!(report["report"]["digest"], digest.to_string());
    assert_eq!(report["report"]["pull"]["downloaded_bytes"], 20_000_000, "{report}");
    assert_eq!(report["report"]["kept"][0]["downloaded_bytes"], 50_000_000, "{report}");
}

#[tokio::test]
async fn four_may_follow_a_job_and_a_seat_comes_back() {
    let mut ground = Ground::resting().await;
    let to = listen(&mut ground, WebhookSettings { rate: None, ..settings() });
    let id = id_of(&ask(to, &signed("msg_1", BODY)).await);
    let mut seats = Vec::new();
    for _ in 0..4 {
        let mut stream = follow(to, &id).await;
        until(&mut stream, "\"queued\"").await;
        seats.push(stream);
    }
    let fifth = get(to, &format!("/v1/deploys/{id}/events")).await;
    assert_eq!((fifth.status, fifth.problem().as_str()), (429, "too-fast"));
    drop(seats.pop());
    let freed = async {
        while !until(&mut follow(to, &id).await, "\r\n\r\n").await.contains("200 OK") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::testing::LONG, freed).await.expect("a seat comes back");
}
