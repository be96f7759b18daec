//! `deploy/nginx/layerkeeper.conf` in a real nginx, with other ports and paths.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use layerkeeper_testkit::free_port;

use super::stub::{Answer, Stub};
use super::{run, text, told};

const ID: &str = "00112233445566778899aabbccddeeff";

/// nginx in the foreground; it ends when dropped.
struct Nginx {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    fn start(upstream: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        configure(dir.path(), port, upstream);
        run(nginx(dir.path()).arg("-t"));
        // in one process: its end is the end of all of it
        let child = nginx(dir.path()).args(["-g", "daemon off; master_process off;"]).spawn().unwrap();
        let nginx = Self { child, port, dir };
        let deadline = Instant::now() + Duration::from_secs(10);
        while nginx.ask("GET", "/", &[]).0 == 0 {
            assert!(Instant::now() < deadline, "{}", fs::read_to_string(nginx.dir.path().join("error.log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        nginx
    }

    /// Status (0: no answer) and body.
    fn ask(&self, method: &str, path: &str, more: &[&str]) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args(["--silent", "--insecure", "--path-as-is", "--max-time", "10", "--write-out", "\n%{http_code}"]);
        command.args(["--request", method]).args(more).arg(format!("https://127.0.0.1:{}{path}", self.port));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{}", told(&output)));
        (status.parse().unwrap(), body.to_owned())
    }
}

fn nginx(dir: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-e").arg(dir.join("error.log")).arg("-c").arg(dir.join("nginx.conf"));
    command
}

/// The file as it is, but for addresses and paths of this machine.
fn configure(dir: &Path, port: u16, upstream: u16) {
    let certificate = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    run(Command::new("openssl")
        .args(certificate)
        .args(["-subj", "/CN=deploy.example.com", "-keyout", "privkey.pem", "-out", "fullchain.pem"])
        .current_dir(dir));
    let mut site = text("deploy/nginx/layerkeeper.conf");
    for (theirs, ours) in [
        ("127.0.0.1:9317", format!("127.0.0.1:{upstream}")),
        ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
        ("    listen [::]:443 ssl;\n", String::new()),
        ("/etc/letsencrypt/live/deploy.example.com", dir.display().to_string()),
        ("/var/log/nginx", dir.display().to_string()),
    ] {
        assert!(site.contains(theirs), "{theirs}");
        site = site.replace(theirs, &ours);
    }
    fs::write(dir.join("site.conf"), site).unwrap();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.map(|kind| format!("{kind}_temp_path {}/{kind};\n", dir.display())).concat();
    let pid = dir.join("pid");
    let outer = format!("pid {};\nevents {{}}\nhttp {{\n{temporary}include site.conf;\n}}\n", pid.display());
    fs::write(dir.join("nginx.conf"), outer).unwrap();
}

#[test]
fn deploys_pass_unchanged_and_nothing_else_passes() {
    let stub = Stub::new(vec![Answer::Say(202, "", "taken".into())]);
    let nginx = Nginx::start(stub.port());
    let body = r#"{"image": "a/b:sha-1"  }"#;
    let sent = ["--header", "webhook-id: msg_1", "--header", "webhook-signature: v1,x", "--data-binary", body];
    assert_eq!(nginx.ask("POST", "/v1/deploys", &sent), (202, "taken".into()));
    let asked = stub.asked().pop().unwrap();
    assert_eq!((asked.line.as_str(), asked.body.as_str()), ("POST /v1/deploys", body));
    assert_eq!((asked.header("webhook-id"), asked.header("webhook-signature")), ("msg_1", "v1,x"));

    assert_eq!(nginx.ask("GET", &format!("/v1/deploys/{ID}"), &[]).0, 202);
    assert_eq!(nginx.ask("GET", &format!("/v1/deploys/{ID}/events"), &[]).0, 202);
    let passed = stub.asked().len();

    let large = "x".repeat(65 * 1024);
    assert_eq!(nginx.ask("POST", "/v1/deploys", &["--data-binary", &large]).0, 413);
    for (method, path) in [("GET", "/v1/deploys"), ("DELETE", "/v1/deploys"), ("POST", &format!("/v1/deploys/{ID}"))] {
        assert_eq!(nginx.ask(method, path, &[]).0, 403, "{method} {path}");
    }
    for path in ["/", "/metrics", "/v1/status", "/v1/deploys/../status", "/v1/deploys/1", "/healthz", "/v1/deploysx"] {
        assert_eq!(nginx.ask("GET", path, &[]).0, 404, "{path}");
    }
    assert_eq!(stub.asked().len(), passed, "refused by nginx itself");
    let log = fs::read_to_string(nginx.dir.path().join("layerkeeper.log")).unwrap();
    assert!(log.contains("GET /v1/deploys/...") && !log.contains(ID), "{log}");
}

#[test]
fn every_way_through_is_limited_per_sender() {
    let stub = Stub::new(vec![Answer::Say(200, "", "passed".into())]);
    for (method, path) in [
        ("POST", "/v1/deploys".to_owned()),
        ("GET", format!("/v1/deploys/{ID}")),
        ("GET", format!("/v1/deploys/{ID}/events")),
    ] {
        // a burst of 20 and then 5 a second: so many over one connection are too many on any machine
        let nginx = Nginx::start(stub.port());
        let url = format!("https://127.0.0.1:{}{path}", nginx.port);
        let mut command = Command::new("curl");
        command.args(["--silent", "--insecure", "--write-out", "%{http_code}\n", "--request", method]);
        for _ in 0..60 {
            command.args(["--output", "/dev/null", &url]);
        }
        let told = run(&mut command);
        let count = |status: &str| told.lines().filter(|line| *line == status).count();
        assert_eq!(count("200") + count("429"), 60, "{method} {path}: {told}");
        assert!(count("200") >= 20 && count("429") >= 10, "{method} {path}: {told}");
    }
}
