//! The installed service: its configuration, its listeners and what systemd says of it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use layerkeeper_testkit::free_port;
use layerkeeper_testkit::http::Server;

use super::container::{Container, until};

/// Where the unit takes the webhook's secret from.
pub const SECRET: &str = "/etc/layerkeeper/webhook-secret";
const CONFIGURATION: &str = "/etc/layerkeeper/layerkeeper.toml";

/// The service in its container.
pub struct Service<'a> {
    pub container: &'a Container,
    webhook: u16,
    status: u16,
}

/// The program, built now where it is not up to date.
pub fn binary() -> PathBuf {
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "layerkeeper", "--bin", "layerkeeper", "--message-format=json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(build.status.success(), "cargo build: {}", build.status);
    let messages = String::from_utf8(build.stdout).unwrap();
    let mut programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    programs.next_back().expect("cargo names what it built")
}

impl<'a> Service<'a> {
    /// The service, configured with ports of its own: the container shares the host's network.
    pub fn new(container: &'a Container) -> Self {
        let service = Self { container, webhook: free_port().unwrap(), status: free_port().unwrap() };
        service.configure("");
        service
    }

    /// Writes the configuration with this at its end; nothing is told to reload it.
    pub fn configure(&self, more: &str) {
        let (webhook, status) = (self.webhook, self.status);
        let text = format!(
            "[engine]\nhost = \"unix:///engine/docker.sock\"\ndata_root = \"/var/lib/docker\"\n\
             [listen]\nwebhook = \"127.0.0.1:{webhook}\"\nstatus = \"127.0.0.1:{status}\"\n\
             [limits]\nstop_timeout = \"5s\"\n\
             [[runtime]]\nrepository = \"127.0.0.1:5000/acme/app\"\n{more}"
        );
        fs::write(self.container.path(CONFIGURATION), text).unwrap();
    }

    /// Starts it, which must fail with exit code 2, these words in the log and no further try.
    pub fn fails_to_start(&self, words: &str) {
        let before = self.container.journal().len();
        let restarts = self.container.property("NRestarts");
        let start = self.container.run(&["systemctl", "start", "layerkeeper"]);
        assert!(!start.status.success(), "{}", self.container.journal());
        let said = self.container.journal().split_off(before);
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
        let shown = |name| self.container.property(name);
        assert_eq!((shown("ExecMainStatus").as_str(), shown("Result").as_str()), ("2", "exit-code"), "{said}");
        // a service that is about to be started again is not failed, but activating
        assert_eq!((shown("ActiveState"), shown("NRestarts")), ("failed".into(), restarts), "{said}");
    }

    /// Runs a command that ends the daemon and waits until systemd has put a new one in its place; what was logged.
    pub fn replaced(&self, command: &[&str]) -> String {
        let (pid, before) = (self.pid(), self.container.journal().len());
        let restarts: u32 = self.container.property("NRestarts").parse().unwrap();
        self.container.ok(command);
        until("a new daemon", || {
            let active = self.container.property("ActiveState") == "active";
            (active && self.pid() != pid && self.get("/readyz").0 == 200).then_some(())
        });
        assert_eq!(self.container.property("NRestarts"), (restarts + 1).to_string());
        self.container.journal().split_off(before)
    }

    /// The daemon's process id in the container; 0 while there is none.
    pub fn pid(&self) -> u32 {
        self.container.property("MainPID").parse().unwrap()
    }

    /// When the watchdog was last fed, in microseconds of the monotonic clock.
    pub fn watchdog_fed(&self) -> u64 {
        self.container.property("WatchdogTimestampMonotonic").parse().unwrap()
    }

    /// Asks the local listener: status (0: no answer) and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        match Server::tcp(format!("127.0.0.1:{}", self.status)).get(path) {
            Ok(answer) => (answer.status, answer.text()),
            Err(_) => (0, String::new()),
        }
    }

    /// The lines of one metric.
    pub fn metric(&self, start: &str) -> String {
        let text = self.get("/metrics").1;
        text.lines().filter(|line| line.starts_with(start)).map(|line| format!("{line}\n")).collect()
    }

    /// Deploys as CI does, with the script; its exit code and what it said.
    pub fn notify(&self, image: &str, secret: &str) -> (Option<i32>, String) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/github-actions/notify.sh");
        let output = Command::new(script)
            .env("LAYERKEEPER_URL", format!("http://127.0.0.1:{}", self.webhook))
            .env("LAYERKEEPER_SECRET", secret)
            .env("LAYERKEEPER_IMAGE", image)
            .env("LAYERKEEPER_WAIT", "false")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// A webhook that nobody signed; the status.
    pub fn post_unsigned(&self) -> u16 {
        let server = Server::tcp(format!("127.0.0.1:{}", self.webhook));
        let body = br#"{"image":"127.0.0.1:5000/acme/app:sha-1234567"}"#;
        let request = server.request("POST", "/v1/deploys").header("Content-Type", "application/json").body(body);
        request.send().unwrap().status
    }
}
