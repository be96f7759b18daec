//! The daemon of the demo, with a configuration of its own below a scratch folder.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use layerkeeper_testkit::chain::PushedChain;
use layerkeeper_testkit::{Engine, Registry, Scratch, free_port};

use crate::command::top;

/// A running daemon.
pub struct Server {
    daemon: Child,
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    webhook: u16,
    status: u16,
    scratch: Scratch,
}

impl Server {
    /// Writes configuration and secret, and starts the daemon.
    pub fn start(engine: &Engine, registry: &Registry, chain: &PushedChain) -> Result<Self> {
        super::title("layerkeeper runs");
        let scratch = Scratch::new("demo")?;
        let dir = scratch.path().to_owned();
        let (webhook, status) = (free_port()?, free_port()?);
        let config = dir.join("layerkeeper.toml");
        fs::create_dir(dir.join("state"))?;
        let text = configuration(engine, registry, chain, &dir, webhook, status);
        println!("{text}");
        fs::write(&config, text)?;
        let secret = dir.join("webhook-secret");
        fs::write(&secret, "the demo's own secret, not for you\n")?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        let log = dir.join("log");
        let binary = top().join("target/debug/layerkeeper");
        let daemon = Command::new(&binary)
            .args(["run", "--config"])
            .arg(&config)
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start the daemon")?;
        let mut server = Self { daemon, binary, config, log, webhook, status, scratch };
        server.until_ready()?;
        Ok(server)
    }

    /// Where the page is.
    pub fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.status)
    }

    /// Where CI posts.
    pub fn webhook(&self) -> String {
        format!("http://127.0.0.1:{}", self.webhook)
    }

    /// The file that holds the webhook's secret.
    pub fn secret(&self) -> PathBuf {
        self.scratch.path().join("webhook-secret")
    }

    /// Prints and runs a command of the CLI.
    pub fn cli(&self, args: &[&str]) -> Result<()> {
        println!("\x1b[32m$ layerkeeper {}\x1b[0m", args.join(" "));
        let status = Command::new(&self.binary).arg("--config").arg(&self.config).args(args).status()?;
        ensure!(status.success(), "layerkeeper {} failed ({status})", args.join(" "));
        Ok(())
    }

    /// The last lines of the daemon's log that hold a word.
    pub fn log_lines(&self, word: &str) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.log)?;
        Ok(text.lines().filter(|line| line.contains(word)).map(str::to_owned).collect())
    }

    fn until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.daemon.try_wait()? {
                bail!("the daemon ended ({status}): {}", fs::read_to_string(&self.log)?);
            }
            let answer = layerkeeper_testkit::http::Server::tcp(format!("127.0.0.1:{}", self.status)).get("/readyz");
            if answer.is_ok_and(|answer| answer.status == 200) {
                println!("ready after {} ms; the page is at {}", begun.elapsed().as_millis(), self.page());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the daemon is not ready after 20 s: {}", fs::read_to_string(&self.log)?)
    }

    /// Waits for the daemon's end: Ctrl-C reaches it as it reaches us.
    pub fn until_interrupted(&mut self) -> Result<()> {
        self.daemon.wait()?;
        Ok(())
    }

    /// Stops the daemon as systemd does.
    pub fn stop(mut self) -> Result<()> {
        if self.daemon.try_wait()?.is_none() {
            Command::new("kill").args(["-TERM", &self.daemon.id().to_string()]).status()?;
        }
        let status = self.daemon.wait()?;
        ensure!(status.success(), "the daemon did not stop well ({status})");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // after a failure; a stop has waited already, and then this does nothing
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

fn configuration(
    engine: &Engine,
    registry: &Registry,
    chain: &PushedChain,
    dir: &std::path::Path,
    webhook: u16,
    status: u16,
) -> String {
    let kept: String = [&chain.base, &chain.cache_python, &chain.cache_node]
        .iter()
        .map(|image| format!("[[keep]]\nimage = \"{}\"\nschedule = \"0 0 3 * * *\"\n\n", image.name))
        .collect();
    format!(
        "[engine]\nhost = \"{}\"\ndata_root = \"{}\"\n\n[listen]\nwebhook = \"127.0.0.1:{webhook}\"\n\
         status = \"127.0.0.1:{status}\"\ncontrol = \"{dir}/control.sock\"\n\n[webhook]\n\
         secret_file = \"{dir}/webhook-secret\"\n\n[state]\ndir = \"{dir}/state\"\n\n{kept}[[runtime]]\n\
         repository = \"{}/acme/app\"\nprune_tags = [\"sha-*\"]\nkeep_last = 1\nkeep_min = 1\nmin_age = \"1s\"\n\
         download_budget = \"300 MB\"\n\n[disk]\nmin_free = \"100 MB\"\n",
        engine.host(),
        engine.data_root().display(),
        registry.host(),
        dir = dir.display(),
    )
}
