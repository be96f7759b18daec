//! Networks of our own: a namespace that is held by a process, wired to others by veth pairs. The host's own network is neither
//! changed nor used, and a network goes when the last program in it has ended, whatever became of us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use layerkeeper_core::Bytes;

use crate::error::{Doing, Error, Result};
use crate::process::{Process, Program};
use crate::scratch::Scratch;

/// A network namespace with a loopback, and nothing else at first.
#[derive(Debug)]
pub struct Net {
    path: PathBuf,
    // before the directory that its log is in
    _process: Process,
    _scratch: Scratch,
}

impl Net {
    /// Makes one.
    pub fn new() -> Result<Self> {
        let scratch = Scratch::new("net")?;
        let process = Program::new("net", "unshare").args(["--net", "sleep", "infinity"]).start(&scratch)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let ours = std::fs::read_link("/proc/self/ns/net").doing(|| "reading our own network namespace".into())?;
        loop {
            let path = process.pid().map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
            if let Some(path) = path.filter(|path| std::fs::read_link(path).is_ok_and(|its| its != ours)) {
                let net = Self { path, _process: process, _scratch: scratch };
                net.run("ip link set lo up")?;
                return Ok(net);
            }
            if Instant::now() > deadline {
                return Err(Error::failed("making a network namespace", process.tail()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What stands for it, for [`Program::within`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A program that is to run in it, and nowhere else apart.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path.display())).arg("--").arg(program);
        command
    }

    /// Runs shell commands in it, up to the first that fails; gives what they print.
    pub fn run(&self, script: &str) -> Result<String> {
        let output = self.command("sh").args(["-ec", script]).output().doing(|| "running nsenter".into())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(Error::failed(script, format!("{}: {}", output.status, text(&output.stderr))))
    }

    /// A cable from `here` in this network to `there` in the other; both ends are up and have no address.
    pub fn wire(&self, here: &str, other: &Self, there: &str) -> Result<()> {
        let peer = other.path.to_string_lossy();
        let peer = peer.trim_start_matches("/proc/").trim_end_matches("/ns/net");
        self.run(&format!("ip link add name {here} type veth peer name {there} netns {peer}; ip link set {here} up"))?;
        other.run(&format!("ip link set {there} up"))?;
        Ok(())
    }

    /// What came in by this interface so far, headers of the link included.
    pub fn received(&self, interface: &str) -> Result<Bytes> {
        let text = self.run(&format!("ip -s -j link show dev {interface}"))?;
        let told: serde_json::Value = serde_json::from_str(&text).map_err(|error| Error::failed("ip", error))?;
        let bytes = told[0]["stats64"]["rx"]["bytes"].as_u64();
        bytes.map(Bytes).ok_or_else(|| Error::failed("reading an interface's counters", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_over_a_cable_is_counted_at_its_end_and_the_network_goes_with_its_owner() {
        let (one, two) = (Net::new().unwrap(), Net::new().unwrap());
        one.wire("left", &two, "right").unwrap();
        one.run("ip addr add 10.0.0.1/24 dev left").unwrap();
        two.run("ip addr add 10.0.0.2/24 dev right").unwrap();
        let before = two.received("right").unwrap();
        // nobody listens there, which takes a packet each way to find out
        let sent = one.run("exec bash -c 'echo >/dev/tcp/10.0.0.2/9'").unwrap_err();
        assert!(sent.to_string().contains("refused"), "{sent}");
        assert!(two.received("right").unwrap() > before);
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(two.received("right").is_err(), "the other end went, too");
    }
}
