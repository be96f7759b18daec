//! `deploy/github-actions/notify.sh` against a server that checks its signature by other means.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::stub::{Answer, Asked, Stub};
use super::{repository, text, told};

const SECRET: &str = "correct horse battery staple";
const IMAGE: &str = "ghcr.io/acme/app:sha-1a2b3c4";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const ID: &str = "00112233445566778899aabbccddeeff";

fn accepted() -> Answer {
    let body = format!(r#"{{"id":"{ID}","state":"queued","status_url":"/v1/deploys/{ID}"}}"#);
    Answer::Say(202, "Content-Type: application/json\r\n", body)
}

fn job(state: &str, rest: &str) -> Answer {
    Answer::Say(200, "", format!(r#"{{"id":"{ID}","image":"{IMAGE}","state":"{state}",{rest}}}"#))
}

fn problem(status: u16, headers: &'static str, detail: &str) -> Answer {
    let body = format!(r#"{{"type":"urn:x","title":"Title","status":{status},"detail":"{detail}"}}"#);
    Answer::Say(status, headers, body)
}

fn notify(url: &str, more: &[(&str, &str)]) -> Output {
    let mut command = Command::new(repository("deploy/github-actions/notify.sh"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("LAYERKEEPER_URL", url);
    command.env("LAYERKEEPER_SECRET", SECRET).env("LAYERKEEPER_IMAGE", IMAGE).env("LAYERKEEPER_POLL", "1");
    command.envs(more.iter().copied()).output().unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", told(output));
    assert!(told(output).contains(words), "{words:?} is not in: {}", told(output));
}

/// Checks as a server does, and gives id and time.
#[track_caller]
fn signed(asked: &Asked, key: &[u8]) -> (String, u64) {
    let (id, time) = (asked.header("webhook-id"), asked.header("webhook-timestamp"));
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(format!("{id}.{time}.{}", asked.body).as_bytes());
    let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(asked.header("webhook-signature"), wanted);
    assert!(id.starts_with("msg_") && id.len() == 36, "{id}");
    let time = time.parse().unwrap();
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().abs_diff(time) < 60);
    (id.to_owned(), time)
}

#[test]
fn it_signs_as_standard_webhooks_says_with_every_kind_of_secret() {
    let long = "x".repeat(100);
    let binary: Vec<u8> = (0..=255).rev().step_by(8).collect();
    let encoded = format!("whsec_{}", STANDARD.encode(&binary));
    // 65 bytes make base64 with padding, which some leave out
    let unpadded = format!("whsec_{}", STANDARD.encode([7; 65]).trim_end_matches('='));
    let cases: [(&str, &[u8]); 6] = [
        (SECRET, SECRET.as_bytes()),
        ("  correct horse battery staple\r\n", SECRET.as_bytes()),
        ("\ncorrect horse battery staple\nthe old one, the old one\n", SECRET.as_bytes()),
        (&long, long.as_bytes()),
        (&encoded, &binary),
        (&unpadded, &[7; 65]),
    ];
    for (secret, key) in cases {
        let stub = Stub::new(vec![accepted()]);
        let more = [("LAYERKEEPER_SECRET", secret), ("LAYERKEEPER_DIGEST", DIGEST), ("LAYERKEEPER_WAIT", "false")];
        ends(&notify(&stub.url(), &more), 0, "is accepted");
        let asked = stub.asked();
        assert_eq!((asked.len(), asked[0].line.as_str()), (1, "POST /v1/deploys"));
        assert_eq!(asked[0].header("content-type"), "application/json");
        let body: serde_json::Value = serde_json::from_str(&asked[0].body).unwrap();
        assert_eq!(body, serde_json::json!({"image": IMAGE, "digest": DIGEST}));
        signed(&asked[0], key);
    }
}

#[test]
fn it_follows_the_job_and_leaves_outputs() {
    let stub = Stub::new(vec![
        accepted(),
        job("running", r#""report":null,"error":null"#),
        problem(503, "", "restarting"),
        job("succeeded", r#""report":{"moved_bytes":12345678},"error":null"#),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let outputs = dir.path().join("outputs");
    let output = notify(&format!("{}/", stub.url()), &[("GITHUB_OUTPUT", outputs.to_str().unwrap())]);
    ends(&output, 0, "moved 12.34 MB");
    let lines: Vec<_> = stub.asked().into_iter().map(|asked| asked.line).collect();
    let status = format!("GET /v1/deploys/{ID}");
    assert_eq!(lines, ["POST /v1/deploys", &status, &status, &status]);
    assert_eq!(fs::read_to_string(outputs).unwrap(), format!("id={ID}\nstate=succeeded\nmoved-bytes=12345678\n"));
    let body: serde_json::Value = serde_json::from_str(&stub.asked()[0].body).unwrap();
    assert_eq!(body, serde_json::json!({"image": IMAGE}), "no digest, no key");
}

#[test]
fn it_tries_again_with_the_same_id_and_a_new_signature() {
    let busy = |status| problem(status, "Retry-After: 1\r\n", "busy");
    let stub = Stub::new(vec![busy(503), Answer::HangUp, busy(429), busy(500), accepted()]);
    let output = notify(&stub.url(), &[("LAYERKEEPER_WAIT", "false")]);
    ends(&output, 0, "HTTP 429: busy");
    let signed: Vec<_> = stub.asked().iter().map(|asked| signed(asked, SECRET.as_bytes())).collect();
    assert_eq!(signed.len(), 5);
    assert!(signed.iter().all(|(id, _)| *id == signed[0].0), "{signed:?}");
    assert!(signed[4].1 >= signed[0].1 + 3, "it waits as it is asked to, and signs anew: {signed:?}");
}

#[test]
fn it_gives_up_where_nobody_answers_and_at_once_where_it_makes_no_sense() {
    let gone = Stub::new(vec![]).url();
    ends(&notify(&gone, &[("LAYERKEEPER_PATIENCE", "1")]), 3, "gave up");

    for (answer, code, words) in [
        (problem(401, "", "no signature matches"), 1, "HTTP 401: no signature matches"),
        (problem(403, "", "not in the policy"), 4, "HTTP 403: not in the policy"),
        (problem(422, "", "no \\\"tag\\\""), 1, "HTTP 422: no \"tag\""),
        (Answer::Say(301, "Location: https://elsewhere.example\r\n", String::new()), 1, "HTTP 301"),
        (Answer::Say(202, "", "<html>".into()), 1, "not layerkeeper's answer"),
    ] {
        let stub = Stub::new(vec![answer]);
        ends(&notify(&stub.url(), &[]), code, words);
        assert_eq!(stub.asked().len(), 1);
    }
}

#[test]
fn the_end_of_the_job_is_its_exit_code() {
    let next = "ffeeddccbbaa99887766554433221100";
    let superseded = format!(r#""report":null,"error":null,"superseded_by":"{next}""#);
    let failed = r#""report":null,"error":{"class":"not_found","message":"the registry has no such image"}"#;
    let refused = r#""report":null,"error":{"class":"refused","message":"too little room"}"#;
    for (state, rest, code, words) in [
        ("failed", failed, 1, "the registry has no such image"),
        ("refused", refused, 4, "too little room"),
        ("superseded", superseded.as_str(), 5, next),
    ] {
        let stub = Stub::new(vec![accepted(), job(state, rest)]);
        ends(&notify(&stub.url(), &[]), code, words);
    }
    let stub = Stub::new(vec![accepted(), job("running", "")]);
    ends(&notify(&stub.url(), &[("LAYERKEEPER_TIMEOUT", "2")]), 1, "still running after 2 s");
}

#[test]
fn many_servers_are_told_at_once_and_each_is_reported() {
    let report = |bytes: u64| job("succeeded", &format!(r#""report":{{"moved_bytes":{bytes}}},"error":null"#));
    let failed = job("failed", r#""report":null,"error":{"class":"disk","message":"too little room"}"#);
    // the first is done only after the last was asked: one after the other they would not end
    let first = Stub::new(vec![accepted(), job("running", r#""report":null"#), report(1_000_000)]);
    let second = Stub::new(vec![accepted(), report(2_000_000)]);
    let third = Stub::new(vec![accepted(), failed]);
    let gone = Stub::new(vec![]).url();
    let dir = tempfile::tempdir().unwrap();
    let outputs = dir.path().join("outputs");
    let run = |urls: &[&str]| {
        let _ = fs::remove_file(&outputs);
        let more = [("GITHUB_OUTPUT", outputs.to_str().unwrap()), ("LAYERKEEPER_PATIENCE", "1")];
        (notify(&urls.join("\n"), &more), fs::read_to_string(&outputs).unwrap())
    };
    let (output, left) = run(&[&first.url(), &format!("{}/ ", second.url())]);
    ends(&output, 0, "2 of 2 servers done");
    ends(&output, 0, &format!("{}: moved 2.00 MB", second.url()));
    assert_eq!(left, format!("id={ID} {ID}\nstate=succeeded succeeded\nmoved-bytes=3000000\n"));
    let ids: Vec<_> = [&first, &second].iter().map(|stub| signed(&stub.asked()[0], SECRET.as_bytes()).0).collect();
    assert_ne!(ids[0], ids[1], "each is told by a message of its own");

    let second = Stub::new(vec![accepted(), report(2_000_000)]);
    let (output, left) = run(&[&third.url(), &second.url()]);
    ends(&output, 1, "1 of 2 servers done");
    ends(&output, 1, &format!("{}: failed: too little room", third.url()));
    assert_eq!(left, format!("id={ID} {ID}\nstate=failed succeeded\nmoved-bytes=2000000\n"));

    let third = Stub::new(vec![accepted(), job("refused", r#""error":{"message":"too large"}"#)]);
    let (output, left) = run(&[&third.url(), &gone]);
    ends(&output, 3, &format!("{gone}: gave up after 1 s"));
    assert_eq!(left, format!("id={ID} -\nstate=refused -\nmoved-bytes=0\n"));
}

#[test]
fn a_leading_zero_is_no_octal_number() {
    let stub = Stub::new(vec![accepted(), job("running", "")]);
    let more = [("LAYERKEEPER_TIMEOUT", "02"), ("LAYERKEEPER_PATIENCE", "08")];
    ends(&notify(&stub.url(), &more), 1, "still running after 2 s");
    let stub = Stub::new(vec![accepted(), job("succeeded", "")]);
    ends(&notify(&stub.url(), &[("LAYERKEEPER_TIMEOUT", "08")]), 0, "is on the server");
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    let stub = Stub::new(vec![accepted()]);
    for (key, value) in [
        ("LAYERKEEPER_URL", "deploy.example.com"),
        ("LAYERKEEPER_URL", "\n"),
        ("LAYERKEEPER_URL", "http://127.0.0.1:9 deploy.example.com"),
        ("LAYERKEEPER_SECRET", ""),
        ("LAYERKEEPER_SECRET", "short"),
        ("LAYERKEEPER_SECRET", "whsec_!"),
        ("LAYERKEEPER_IMAGE", "app:1\",\"x\":\""),
        ("LAYERKEEPER_IMAGE", ""),
        ("LAYERKEEPER_DIGEST", "sha256:beef"),
        ("LAYERKEEPER_WAIT", "yes"),
        ("LAYERKEEPER_TIMEOUT", "1h"),
    ] {
        ends(&notify(&stub.url(), &[(key, value)]), 2, key);
    }
    assert_eq!(stub.asked().len(), 0);
}

#[test]
fn no_program_that_it_runs_sees_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (log, path) = (dir.path().join("log"), std::env::var("PATH").unwrap());
    for name in ["curl", "openssl", "od", "tr", "sed", "date", "mktemp", "tail", "sleep", "rm"] {
        let real = std::env::split_paths(&path).map(|path| path.join(name)).find(|path| path.exists()).unwrap();
        let script = format!(
            "#!/bin/sh\n{{ echo \"{name} $*\"; env; }} >>'{}'\nexec {} \"$@\"\n",
            log.display(),
            real.display()
        );
        let wrapper = dir.path().join(name);
        fs::write(&wrapper, script).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let stub = Stub::new(vec![problem(401, "", "no")]);
    let path = format!("{}:{path}", dir.path().display());
    let output = notify(&stub.url(), &[("PATH", &path)]);
    ends(&output, 1, "HTTP 401");
    let seen = fs::read_to_string(log).unwrap() + &told(&output);
    assert!(seen.contains("curl --silent") && seen.contains("openssl dgst"), "{seen}");
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    for shape in [SECRET.to_owned(), hex, STANDARD.encode(SECRET)] {
        assert!(!seen.contains(&shape), "{shape}");
    }
}

#[test]
fn a_server_cannot_forge_commands_in_the_log() {
    let stub = Stub::new(vec![problem(400, "", "x\\n::add-path::/evil\\r\\u001b[2J")]);
    let output = notify(&stub.url(), &[("GITHUB_ACTIONS", "true")]);
    ends(&output, 1, "::error title=layerkeeper::HTTP 400: x ::add-path::/evil");
    assert_eq!(told(&output).matches('\n').count(), 2, "{}", told(&output));
    assert!(!told(&output).contains('\u{1b}'));
}

#[test]
fn the_action_hands_over_only_what_the_script_knows() {
    let (action, script) = (text("deploy/github-actions/action.yml"), text("deploy/github-actions/notify.sh"));
    let handed: Vec<_> = action.lines().filter_map(|line| line.trim().split_once(": ${{ inputs.")).collect();
    assert_eq!(handed.len(), 6, "{handed:?}");
    for (name, input) in handed {
        assert!(script.contains(&format!("${{{name}:-")), "{name}");
        assert!(action.contains(&format!("\n  {}:\n", input.trim_end_matches(" }}"))), "{input}");
    }
    assert!(text("deploy/github-actions/deploy.yml").contains("uses: ./.github/actions/layerkeeper\n"));
}
