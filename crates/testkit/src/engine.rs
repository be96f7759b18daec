//! A real Docker Engine of our own: private data root, socket, containerd and mounts; nothing of the host's Docker is
//! read, written or talked to.
//!
//! All three run in an overlay over a Debian tree (the host's own for A), in their own mount and pid namespace. Paths
//! inside are the paths outside, so what `docker info` says of its data root can be looked up from here.

mod save;
mod shared;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use layerkeeper_core::StoreKind;

pub use shared::Engines;

use crate::error::{Doing, Error, Result};
use crate::eventually::eventually_blocking;
use crate::http::Server;
use crate::process::{Process, Program};
use crate::scratch::Scratch;
use crate::tree;

/// `$dir` is ours, `$tree` the Debian tree to stand on, `$data` the data root. A tmpfs takes what is written elsewhere,
/// but for `/etc/docker`, where engines before 23 keep the key that their ID is made of: with another ID one would be another.
const PREPARE: &str = r#"
mount -t tmpfs -o mode=755 tmpfs "$LK_DIR/ns"
mkdir "$LK_DIR/ns/upper" "$LK_DIR/ns/work" "$LK_DIR/ns/root"
root=$LK_DIR/ns/root
mount -t overlay -o "lowerdir=$LK_TREE,upperdir=$LK_DIR/ns/upper,workdir=$LK_DIR/ns/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/etc/docker" "$LK_DIR/etc-docker"
mount --bind "$LK_DIR/etc-docker" "$root/etc/docker"
mkdir -p "$root$LK_DIR"
mount --rbind "$LK_DIR" "$root$LK_DIR"
mkdir -p "$root$LK_DATA"
mount --bind "$LK_DATA" "$root$LK_DATA"
enter="chroot $root"
"#;

/// For so long a list that failed is asked for once more.
const LIST_AGAIN: Duration = Duration::from_secs(20);

const READY: Duration = Duration::from_secs(60);

/// The engines that tests can install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineKind {
    /// Debian 12's Engine 20.10 on overlay2.
    A,
    /// Debian 13's Engine 26.1 on overlay2.
    B,
    /// Debian 13's Engine 26.1 on the containerd image store.
    C,
}

/// How an engine differs from the plain one of its kind.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// More arguments for dockerd, such as `--registry-mirror=http://127.0.0.1:5001`.
    pub args: Vec<String>,
    /// Variables in dockerd's environment, such as `HTTP_PROXY`.
    pub env: Vec<(String, String)>,
    /// Keep the data here (an existing directory, on a file system of your choice) and not in the engine's own place.
    pub data_root: Option<PathBuf>,
    /// The network that it is in: see [`crate::Net::path`].
    pub net: Option<PathBuf>,
}

/// A running (or stopped) engine; dropping it ends everything it started and removes all it stored.
#[derive(Debug)]
pub struct Engine {
    // before the directory that it lives in
    process: Process,
    program: Program,
    kind: EngineKind,
    socket: PathBuf,
    data_root: PathBuf,
    scratch: Scratch,
}

impl EngineKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    /// The image store that it runs.
    pub fn store(self) -> StoreKind {
        match self {
            Self::A | Self::B => StoreKind::Graphdriver,
            Self::C => StoreKind::Containerd,
        }
    }

    fn tree(self) -> Result<PathBuf> {
        match self {
            Self::A => Ok(PathBuf::from("/")),
            Self::B | Self::C => tree::trixie(),
        }
    }

    fn configuration(self) -> &'static str {
        match self {
            Self::A | Self::B => r#"{"storage-driver": "overlay2"}"#,
            Self::C => r#"{"features": {"containerd-snapshotter": true}}"#,
        }
    }
}

impl Engine {
    /// Starts one with an empty store; returns when it answers `GET /_ping`.
    pub fn start(kind: EngineKind) -> Result<Self> {
        Self::with(kind, &EngineOptions::default())
    }

    /// Starts one with options.
    pub fn with(kind: EngineKind, options: &EngineOptions) -> Result<Self> {
        let scratch = Scratch::new("engine")?;
        let dir = scratch.path();
        let doing = || format!("writing into {}", dir.display());
        for name in ["ns", "run", "data", "home"] {
            fs::create_dir(dir.join(name)).doing(doing)?;
        }
        fs::write(dir.join("daemon.json"), kind.configuration()).doing(doing)?;
        let socket = dir.join("run/docker.sock");
        let data_root = options.data_root.clone().unwrap_or_else(|| dir.join("data"));
        let program = Program::new("dockerd", "dockerd")
            .arg("--config-file")
            .arg(dir.join("daemon.json"))
            .arg("--data-root")
            .arg(&data_root)
            .arg(format!("--host=unix://{}", socket.display()))
            .args(["--exec-root=/run/docker", "--pidfile=/run/docker.pid"])
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--insecure-registry=127.0.0.0/8"])
            .args(&options.args)
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LK_DIR", dir)
            .env("LK_DATA", &data_root)
            .env("LK_TREE", kind.tree()?)
            .prepare(PREPARE);
        let program = options.env.iter().fold(program, |program, (key, value)| program.env(key, value));
        let program = options.net.iter().fold(program, |program, net| program.within(net));
        let process = program.start(&scratch)?;
        let mut engine = Self { process, program, kind, socket, data_root, scratch };
        engine.until_ready()?;
        Ok(engine)
    }

    /// Which kind it is.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// Its address for `DOCKER_HOST`: `unix:///…/docker.sock`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where its data is, the same inside and outside.
    pub fn data_root(&self) -> &Path {
        &self.data_root
    }

    /// Its API, to be asked directly.
    pub fn api(&self) -> Server {
        Server::unix(&self.socket)
    }

    /// Its version, such as `20.10.24+dfsg1`.
    pub fn version(&self) -> Result<String> {
        let version = self.api().get("/version")?.expect(&[200])?.json()?;
        Ok(version["Version"].as_str().unwrap_or_default().to_owned())
    }

    /// dockerd's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// A call of the docker command-line client on this engine; it sees none of the host's or user's configuration.
    pub fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let home = self.scratch.path().join("home");
        let mut command = Command::new("docker");
        for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"]
        {
            command.env_remove(variable);
        }
        command.env("DOCKER_CONFIG", home.join(".docker")).env("HOME", home);
        command.arg("--host").arg(self.host()).args(args);
        command
    }

    /// Runs the docker client and gives its standard output; a failure is an error that quotes its standard error.
    pub fn run_docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let mut command = self.docker(args);
        let output = command.output().doing(|| "running docker (`cargo xtask setup` installs it)".into())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() {
            return Ok(text(output.stdout));
        }
        Err(Error::failed(format!("{command:?}"), format!("{}: {}", output.status, text(output.stderr))))
    }

    /// What `docker images` lists, with these arguments. Engine 26.1's containerd store fails the whole list where one image
    /// goes away while it is made, as another test's may ("failed to calculate size of image …: not found", "content digest
    /// …: not found"): then it is asked for again.
    pub fn list_images(&self, args: &[&str]) -> Result<String> {
        eventually_blocking(LIST_AGAIN, || match self.run_docker(["images"].iter().chain(args)) {
            Err(Error::Failed { why, .. }) if why.contains(": not found") => Err(why),
            answer => Ok(answer),
        })
    }

    /// Stops it (TERM); the data stays.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Kills it and everything it started; the data stays as it is.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again on the same data and socket, and waits until it answers.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.stop();
        let _ = fs::remove_file(&self.socket);
        self.process = self.program.start(&self.scratch)?;
        self.until_ready()
    }

    /// [`Engine::stop`], then [`Engine::start_again`].
    pub fn restart(&mut self) -> Result<()> {
        self.start_again()
    }

    /// Lets it stand still (STOP): it accepts connections and never answers.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// Lets it go on after [`Engine::freeze`].
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// Kills its containerd, which it starts again by itself; gives the process id that it had.
    pub fn kill_containerd(&self) -> Result<u32> {
        let pid = self.containerd().ok_or_else(|| Error::failed("kill", "it runs no containerd"))?;
        let status = Command::new("kill").args(["-9", &pid.to_string()]).status().doing(|| "running kill".into())?;
        if status.success() { Ok(pid) } else { Err(Error::failed("kill", status.to_string())) }
    }

    /// Its containerd's process id, while that runs.
    pub fn containerd(&self) -> Option<u32> {
        let parent = self.pid()?;
        let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.into_iter().find(|pid: &u32| {
            // `PID (NAME) STATE PARENT …`, proc(5)
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let Some((_, rest)) = stat.split_once("(containerd) ") else { return false };
            let mut words = rest.split(' ');
            words.next() != Some("Z") && words.next().and_then(|word| word.parse().ok()) == Some(parent)
        })
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        self.process.err()
    }

    fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        let api = self.api();
        loop {
            let answer =
                api.request("GET", "/_ping").limit(Duration::from_secs(5)).send().and_then(|a| a.expect(&[200]));
            let Err(error) = answer else { return Ok(()) };
            let ended = self.process.ended();
            if ended.is_some() || Instant::now() > deadline {
                let why = ended.map_or_else(|| error.to_string(), |status| format!("it ended with {status}"));
                return Err(Error::NotReady { what: format!("engine {:?}", self.kind), why, log: self.process.tail() });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
