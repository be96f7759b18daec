//! nginx in front of the registry: it limits each connection and takes down what it sent. Blobs it gives by itself, from the
//! registry's files, as the storage behind a registry does: what a registry needs for them would be taken from the server that
//! is measured, for they share a machine here. Behind a capped link nginx stands in a network namespace of its own, whose one
//! way out has a `tbf` queue.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use layerkeeper_testkit::{Process, Program, Registry, Scratch, free_port, http};

/// Prepares the namespace that it is started in, and becomes the program. The namespace's other side is that of the first
/// process; both ends go with the namespace.
const INSIDE: &str = r#"set -e
ip link set lo up
ip link add up0 type veth peer name "$LK_PEER" netns 1
ip address add "$LK_INSIDE/30" dev up0
ip link set up0 up
nsenter --net=/proc/1/ns/net ip address add "$LK_OUTSIDE/30" dev "$LK_PEER"
nsenter --net=/proc/1/ns/net ip link set "$LK_PEER" up
tc qdisc add dev up0 root tbf rate "${LK_RATE}bit" burst 256kb latency 50ms
exec "$@"
"#;

/// The registry as it is reached, with a log of what was sent.
pub struct Front {
    // before the directory that they live in, and the outer one first
    _nginx: Process,
    _behind: Option<Process>,
    host: String,
    log: PathBuf,
    _scratch: Scratch,
}

/// A place in the log.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl Front {
    /// On loopback, in front of this registry; each request gets so many bytes per second at most.
    pub fn start(registry: &Registry, per_connection: Option<u64>) -> Result<Self> {
        let scratch = Scratch::new("front")?;
        let host = format!("127.0.0.1:{}", free_port()?);
        let upstream = Upstream { server: &registry.host(), blobs: &blobs(registry) };
        let nginx = nginx(&scratch, "nginx", &host, upstream, per_connection)?.start(&scratch)?;
        Self::ready(nginx, None, host, scratch)
    }

    /// Behind a link that gives so many bytes per second in all.
    pub fn capped(registry: &Registry, in_all: u64) -> Result<Self> {
        let scratch = Scratch::new("front")?;
        let socket = format!("unix:{}", scratch.path().join("registry.sock").display());
        // the namespace has no way to the registry's loopback; a socket in the file system is reached from anywhere
        let upstream = Upstream { server: &registry.host(), blobs: &blobs(registry) };
        let behind = nginx(&scratch, "behind", &socket, upstream, None)?.start(&scratch)?;
        let script = scratch.path().join("inside");
        fs::write(&script, INSIDE)?;
        // 198.18.0.0/15 is for benchmarks (RFC 2544); the process id tells two of them apart
        let id = std::process::id();
        let net = format!("198.18.{}", (id >> 6) % 256);
        let at = |last: u32| format!("{net}.{}", (id % 64) * 4 + last);
        let host = format!("{}:{}", at(2), free_port()?);
        let upstream = Upstream { server: &socket, ..upstream };
        let nginx = nginx(&scratch, "nginx", &host, upstream, None)?
            .env("LK_PEER", format!("lk{id}"))
            .env("LK_OUTSIDE", at(1))
            .env("LK_INSIDE", at(2))
            .env("LK_RATE", (in_all * 8).to_string())
            .prepare(&format!("enter='unshare --net sh {}'", script.display()))
            .start(&scratch)?;
        Self::ready(nginx, Some(behind), host, scratch)
    }

    fn ready(mut nginx: Process, behind: Option<Process>, host: String, scratch: Scratch) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let api = http::Server::tcp(&host);
        while !api.get("/v2/").is_ok_and(|answer| answer.status == 200) {
            let ended = nginx.ended();
            ensure!(ended.is_none() && Instant::now() < deadline, "nginx does not answer: {}", nginx.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { _nginx: nginx, _behind: behind, host, log: scratch.path().join("nginx.access"), _scratch: scratch })
    }

    /// `HOST:PORT`
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Now, when all that was begun is taken down.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(self.settled()?.len()))
    }

    /// Bytes that were sent since then, heads and all; a request is taken down when its answer is done.
    pub fn sent(&self, since: Mark) -> Result<u64> {
        let log = self.settled()?;
        Ok(log.get(since.0..).unwrap_or_default().lines().filter_map(sent).sum())
    }

    fn settled(&self) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut log = self.read()?;
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = self.read()?;
            if now.len() == log.len() || Instant::now() > deadline {
                return Ok(now);
            }
            log = now;
        }
    }

    fn read(&self) -> Result<String> {
        fs::read_to_string(&self.log).context("cannot read nginx's log")
    }
}

/// Of a line of the log.
fn sent(line: &str) -> Option<u64> {
    line.split(' ').next()?.parse().ok()
}

/// Where nginx has things from.
#[derive(Debug, Clone, Copy)]
struct Upstream<'a> {
    /// `HOST:PORT`, or a socket.
    server: &'a str,
    /// The folder with the registry's blobs.
    blobs: &'a Path,
}

/// Distribution's layout: `sha256/00/00…/data`.
fn blobs(registry: &Registry) -> PathBuf {
    registry.root().join("docker/registry/v2/blobs")
}

/// nginx by a configuration of its own. Nothing goes into temporary files, so it reads from the registry only what it has
/// sent; and its socket holds little, so that what it wrote is what has gone.
fn nginx(scratch: &Scratch, name: &str, listen: &str, upstream: Upstream, limit: Option<u64>) -> Result<Program> {
    let dir = scratch.path().join(format!("{name}.d"));
    fs::create_dir(&dir)?;
    let error = scratch.path().join(format!("{name}.error"));
    let limit = limit.map(|limit| format!("limit_rate {limit};")).unwrap_or_default();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {}/{kind};\n", dir.display()))
        .collect();
    let configuration = format!(
        "user root;\nworker_processes 1;\ndaemon off;\npid {dir}/pid;\nerror_log {error};\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n{temporary}  log_format moved '$bytes_sent $status $request_method $request_uri $http_range';\n\
         \x20 upstream registry {{ server {server}; keepalive 32; }}\n\
         \x20 server {{\n    listen {listen} sndbuf=256k;\n    access_log {log} moved;\n    keepalive_requests 100000;\n\
         \x20   location / {{\n      proxy_pass http://registry;\n      proxy_http_version 1.1;\n\
         \x20     proxy_set_header Host $http_host;\n      proxy_set_header Connection \"\";\n\
         \x20     proxy_buffers 8 256k;\n      proxy_busy_buffers_size 512k;\n      proxy_max_temp_file_size 0;\n\
         \x20     {limit}\n    }}\n\
         \x20   location ~ \"^/v2/.+/blobs/sha256:(..)([0-9a-f]+)$\" {{\n      alias {blobs}/sha256/$1/$1$2/data;\n\
         \x20     default_type application/octet-stream;\n      sendfile on;\n      sendfile_max_chunk 256k;\n\
         \x20     add_header Docker-Content-Digest sha256:$1$2;\n      {limit}\n    }}\n  }}\n}}\n",
        server = upstream.server,
        blobs = upstream.blobs.display(),
        dir = dir.display(),
        error = error.display(),
        log = scratch.path().join(format!("{name}.access")).display(),
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, configuration)?;
    Ok(Program::new(name, "nginx").arg("-e").arg(error).arg("-c").arg(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_begins_with_what_was_sent() {
        assert_eq!(sent("1234 206 GET /v2/acme/app/blobs/sha256:00 bytes=0-99"), Some(1234));
        assert_eq!(sent(""), None);
    }
}
