//! A daemon of our own, with its configuration, secret and state below a scratch folder: for the demo and the benchmark.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use layerkeeper_core::ImageName;
use layerkeeper_testkit::{Engine, Scratch, free_port, http};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::built;

/// Where a start finds its parts and what it keeps.
pub struct Settings<'a> {
    /// The engine to keep images on.
    pub engine: &'a Engine,
    /// Where its runtime repository `acme/app` is: the registry, or what stands in front of it.
    pub registry: &'a str,
    /// The kept images, in the order in which they are pulled.
    pub kept: Vec<&'a ImageName>,
    /// The lines of the runtime block after its repository.
    pub runtime: &'a str,
    /// More tables.
    pub more: &'a str,
    /// `debug` or `release`: whose binary.
    pub profile: &'a str,
}

/// A daemon; dropping it kills it and removes all it stored.
pub struct Server {
    daemon: Option<Child>,
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    webhook: u16,
    status: u16,
    scratch: Scratch,
}

impl Server {
    /// What is signed with.
    pub const SECRET: &str = "a secret of this run alone, not for you";

    /// Writes configuration and secret; nothing runs yet.
    pub fn prepare(settings: &Settings<'_>) -> Result<Self> {
        let scratch = Scratch::new("daemon")?;
        let dir = scratch.path().to_owned();
        let (webhook, status) = (free_port()?, free_port()?);
        let config = dir.join("layerkeeper.toml");
        fs::create_dir(dir.join("state"))?;
        fs::write(&config, configuration(settings, &dir, webhook, status))?;
        let secret = dir.join("webhook-secret");
        fs::write(&secret, format!("{}\n", Self::SECRET))?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        let binary = binary(settings.profile);
        Ok(Self { daemon: None, binary, config, log: dir.join("log"), webhook, status, scratch })
    }

    /// Writes configuration and secret, starts the daemon and waits until it is ready.
    pub fn start(settings: &Settings<'_>) -> Result<Self> {
        let mut server = Self::prepare(settings)?;
        server.spawn(None)?;
        server.until_ready()?;
        Ok(server)
    }

    /// Starts the daemon and waits for nothing. `notify`: the socket that is told READY=1.
    pub fn spawn(&mut self, notify: Option<&Path>) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--config"]).arg(&self.config).env_remove("DOCKER_HOST");
        if let Some(notify) = notify {
            command.env("NOTIFY_SOCKET", notify);
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        self.daemon = Some(command.stdin(Stdio::null()).stderr(log).spawn().context("cannot start the daemon")?);
        Ok(())
    }

    /// Waits until the daemon says that it is ready; how long that took from here.
    pub fn until_ready(&mut self) -> Result<Duration> {
        self.until("/readyz")
    }

    fn until(&mut self, path: &str) -> Result<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            let ended = self.daemon.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("the daemon ended ({status}): {}", self.log()?);
            }
            if self.answers(path) {
                return Ok(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{path} is not 200 after 20 s: {}", self.log()?)
    }

    /// Waits until the daemon's listeners are up; the engine may be away.
    pub fn until_healthy(&mut self) -> Result<()> {
        self.until("/healthz").map(drop)
    }

    /// Does the local listener answer this path with 200?
    pub fn answers(&self, path: &str) -> bool {
        self.local().get(path).is_ok_and(|answer| answer.status == 200)
    }

    /// The local listener.
    pub fn local(&self) -> http::Server {
        http::Server::tcp(format!("127.0.0.1:{}", self.status))
    }

    /// The control socket.
    pub fn control(&self) -> http::Server {
        http::Server::unix(self.scratch.path().join("control.sock"))
    }

    /// Its configuration.
    pub fn configuration(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.config)?)
    }

    /// The daemon's process id.
    pub fn pid(&self) -> Result<u32> {
        self.daemon.as_ref().map(Child::id).context("the daemon does not run")
    }

    /// Where the page is.
    pub fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.status)
    }

    /// Where CI posts: `HOST:PORT`.
    pub fn webhook(&self) -> String {
        format!("127.0.0.1:{}", self.webhook)
    }

    /// The file that holds the webhook's secret.
    pub fn secret(&self) -> PathBuf {
        self.scratch.path().join("webhook-secret")
    }

    /// Prints and runs a command of the CLI.
    pub fn cli(&self, args: &[&str]) -> Result<()> {
        println!("\x1b[32m$ layerkeeper {}\x1b[0m", args.join(" "));
        let status = self.command(args).status()?;
        ensure!(status.success(), "layerkeeper {} failed ({status})", args.join(" "));
        Ok(())
    }

    /// Runs a command of the CLI and reads the facts that it prints.
    pub fn facts(&self, args: &[&str]) -> Result<serde_json::Value> {
        let Output { status, stdout, stderr } = self.command(args).arg("--json").output()?;
        let said = String::from_utf8_lossy(&stderr);
        ensure!(status.success(), "layerkeeper {} failed ({status}): {said}", args.join(" "));
        serde_json::from_slice(&stdout).with_context(|| format!("layerkeeper {} printed no JSON", args.join(" ")))
    }

    /// Runs a command of the CLI; how long that took, from the start of the program to its end.
    pub fn timed(&self, args: &[&str]) -> Result<Duration> {
        let begun = Instant::now();
        let output = self.command(args).output()?;
        let took = begun.elapsed();
        ensure!(output.status.success(), "layerkeeper {} failed ({})", args.join(" "), output.status);
        Ok(took)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(&self.config).args(args);
        command
    }

    /// The daemon's log.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Waits for the daemon's end: Ctrl-C reaches it as it reaches us.
    pub fn until_interrupted(&mut self) -> Result<()> {
        self.daemon.as_mut().map(Child::wait).transpose()?;
        Ok(())
    }

    /// kill -9; it may be started again on the same state.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// Lets the daemon stand still (STOP) while `meanwhile` runs; how long that was.
    pub fn frozen(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<Duration> {
        let daemon = self.daemon.as_ref().map(Pid::from_child).context("the daemon does not run")?;
        let begun = Instant::now();
        kill_process(daemon, Signal::STOP).context("cannot stop the daemon")?;
        let done = meanwhile();
        kill_process(daemon, Signal::CONT).context("cannot let the daemon go on")?;
        done.map(|()| begun.elapsed())
    }

    /// Stops the daemon as systemd does; it may be started again on the same state.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        if daemon.try_wait()?.is_none() {
            // a minimal Debian has no `kill` program
            kill_process(Pid::from_child(&daemon), Signal::TERM).context("cannot stop the daemon")?;
        }
        let status = daemon.wait()?;
        ensure!(status.success(), "the daemon did not stop well ({status})");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // after a failure; a stop has waited already, and then there is none
        self.kill().ok();
    }
}

/// The program of a profile, built by whoever runs it.
pub fn binary(profile: &str) -> PathBuf {
    built().join(profile).join("layerkeeper")
}

fn configuration(settings: &Settings<'_>, dir: &Path, webhook: u16, status: u16) -> String {
    let Settings { engine, registry, kept, runtime, more, .. } = settings;
    let kept: String =
        kept.iter().map(|name| format!("[[keep]]\nimage = \"{name}\"\nschedule = \"0 0 3 * * *\"\n\n")).collect();
    format!(
        "[engine]\nhost = \"{}\"\ndata_root = \"{}\"\n\n[listen]\nwebhook = \"127.0.0.1:{webhook}\"\n\
         status = \"127.0.0.1:{status}\"\ncontrol = \"{dir}/control.sock\"\n\n[webhook]\n\
         secret_file = \"{dir}/webhook-secret\"\n\n[state]\ndir = \"{dir}/state\"\n\n{kept}[[runtime]]\n\
         repository = \"{}/acme/app\"\n{runtime}\n\n[disk]\nmin_free = \"100 MB\"\n{more}",
        engine.host(),
        engine.data_root().display(),
        registry,
        dir = dir.display(),
    )
}
