//! Against real listeners, and against none.

use super::*;
use crate::control::ControlSocket;
use crate::problem::Kind;
use crate::secret::Secrets;
use crate::serve::ServeSettings;
use crate::testing::{Ground, LONG, NOW, app};
use crate::webhook::{WebhookListener, WebhookSettings};
use crate::wire::{JobView, JobsQuery, PublicJob};
use layerkeeper_keeper::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SECRET: &[u8] = b"0123456789abcdef-the-shared-one";

fn deploy(tag: &str) -> DeployBody {
    DeployBody { image: format!("ghcr.io/acme/{tag}"), digest: None, overrides: None }
}

async fn over_socket() -> (Ground, tempfile::TempDir, Client) {
    let mut ground = Ground::resting().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let socket = ControlSocket::bind(&path, None).unwrap();
    ground.spawn(socket.serve(ground.keeper.clone(), ServeSettings::default(), ground.stop.clone()));
    (ground, dir, Client::control(path))
}

#[tokio::test]
async fn the_cli_reads_asks_and_follows_over_the_socket() {
    let (mut ground, _dir, client) = over_socket().await;
    ground.publish("app:sha-1", &app("v1"));
    let status: Status = client.get("/v1/status").await.unwrap();
    assert_eq!(status.version, "0.1.0");
    assert!(client.text("/metrics").await.unwrap().contains("layerkeeper_build_info"));
    let accepted: Accepted = client.post("/v1/deploys", &deploy("app:sha-1")).await.unwrap();
    let mut events = client.events(&format!("{}/events", accepted.status_url)).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().state, "queued");
    ground.start();
    assert_eq!(ground.end(&accepted.id).await, "succeeded");
    let mut last = None;
    let followed = async {
        while let Some(progress) = events.next().await.unwrap() {
            last = Some(progress);
        }
    };
    tokio::time::timeout(LONG, followed).await.expect("the events end");
    let last = last.unwrap();
    assert!(last.is_final() && last.state == "succeeded", "{last:?}");
    let listed: Vec<JobView> =
        client.get(&path("/v1/jobs", &[("kind", "deploy"), ("image", "ghcr.io/acme/app:sha-1")])).await.unwrap();
    assert_eq!(listed.len(), 1);
    let query = JobsQuery { limit: Some(1), ..JobsQuery::default() };
    assert_eq!(serde_json::to_string(&query).unwrap(), r#"{"limit":1}"#);
}

#[tokio::test]
async fn a_refusal_comes_as_its_problem() {
    let (_ground, _dir, client) = over_socket().await;
    let refused = client.post::<_, Accepted>("/v1/deploys", &deploy("evil:1")).await.unwrap_err();
    let ClientError::Problem(problem) = &refused else { panic!("{refused:?}") };
    assert!(problem.is(Kind::OutsidePolicy) && problem.status == 403, "{problem:?}");
    assert!(!refused.is_transient());
    let unknown = client.events(&format!("/v1/jobs/{}/events", "0".repeat(32))).await.err().unwrap();
    assert!(matches!(unknown, ClientError::Problem(problem) if problem.status == 404));
}

#[tokio::test]
async fn nobody_there_is_told_from_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::control(dir.path().join("none.sock"));
    let error = client.get::<Status>("/v1/status").await.unwrap_err();
    assert!(matches!(&error, ClientError::NotReachable { cause, .. } if cause == "it is not running"), "{error}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::web(&format!("http://{free}")).unwrap();
    let error = client.get::<Status>("/v1/status").await.unwrap_err();
    assert!(matches!(error, ClientError::NotReachable { .. }) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_ours_or_says_nothing_makes_no_sense() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let other = tokio::spawn(async move {
        for answer in [
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\noops",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\noops",
            "",
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                // says nothing for as long as the client listens
                while stream.read(&mut head).await.is_ok_and(|n| n > 0) {}
            }
        }
    });
    let client = Client::web(&format!("http://{address}")).unwrap().with_timeout(Duration::from_millis(300));
    let gateway = client.get::<Status>("/").await.unwrap_err();
    assert!(gateway.to_string().contains("502"), "{gateway}");
    let nonsense = client.get::<Status>("/").await.unwrap_err();
    assert!(nonsense.to_string().contains("not what was expected"), "{nonsense}");
    let silent = client.get::<Status>("/").await.unwrap_err();
    assert!(matches!(silent, ClientError::NotReachable { .. }), "{silent}");
    drop(client);
    other.await.unwrap();
}

#[tokio::test]
async fn notify_signs_posts_and_can_follow() {
    let mut ground = Ground::resting().await;
    let secrets = Secrets::parse(SECRET).unwrap();
    let listener = WebhookListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let settings = WebhookSettings::new(tokio::sync::watch::channel(secrets.clone()).1);
    ground.spawn(listener.serve(ground.keeper.clone(), settings, ground.stop.clone()));
    let client = Client::web(&format!("http://{address}/")).unwrap();
    let body = deploy("app:sha-1");
    let first = client.notify(secrets.newest(), "msg_1", NOW / 1000, &body).await.unwrap();
    let again = client.notify(secrets.newest(), "msg_1", NOW / 1000, &body).await.unwrap();
    assert_eq!(again.id, first.id, "the same id is a retry");
    let job: PublicJob = client.get(&first.status_url).await.unwrap();
    assert_eq!(job.state, "queued");
    let mut events = client.events(&format!("{}/events", first.status_url)).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().state, "queued");
    let other = Secrets::parse(b"some other secret of theirs").unwrap();
    let refused = client.notify(other.newest(), "msg_2", NOW / 1000, &deploy("app:sha-1")).await.unwrap_err();
    assert!(matches!(refused, ClientError::Problem(problem) if problem.status == 401));
}

#[test]
fn a_url_that_leads_nowhere_says_why() {
    for (url, word) in [
        ("box.example", "must start with"),
        ("ftp://box.example", "must start with"),
        ("/v1", "write it as"),
        ("https://user:secret@box.example", "neither a query nor a password"),
        ("https://box.example/?x", "neither a query nor a password"),
        ("http://a b", "invalid"),
    ] {
        let error = Client::web(url).err().unwrap_or_else(|| panic!("{url} was taken")).to_string();
        assert!(error.contains(word) && !error.contains("secret"), "{url}: {error}");
    }
    assert!(Client::web("http://box.example:9317/hooks/").is_ok());
}

#[test]
fn queries_are_percent_encoded() {
    assert_eq!(path("/v1/jobs", &[]), "/v1/jobs");
    assert_eq!(path("/v1/plan", &[("image", "a/b:1@sha256:c")]), "/v1/plan?image=a/b:1@sha256:c");
    assert_eq!(path("/x", &[("a", "1&2 +é"), ("b", "#")]), "/x?a=1%262%20%2B%C3%A9&b=%23");
}
