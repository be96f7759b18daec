//! The real binary, with a configuration of its own below a scratch folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use layerkeeper_http::secret::Secrets;
use layerkeeper_http::signature::sign;
use layerkeeper_keeper::{Clock, SystemClock};
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::http::Server;
use layerkeeper_testkit::{Net, Process, Program, Scratch, free_port};
use serde_json::Value;

use crate::clock::FakeClock;

/// The webhook's secret in every test.
pub const SECRET: &str = "a secret for tests, of no use elsewhere";

/// A daemon that runs, ran, or is to run. Dropping it ends it and removes its folder.
pub struct Daemon {
    process: Process,
    program: Program,
    config: PathBuf,
    /// The public listener's port.
    pub webhook: u16,
    /// The local listener's port.
    pub status: u16,
    scratch: Scratch,
}

/// Builds the binary, once for all tests of this process.
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder").to_owned();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let args = ["build", "--quiet", "--package", "layerkeeper", "--bin", "layerkeeper"];
        let status = Command::new(cargo).args(args).current_dir(&top).status().expect("cargo runs");
        assert!(status.success(), "the binary does not build");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), PathBuf::from);
        target.join("debug/layerkeeper")
    })
}

impl Daemon {
    /// Writes the configuration (ours for engine, listeners, secret and state; the test's `rest`) and starts the binary.
    /// Does not wait.
    pub fn start(engine: &str, rest: &str) -> Self {
        Self::with(engine, rest, &[], None)
    }

    /// As above, in this network, where it takes webhooks at this address. Waits until it serves.
    pub fn within(net: &Net, address: &str, engine: &str, rest: &str) -> Self {
        let daemon = Self::with(engine, rest, &[], Some((net, address)));
        // the local listener is out of reach here, and the control socket is not
        eventually_blocking(Duration::from_secs(20), || {
            let output = daemon.cli(&["status"]);
            if output.status.success() { Ok(()) } else { Err(format!("{output:?}\n{}", daemon.log())) }
        });
        daemon
    }

    /// As above, on a wall clock of its own, and waits until it serves.
    pub fn on_clock(engine: &str, rest: &str, clock: &FakeClock) -> Self {
        let mut daemon = Self::with(engine, rest, &clock.env(), None);
        daemon.until_healthy();
        daemon
    }

    fn with(engine: &str, rest: &str, env: &[(&str, String)], net: Option<(&Net, &str)>) -> Self {
        let scratch = Scratch::new("daemon").expect("a scratch folder");
        let dir = scratch.path().to_owned();
        fs::create_dir_all(dir.join("state")).expect("a folder");
        let (webhook, status) = (free_port().expect("a port"), free_port().expect("a port"));
        write_private(&dir.join("secret"), SECRET);
        let config = dir.join("layerkeeper.toml");
        let address = net.map_or("127.0.0.1", |(_, address)| address);
        let text = format!(
            "[engine]\nhost = \"{engine}\"\n[listen]\nwebhook = \"{address}:{webhook}\"\nstatus = \"127.0.0.1:{status}\"\n\
             control = \"{dir}/control.sock\"\n[webhook]\nsecret_file = \"{dir}/secret\"\n[state]\ndir = \"{dir}/state\"\n\
             {rest}\n",
            dir = dir.display()
        );
        fs::write(&config, text).expect("the configuration is written");
        let program = Program::new("layerkeeper", binary())
            .args(["run", "--config"])
            .arg(&config)
            .env("LAYERKEEPER_LOG", "info")
            .env("DOCKER_HOST", "");
        let program = env.iter().fold(program, |program, (key, value)| program.env(key, value));
        let program = net.into_iter().fold(program, |program, (net, _)| program.within(net.path()));
        let process = program.start(&scratch).expect("the daemon starts");
        Self { process, program, config, webhook, status, scratch }
    }

    /// As above, and waits until it serves.
    pub fn up(engine: &str, rest: &str) -> Self {
        let mut daemon = Self::start(engine, rest);
        daemon.until_healthy();
        daemon
    }

    /// Waits until it serves; the engine may be away.
    pub fn until_healthy(&mut self) {
        let server = self.local();
        eventually_blocking(Duration::from_secs(20), || {
            let answer = server.get("/healthz").map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
        });
    }

    /// The local listener.
    pub fn local(&self) -> Server {
        Server::tcp(format!("127.0.0.1:{}", self.status))
    }

    /// A JSON answer of the local listener.
    pub fn json(&self, path: &str) -> Value {
        self.local().get(path).and_then(|answer| answer.expect(&[200])?.json()).expect("a JSON answer")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.err()
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Replaces the configuration's text.
    pub fn rewrite(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(&self.config).expect("the configuration is there");
        fs::write(&self.config, change(text)).expect("the configuration is written");
    }

    /// Where the state is; the directory of another test's choice after a [`Daemon::rewrite`].
    pub fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// Its configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Runs a command of the CLI against it.
    pub fn cli(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.arg("--config").arg(&self.config).args(args).env_remove("DOCKER_HOST");
        command.output().expect("the CLI runs")
    }

    /// Where it takes webhooks.
    pub fn webhook_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.webhook)
    }

    /// Posts a signed deploy as CI does; the job's id when it was accepted.
    pub fn notify(&self, image: &str) -> Result<String, String> {
        let url = self.webhook_url();
        let secret = self.dir().join("secret").display().to_string();
        let output = self.cli(&["--json", "notify", image, "--url", &url, "--secret-file", &secret]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        answer["id"].as_str().map(str::to_owned).ok_or(text)
    }

    /// Posts a signed deploy (`NAME:TAG` or `NAME:TAG@DIGEST`) with an id of its own, and nothing around it: no retry, no
    /// waiting. Status and body.
    pub fn post(&self, id: &str, image: &str) -> (u16, String) {
        self.post_at(id, image, SystemClock.now().seconds())
    }

    /// As above, with a time stamp of the sender's own.
    pub fn post_at(&self, id: &str, image: &str, seconds: i64) -> (u16, String) {
        self.try_post_at(id, image, seconds).expect("an answer")
    }

    /// As [`Self::post`], to a daemon that may die before it has answered.
    pub fn try_post(&self, id: &str, image: &str) -> Result<(u16, String), String> {
        self.try_post_at(id, image, SystemClock.now().seconds())
    }

    fn try_post_at(&self, id: &str, image: &str, seconds: i64) -> Result<(u16, String), String> {
        let body = match image.split_once('@') {
            Some((image, digest)) => format!("{{\"image\":\"{image}\",\"digest\":\"{digest}\"}}"),
            None => format!("{{\"image\":\"{image}\"}}"),
        };
        let secrets = Secrets::parse(SECRET.as_bytes()).expect("a secret");
        let server = Server::tcp(format!("127.0.0.1:{}", self.webhook));
        let request = server
            .request("POST", "/v1/deploys")
            .header("Content-Type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", sign(id, seconds, body.as_bytes(), secrets.newest()))
            .body(body.as_bytes());
        let answer = request.send().map_err(|error| error.to_string())?;
        Ok((answer.status, answer.text()))
    }

    /// A job as the local listener tells it.
    pub fn job(&self, id: &str) -> Value {
        self.json(&format!("/v1/jobs/{id}"))
    }

    /// Waits for a job's final state.
    pub fn end_of(&self, id: &str) -> Value {
        let job = || {
            let job = self.job(id);
            let state = job["state"].as_str().unwrap_or_default().to_owned();
            if matches!(&*state, "queued" | "running") { Err(format!("{job}")) } else { Ok(job) }
        };
        eventually_blocking(Duration::from_secs(60), job)
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: &str) {
        self.process.signal(signal).expect("the daemon runs");
    }

    /// Waits for its end; the exit code.
    pub fn exit_code(&mut self, limit: Duration) -> Option<i32> {
        self.process.wait(limit).and_then(|status| status.code())
    }

    /// At the next start: dies by kill -9 right after this step of a job (`layerkeeper_keeper::POINTS`), or no longer does.
    pub fn die_at(&mut self, point: Option<&str>) {
        self.program = self.program.clone().env("LAYERKEEPER_TEST_DIE_AT", point.unwrap_or_default());
    }

    /// Does it end within this time?
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        self.process.wait(limit).is_some()
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again over the same configuration and state, and waits until it serves.
    pub fn start_again(&mut self) {
        self.start_without_waiting();
        self.until_healthy();
    }

    /// Starts it again; it may not come up.
    pub fn start_without_waiting(&mut self) {
        self.process = self.program.start(&self.scratch).expect("the daemon starts");
    }
}

/// A file that only its owner may read.
pub fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("the file is written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the mode is set");
}
