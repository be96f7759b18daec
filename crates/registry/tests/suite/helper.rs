//! Credential helpers: small shell scripts that do what helpers do, well or badly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use layerkeeper_core::{Digest, Reference};
use layerkeeper_registry::{Credential, Error, Login};
use serde_json::json;

use crate::shelf::{OCI_LAYER, Shelf};
use crate::stub::{Answer, Stub};
use crate::{Ground, amd64, reference};

/// sal:secret
const SAL: &str = "Basic c2FsOnNlY3JldA==";
const GIVES_SAL: &str = r#"echo '{"ServerURL":"x","Username":"sal","Secret":"secret"}'"#;
const HAS_NOTHING: &str = "echo 'credentials not found in native keychain'; exit 1";

impl Ground {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Installs `docker-credential-NAME` beside config.json. Before the script runs, each asking is a line of the file
    /// `asked`, and the script's folder is the working directory.
    fn helper(&self, name: &str, script: &str) {
        let (from, to) = (self.file("script"), self.file(&format!("docker-credential-{name}")));
        let head = "#!/bin/sh\ncd \"$(dirname \"$0\")\" && read -r server; echo \"$1 $server\" >>asked\n";
        std::fs::write(&from, format!("{head}{script}\n")).unwrap();
        // by another process: a file that this one has open for writing could be inherited by a fork and not be run
        assert!(Command::new("install").args(["-m", "755"]).args([&from, &to]).status().unwrap().success());
    }

    /// A helper for all registries.
    fn store(&self, script: &str) {
        self.helper("all", script);
        self.config(r#"{"credsStore":"all"}"#);
    }

    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn credential(&self, registry: &str) -> Option<Credential> {
        self.client.credential(registry).await.unwrap()
    }
}

/// With this limit for helpers.
fn impatient(limit: Duration) -> Ground {
    Ground::with(|settings| settings.helper_timeout = limit)
}

/// A registry with `acme/app:v1` that only this `Authorization` opens.
async fn locked(key: &'static str) -> (Stub, Reference) {
    let mut shelf = Shelf::default();
    shelf.image("amd64", &[OCI_LAYER], &["v1"]);
    let stub = Stub::start(move |request| match request.authorization() {
        Some(given) if given == key => shelf.answer(request),
        _ => Answer::new(401).header("www-authenticate", "Basic realm=r"),
    })
    .await;
    let image = reference(&stub.host(), "v1");
    (stub, image)
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    // a zombie has ended; nobody may be there to reap an orphan
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_helper_is_asked_for_each_question_and_what_it_gave_is_kept_for_no_other() {
    let (stub, image) = locked(SAL).await;
    let ground = Ground::new();
    ground.helper("own", GIVES_SAL);
    ground.config(&json!({ "credHelpers": { stub.host(): "own" } }).to_string());
    ground.client.image(&image, &amd64()).await.unwrap();
    let get = format!("get {}", stub.host());
    assert_eq!(ground.asked(), std::slice::from_ref(&get));
    let without = || stub.seen().iter().filter(|request| request.authorization().is_none()).count();
    assert_eq!(without(), 1, "what worked once is sent at once: {:?}", stub.lines());

    ground.client.resolve(&image).await.unwrap();
    assert_eq!(ground.asked(), [get.clone(), get]);
    assert_eq!(without(), 2, "{:?}", stub.lines());
}

#[tokio::test]
async fn what_a_digest_names_is_remembered_without_its_helper() {
    let (stub, _) = locked(SAL).await;
    let ground = Ground::new();
    ground.store(GIVES_SAL);
    let found = ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap();
    let by_digest = reference(&stub.host(), &found.digest.to_string());
    ground.client.image(&by_digest, &amd64()).await.unwrap();
    ground.store("exit 1");
    ground.client.image(&by_digest, &amd64()).await.unwrap();
    ground.client.resolve(&by_digest).await.unwrap_err();
}

#[tokio::test]
async fn an_identity_token_of_a_helper_is_one() {
    let ground = Ground::new();
    ground.store(r#"echo '{"Username":"<token>","Secret":"refresh me"}'"#);
    let given = ground.credential("r.io").await.unwrap();
    assert_eq!((given.username.as_str(), given.password.expose()), ("", ""));
    assert_eq!(given.identity_token.as_ref().map(|token| token.expose()), Some("refresh me"));
    assert_eq!(given.login(), Login::Helper("docker-credential-all".into()));
    assert!(!format!("{given:?}").contains("refresh me"));
}

#[tokio::test]
async fn docker_io_is_asked_for_under_its_old_name_and_each_registry_at_its_own_helper() {
    let ground = Ground::new();
    let gives = |user: &str| format!(r#"echo '{{"ServerURL":"","Username":"{user}","Secret":"x"}}'"#);
    ground.helper("all", &gives("store"));
    ground.helper("own", &gives("helper"));
    let auth = json!({ "username": "auths", "password": "x" });
    let auths = json!({ "own.io": auth, "all.io": auth, "file.io": auth });
    let helpers = json!({ "own.io": "own", "file.io": "" });
    ground.config(&json!({ "credsStore": "all", "credHelpers": helpers, "auths": auths }).to_string());
    for (registry, user) in [("docker.io", "store"), ("own.io", "helper"), ("all.io", "store"), ("file.io", "auths")] {
        assert_eq!(ground.credential(registry).await.unwrap().username, user, "{registry}");
    }
    assert_eq!(ground.asked(), ["get https://index.docker.io/v1/", "get own.io", "get all.io"]);
    assert_eq!(ground.credential("docker.io").await.unwrap().server_address, "https://index.docker.io/v1/");
}

#[tokio::test]
async fn a_helper_without_credentials_for_a_registry_means_none() {
    let (stub, image) = locked(SAL).await;
    let ground = Ground::new();
    ground.store(HAS_NOTHING);
    let refused = ground.client.resolve(&image).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized { login: Login::Anonymous, .. }), "{refused}");
    assert_eq!(ground.asked().len(), 1);
    assert!(stub.seen().iter().all(|request| request.authorization().is_none()));
}

#[tokio::test]
async fn a_helper_that_fails_is_told_by_its_name_and_nobody_is_asked_without_credentials() {
    let (stub, image) = locked(SAL).await;
    let secret = r#"{"Username":"sal","Secret":"hunter2"}"#;
    let cases = [
        (format!("echo '{secret}'; exit 1"), "failed (exit status: 1); `echo", true),
        (
            "echo 'hunter2' ; echo >&2; echo ' bad\tday ' >&2; echo more >&2; exit 3".into(),
            "(exit status: 3): bad day;",
            true,
        ),
        ("kill -9 $$".into(), "failed (signal: 9 (SIGKILL))", true),
        ("echo hunter2".into(), "printed what is not the JSON of credentials", false),
        (r#"echo '{"Username":"sal","Secret":7}'"#.into(), "printed what is not the JSON of credentials", false),
        (r#"echo '{"Secret":"hunter2"}'"#.into(), "gave no Username", false),
        (r#"echo '{"Username":"sal","Secret":""}'"#.into(), "gave no Secret", false),
        ("true".into(), "printed what is not the JSON of credentials", false),
        (format!("echo '{secret}'; exec tr '\\0' x </dev/zero"), "printed more than 65536 bytes", false),
    ];
    let ground = Ground::new();
    for (script, wanted, may_pass) in cases {
        ground.store(&script);
        let error = ground.client.resolve(&image).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Credentials { .. }) && text.contains(wanted), "{script}: {text}");
        assert!(text.contains("the credential helper docker-credential-all"), "{text}");
        assert!(text.ends_with("docker-credential-all get`, run as the daemon's user, shows more"), "{text}");
        assert_eq!(error.is_transient(), may_pass, "{text}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}");
    }
    assert!(stub.seen().is_empty(), "{:?}", stub.lines());
}

#[tokio::test]
async fn a_helper_that_cannot_be_run_is_told_with_what_to_do() {
    let ground = Ground::new();
    std::fs::write(ground.file("docker-credential-text"), "no program").unwrap();
    ground.helper("lost", "");
    let lost = ground.file("docker-credential-lost");
    let script = std::fs::read_to_string(&lost).unwrap().replace("/bin/sh", "/nonexistent/sh");
    std::fs::write(ground.file("script"), script).unwrap();
    assert!(Command::new("install").arg(ground.file("script")).arg(&lost).status().unwrap().success());
    let folder = format!(":{};", ground.dir.path().display());
    for (name, wanted) in [
        ("absent", "the credential helper docker-credential-absent is not in "),
        ("absent", folder.as_str()),
        ("absent", "/usr/local/bin:"),
        ("absent", "install it there, or put the login into \"auths\""),
        ("text", "docker-credential-text is not an executable file"),
        ("lost", "docker-credential-lost cannot be started: No such file"),
        ("../../tmp/x", "is no name of a credential helper"),
    ] {
        ground.config(&json!({ "credsStore": name }).to_string());
        let error = ground.client.credential("r.io").await.unwrap_err();
        assert!(error.to_string().contains(wanted) && !error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn a_helper_gets_a_path_and_a_home() {
    let ground = Ground::new();
    ground.store(&format!("echo \"$PATH\" >path; echo \"$HOME\" >home; {GIVES_SAL}"));
    ground.credential("r.io").await.unwrap();
    let read = |name: &str| std::fs::read_to_string(ground.file(name)).unwrap().trim().to_owned();
    let path = read("path");
    let dirs: Vec<&str> = path.split(':').collect();
    assert!(["/usr/local/bin", "/usr/bin", "/bin"].iter().all(|dir| dirs.contains(dir)), "{path}");
    assert_eq!(dirs.last().map(Path::new), Some(ground.dir.path()));
    assert_eq!(read("home"), std::env::var("HOME").unwrap());
}

/// What hangs is a child of the helper, and it holds the pipe open, too.
const HANGS: &str = "sleep 1000 & echo $$ $! >pids.part; mv pids.part pids; wait";

fn pids(ground: &Ground) -> Vec<String> {
    std::fs::read_to_string(ground.file("pids")).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_helper_that_hangs_ends_in_time_with_all_its_children() {
    let ground = impatient(Duration::from_secs(2));
    ground.store(HANGS);
    let begun = Instant::now();
    let error = ground.client.credential("r.io").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let text = error.to_string();
    assert!(text.contains("docker-credential-all gave no answer within 2 s and was ended"), "{text}");
    assert!(matches!(error, Error::Credentials { .. }) && error.is_transient(), "{text}");
    for pid in pids(&ground) {
        until("it is killed", || !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn a_helper_ends_with_the_question_that_it_was_asked_for() {
    let ground = impatient(Duration::from_secs(1000));
    ground.store(HANGS);
    {
        let asking = ground.client.credential("r.io");
        tokio::pin!(asking);
        tokio::select! {
            given = &mut asking => panic!("{given:?}"),
            () = until("it runs", || ground.file("pids").exists()) => {}
        }
    }
    for pid in pids(&ground) {
        until("it is killed", || !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn an_answer_counts_although_a_child_of_the_helper_holds_the_pipe_open() {
    // the second one is out of reach, as a daemon makes itself
    for start in ["", "setsid "] {
        let ground = impatient(Duration::from_secs(100));
        let child = format!("{start}sh -c 'echo $$ >pids; exec sleep 1000' & until [ -s pids ]; do :; done");
        ground.store(&format!("{child}; {GIVES_SAL}"));
        let begun = Instant::now();
        assert_eq!(ground.credential("r.io").await.unwrap().username, "sal");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let pid = pids(&ground).remove(0);
        if !start.is_empty() {
            assert!(is_alive(&pid));
            assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        }
        until("it is killed", || !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn a_helper_that_closes_its_output_and_stays_is_not_waited_for_longer_than_that() {
    let ground = impatient(Duration::from_secs(2));
    ground.store(&format!("{GIVES_SAL}; exec >&- 2>&-; exec sleep 1000"));
    let error = ground.client.credential("r.io").await.unwrap_err();
    assert!(error.to_string().contains("gave no answer within 2 s"), "{error}");
}

#[tokio::test]
async fn credentials_that_ran_out_are_asked_for_once_more() {
    let (stub, image) = locked(SAL).await;
    let ground = Ground::new();
    // the first of two askings gets what no longer holds
    let script = r#"if [ "$(wc -l <asked)" = 1 ]; then secret=old; else secret=secret; fi
        echo "{\"Username\":\"sal\",\"Secret\":\"$secret\"}""#;
    ground.store(script);
    ground.client.resolve(&image).await.unwrap();
    assert_eq!(ground.asked().len(), 2);
    std::fs::remove_file(ground.file("asked")).unwrap();
    ground.client.image(&image, &amd64()).await.unwrap();
    assert_eq!(ground.asked().len(), 2);
    let digest = ground.client.resolve(&image).await.unwrap().digest;
    assert_ne!(digest, Digest::of(b""));
    let wrong = stub.seen().iter().filter(|r| r.authorization().is_some_and(|given| given != SAL)).count();
    assert_eq!(wrong, 2, "what was refused is not sent again: {:?}", stub.lines());
}

#[tokio::test]
async fn a_helper_whose_credentials_are_refused_is_named_and_asked_twice() {
    let (stub, image) = locked(SAL).await;
    let other = r#"echo "{\"Username\":\"sal\",\"Secret\":\"wrong $(wc -l <asked)\"}""#;
    let nothing_then = format!(r#"[ "$(wc -l <asked)" = 1 ] || {{ {HAS_NOTHING}; }}; {other}"#);
    for (script, sent) in [(r#"echo '{"Username":"sal","Secret":"wrong"}'"#, 1), (other, 2), (&nothing_then, 1)] {
        let ground = Ground::new();
        ground.store(script);
        let before = stub.seen().len();
        let error = ground.client.image(&image, &amd64()).await.unwrap_err();
        let Error::Unauthorized { login, .. } = &error else { panic!("{error}") };
        assert_eq!(*login, Login::Helper("docker-credential-all".into()));
        let text = error.to_string();
        assert!(text.contains("with the credentials that the helper docker-credential-all gave"), "{text}");
        assert!(!text.contains("wrong") && !error.is_transient(), "{text}");
        assert_eq!(ground.asked().len(), 2, "{script}");
        let with = stub.seen()[before..].iter().filter(|request| request.authorization().is_some()).count();
        assert_eq!(with, sent, "{script}: {:?}", stub.lines());
    }
}
