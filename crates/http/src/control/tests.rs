//! Over a real socket: every change, who asked for it, and what is refused.

use super::*;
use crate::testing::{Ground, Reply, app, logged, remember_log, say, until};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

struct Desk {
    ground: Ground,
    dir: tempfile::TempDir,
}

impl Desk {
    async fn open() -> Self {
        let mut ground = Ground::resting().await;
        let dir = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(dir.path().join("control.sock"), None).unwrap();
        ground.spawn(socket.serve(ground.keeper.clone(), ServeSettings::default(), ground.stop.clone()));
        Self { ground, dir }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join("control.sock")).await.unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        say(self.connect().await, text.as_bytes()).await
    }

    async fn get(&self, path: &str) -> Reply {
        let text = format!("GET {path} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n");
        say(self.connect().await, text.as_bytes()).await
    }
}

#[tokio::test]
async fn a_deploy_carries_the_uid_of_who_asked() {
    let desk = Desk::open().await;
    let reply = desk.post("/v1/deploys", r#"{"image":"ghcr.io/acme/app:sha-1"}"#).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let accepted: Accepted = serde_json::from_value(reply.json()).unwrap();
    let job = desk.get(&accepted.status_url).await.json();
    let me = rustix::process::getuid().as_raw();
    assert_eq!((&job["state"], &job["trigger"]), (&"queued".into(), &format!("operator (uid {me})").into()));
}

#[tokio::test]
async fn prewarm_takes_all_kept_images_or_those_named() {
    let desk = Desk::open().await;
    let all: AcceptedJobs = serde_json::from_value(desk.post("/v1/prewarm", "{}").await.json()).unwrap();
    assert_eq!(all.jobs.len(), 1);
    let one = desk.post("/v1/prewarm", r#"{"images":["ghcr.io/acme/base:1"]}"#).await;
    assert_eq!((one.status, &one.json()["jobs"][0]["id"]), (202, &all.jobs[0].id.clone().into()), "it joins");
    let other = desk.post("/v1/prewarm", r#"{"images":["ghcr.io/acme/other:1"]}"#).await;
    assert_eq!((other.status, other.problem().as_str()), (403, "outside-policy"));
    assert_eq!(desk.post("/v1/prewarm", r#"{"images":["A:1"]}"#).await.status, 422);
}

#[tokio::test]
async fn a_dry_run_tells_the_plan_and_queues_nothing() {
    let desk = Desk::open().await;
    let dry = desk.post("/v1/prune", r#"{"dry_run":true}"#).await;
    assert_eq!(dry.status, 200, "{dry:?}");
    assert!(dry.json()["removals"].is_array() && dry.json()["kept"].is_array());
    assert_eq!(desk.ground.jobs().await, 0);
    let wet = desk.post("/v1/prune", r#"{"superseded":true}"#).await;
    assert_eq!(wet.status, 202);
    let job = desk.get(wet.json()["status_url"].as_str().unwrap()).await.json();
    assert_eq!(job["intent"], "prune old tags and superseded digests");
}

#[tokio::test]
async fn any_reference_can_be_planned_and_a_job_followed() {
    let mut desk = Desk::open().await;
    desk.ground.publish("other:1", &app("other"));
    desk.ground.publish("app:sha-1", &app("v1"));
    let id = desk.post("/v1/deploys", r#"{"image":"ghcr.io/acme/app:sha-1"}"#).await.json()["id"].clone();
    let id = id.as_str().unwrap();
    let mut follower = desk.connect().await;
    let text = format!("GET /v1/jobs/{id}/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    follower.write_all(text.as_bytes()).await.unwrap();
    until(&mut follower, "\"queued\"").await;
    desk.ground.start();
    desk.ground.end(id).await;
    until(&mut follower, r#""state":"succeeded""#).await;
    let plan = desk.get("/v1/plan?image=ghcr.io/acme/other:1").await;
    assert_eq!((plan.status, &plan.json()["estimate"]["total_bytes"]), (200, &70_000_000.into()), "{plan:?}");
    let page = desk.get("/").await;
    assert!(
        page.status == 200 && page.body.contains("app:sha-1"),
        "all that the local listener tells is told here too"
    );
}

#[tokio::test]
async fn bad_requests_are_refused_as_at_the_webhook() {
    let desk = Desk::open().await;
    for (path, body, status, problem) in [
        ("/v1/deploys", "{", 400, "malformed"),
        ("/v1/deploys", r#"{"image":"a:1","force":true}"#, 400, "malformed"),
        ("/v1/deploys", r#"{"image":"ghcr.io/acme/app"}"#, 422, "not-a-reference"),
        ("/v1/deploys", r#"{"image":"ghcr.io/evil/app:sha-1"}"#, 403, "outside-policy"),
        ("/v1/prune", r#"{"all":true}"#, 400, "malformed"),
        ("/v1/nothing", "{}", 404, "not-found"),
        ("/v1/status", "{}", 405, "method-not-allowed"),
    ] {
        let reply = desk.post(path, body).await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, problem), "{path} {body}");
    }
    assert_eq!(desk.get("/v1/deploys").await.status, 405);
    desk.ground.keeper.stop();
    let stopping = desk.post("/v1/deploys", r#"{"image":"ghcr.io/acme/app:sha-1"}"#).await;
    assert_eq!((stopping.status, stopping.problem().as_str()), (503, "stopping"));
    assert_eq!(desk.ground.jobs().await, 0);
}

#[tokio::test]
async fn every_change_is_logged_with_the_peers_uid() {
    remember_log();
    let desk = Desk::open().await;
    desk.post("/v1/deploys", r#"{"image":"ghcr.io/acme/app:sha-1"}"#).await;
    desk.post("/v1/deploys", r#"{"image":"ghcr.io/evil/app:sha-1"}"#).await;
    desk.post("/v1/prewarm", "{}").await;
    desk.post("/v1/prune", "{}").await;
    let logged = logged();
    let uid = format!("uid={}", rustix::process::getuid().as_raw());
    for (command, end) in [("deploy", "taken"), ("deploy", "refused"), ("prewarm", "taken"), ("prune", "taken")] {
        let line = logged.lines().find(|line| {
            line.contains(&format!("operator's request {end}")) && line.contains(&format!("command=\"{command}\""))
        });
        assert!(line.is_some_and(|line| line.contains(&uid)), "{command} {end}: {logged}");
    }
}

#[tokio::test]
async fn the_file_goes_when_the_listener_ends() {
    let ground = Ground::resting().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let socket = ControlSocket::bind(&path, None).unwrap();
    assert_eq!(socket.path(), path);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(socket.serve(ground.keeper.clone(), ServeSettings::default(), stop.clone()));
    stop.cancel();
    serving.await.unwrap();
    assert!(!path.exists());
}
