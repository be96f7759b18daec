//! How the client talks: which API version it asks for, how it notices another engine, and how it sends credentials.
//! The engine is a script of answers behind a Unix socket.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use layerkeeper_core::Reference;
use layerkeeper_core::progress::PullEvent;
use layerkeeper_engine::docker::Docker;
use layerkeeper_engine::{Engine, EngineError, Login};
use layerkeeper_testkit::Scratch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Answers each request by what it asks for; keeps the requests' heads.
struct Script {
    _scratch: Scratch,
    socket: PathBuf,
    heads: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Clone)]
struct Answers {
    api: &'static str,
    oldest: &'static str,
    pull: &'static str,
    /// With this message every path in a container fails.
    archive: Option<&'static str>,
    end: End,
}

/// How the answer to a pull ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// As announced.
    Whole,
    /// The connection is closed before it is whole.
    BrokenOff,
    /// The connection is closed without an answer.
    NoHead,
    /// Less comes than was announced, and no end.
    Silent,
}

impl Script {
    fn start(answers: Answers) -> Self {
        let scratch = Scratch::new("script").unwrap();
        let socket = scratch.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers));
        let (kept, told) = (heads.clone(), answers.clone());
        // ends with the test's runtime
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heads, answers) = (kept.clone(), told.lock().unwrap().clone());
                tokio::spawn(serve(stream, heads, answers));
            }
        });
        Self { _scratch: scratch, socket, heads, answers }
    }

    fn docker(&self) -> Docker {
        Docker::connect(&format!("unix://{}", self.socket.display())).unwrap()
    }

    /// First lines of all requests so far.
    fn asked(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.iter().map(|head| head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned()).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.answers.lock().unwrap());
    }
}

async fn serve(mut stream: UnixStream, heads: Arc<Mutex<Vec<String>>>, answers: Answers) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let (status, body) = answer(&head, &answers);
    heads.lock().unwrap().push(head.clone());
    let end = if head.contains("/images/create") || head.contains("/archive") { answers.end } else { End::Whole };
    // the answer to HEAD has no body
    let body = if head.starts_with("HEAD ") { String::new() } else { body };
    let announced = body.len() + usize::from(matches!(end, End::BrokenOff | End::Silent));
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n{body}");
    if end == End::NoHead {
        answer.clear();
    }
    let _ = stream.write_all(answer.as_bytes()).await;
    if end == End::Silent {
        std::future::pending().await
    }
}

fn answer(head: &str, answers: &Answers) -> (&'static str, String) {
    let path = head.split(' ').nth(1).unwrap();
    if path == "/version" {
        let version =
            format!(r#"{{"ApiVersion":"{}","MinAPIVersion":"{}","Version":"x"}}"#, answers.api, answers.oldest);
        return ("200 OK", version);
    }
    let Some((version, path)) = path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) else {
        return ("200 OK", r#"{"message":"a request without a version"}"#.to_owned());
    };
    let minor = |version: &str| version.split_once('.').unwrap().1.parse::<u32>().unwrap();
    if minor(version) < minor(answers.oldest) {
        let oldest = answers.oldest;
        let message = format!(
            "client version {version} is too old. Minimum supported API version is {oldest}, please upgrade your client to a newer version"
        );
        return ("400 Bad Request", format!(r#"{{"message":"{message}"}}"#));
    }
    match path {
        "_ping" => ("200 OK", "OK".to_owned()),
        path if path.starts_with("images/create") => ("200 OK", answers.pull.to_owned()),
        path if path.contains("/archive") => match answers.archive {
            Some(message) => ("500 Internal Server Error", format!(r#"{{"message":"{message}"}}"#)),
            None => ("200 OK", "begins".to_owned()),
        },
        _ => ("200 OK", "{}".to_owned()),
    }
}

const OLD: Answers = Answers { api: "1.41", oldest: "1.12", pull: "", archive: None, end: End::Whole };

#[tokio::test]
async fn the_version_is_agreed_on_once_and_anew_when_the_engine_is_another() {
    let script = Script::start(OLD);
    let docker = script.docker();
    docker.ping().await.unwrap();
    docker.ping().await.unwrap();
    assert_eq!(script.asked(), ["GET /version", "GET /v1.41/_ping", "GET /v1.41/_ping"]);
    script.change(|answers| (answers.api, answers.oldest) = ("1.52", "1.44"));
    docker.ping().await.unwrap();
    assert_eq!(script.asked()[3..], ["GET /v1.41/_ping", "GET /version", "GET /v1.52/_ping"]);
    script.change(|answers| (answers.api, answers.oldest) = ("1.99", "1.60"));
    docker.ping().await.unwrap();
    let asked = script.asked();
    assert_eq!(asked[asked.len() - 1], "GET /v1.60/_ping", "the oldest that it still speaks");
}

#[tokio::test]
async fn an_engine_newer_than_the_client_is_asked_in_the_clients_version() {
    let script = Script::start(Answers { api: "1.99", oldest: "1.44", ..OLD });
    script.docker().ping().await.unwrap();
    assert_eq!(script.asked(), ["GET /version", "GET /v1.53/_ping"]);
}

#[tokio::test]
async fn an_engine_that_comes_later_is_found() {
    let script = Script::start(OLD);
    let there = script.socket.with_extension("moved");
    std::fs::rename(&script.socket, &there).unwrap();
    let docker = script.docker();
    assert!(matches!(docker.ping().await, Err(EngineError::Unreachable { .. })));
    std::fs::rename(&there, &script.socket).unwrap();
    docker.ping().await.unwrap();
}

#[tokio::test]
async fn what_is_missing_in_an_answer_is_malformed_and_not_empty() {
    let script = Script::start(OLD);
    let docker = script.docker();
    assert!(matches!(docker.info().await, Err(EngineError::Malformed(_))));
    assert!(matches!(docker.inventory().await, Err(EngineError::Malformed(_))));
    assert!(matches!(docker.events().await.map(drop), Err(EngineError::Malformed(_))));
    assert!(matches!(docker.containers().await, Err(EngineError::Malformed(_))));
}

#[tokio::test]
async fn credentials_go_in_the_url_safe_alphabet() {
    let script = Script::start(Answers { pull: "{\"status\":\"Status: done\"}\r\n", ..OLD });
    let login = Login {
        username: "ci".into(),
        password: "~~~???>>>~?>".into(),
        identity_token: None,
        registry_token: None,
        server_address: "r.test".into(),
    };
    let reference: Reference = "r.test/a/b:t".parse().unwrap();
    let mut stream = script.docker().pull(&reference, Some(&login)).await.unwrap();
    assert_eq!(stream.next().await, Some(Ok(PullEvent::Done("done".into()))));
    assert_eq!(stream.next().await, None);
    let heads = script.heads.lock().unwrap();
    let head = heads.last().unwrap().to_lowercase();
    assert!(head.starts_with("post /v1.41/images/create?fromimage=r.test%2fa%2fb&tag=t"), "{head}");
    let header = head.lines().find_map(|line| line.strip_prefix("x-registry-auth: ")).unwrap();
    assert!(header.contains(['-', '_']) && !header.contains(['+', '/']), "{header}");
}

#[tokio::test]
async fn an_error_line_ends_a_pull_and_a_missing_last_line_is_unfinished() {
    let script = Script::start(Answers { pull: "{\"status\":\"Pulling from a/b\",\"id\":\"t\"}\r\n", ..OLD });
    let docker = script.docker();
    let reference: Reference = "r.test/a/b:t".parse().unwrap();
    let items: Vec<_> = docker.pull(&reference, None).await.unwrap().collect().await;
    assert_eq!(items, [Ok(PullEvent::Note("t: Pulling from a/b".into())), Err(EngineError::Unfinished)]);
    script.change(|answers| {
        answers.pull = "{\"status\":\"x\"}\r\n{\"errorDetail\":{\"message\":\"write /a: no space left on device\"},\"error\":\"\"}\r\n{\"status\":\"y\"}\r\n";
    });
    let items: Vec<_> = docker.pull(&reference, None).await.unwrap().collect().await;
    assert_eq!(items[0], Ok(PullEvent::Note("x".into())));
    assert!(matches!(items[1], Err(EngineError::NoSpace(_))) && items.len() == 2, "{items:?}");
}

#[tokio::test]
async fn a_pull_that_breaks_off_is_told_from_an_engine_that_does_not_answer() {
    let line = "{\"status\":\"Pulling from a/b\",\"id\":\"t\"}\r\n";
    let script = Script::start(Answers { pull: line, end: End::BrokenOff, ..OLD });
    let docker = script.docker();
    let reference: Reference = "r.test/a/b:t".parse().unwrap();
    let items: Vec<_> = docker.pull(&reference, None).await.unwrap().collect().await;
    assert_eq!(items[0], Ok(PullEvent::Note("t: Pulling from a/b".into())));
    assert!(matches!(&items[1], Err(error @ EngineError::BrokenOff(_)) if error.is_transient()), "{items:?}");
    assert_eq!(items.len(), 2, "{items:?}");

    // before the first line, too
    script.change(|answers| answers.pull = "");
    let error = docker.pull(&reference, None).await.map(drop).unwrap_err();
    assert!(matches!(error, EngineError::BrokenOff(_)), "{error:?}");

    script.change(|answers| answers.end = End::NoHead);
    let error = docker.pull(&reference, None).await.map(drop).unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
}

/// The clock goes on by itself when there is nothing to do: two minutes pass at once.
#[tokio::test(start_paused = true)]
async fn an_archive_that_stalls_breaks_off() {
    let script = Script::start(Answers { end: End::Silent, ..OLD });
    let mut archive = script.docker().archive("0123", "/opt").await.unwrap();
    let first = archive.next().await.unwrap().unwrap();
    assert_eq!(&first[..], b"begins");
    let second = tokio::time::timeout(Duration::from_secs(120), archive.next()).await.unwrap();
    assert!(matches!(second, Some(Err(EngineError::BrokenOff(_)))), "{second:?}");
}

#[tokio::test]
async fn an_engine_in_trouble_does_not_say_that_there_is_no_such_file() {
    let script = Script::start(OLD);
    let docker = script.docker();
    for (message, is_nowhere) in [
        ("lstat /x/real.so/below: not a directory", true),
        ("evalSymlinksInScope: too many links in /x/loop", true),
        ("statat /loop: too many levels of symbolic links", true),
        ("open /x/diff: too many open files", false),
        ("open /x/diff: too many open files in system", false),
        ("error creating overlay mount to /x/merged: device or resource busy", false),
    ] {
        script.change(|answers| answers.archive = Some(message));
        let stat = docker.stat("0123", "/loop").await;
        assert_eq!(stat == Ok(None), is_nowhere, "{message}: {stat:?}");
        assert!(is_nowhere || stat.is_err_and(|error| error.is_transient()), "{message}");
    }
}
