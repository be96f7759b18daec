//! What the daemon tells a service manager, on the socket that `sd_notify(3)` describes.

#![allow(clippy::unwrap_used, reason = "a test panics where it must not go on")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

struct Daemon(Child);

impl Daemon {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn configure(directory: &Path, stop_timeout: &str) {
    let dir = directory.display();
    let text = format!(
        "[engine]\nhost = \"unix:///nowhere/docker.sock\"\n[listen]\nwebhook = \"\"\nstatus = \"127.0.0.1:0\"\n\
         control = \"{dir}/control.sock\"\n[state]\ndir = \"{dir}/state\"\n[limits]\nstop_timeout = \"{stop_timeout}\"\n"
    );
    std::fs::write(directory.join("a.toml"), text).unwrap();
}

/// Reads messages until one says this; that one.
fn told(socket: &UnixDatagram, words: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{words} does not come: {error}"));
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if message.contains(words) {
            return message;
        }
    }
}

#[test]
fn a_stop_asks_for_as_long_as_it_may_take_by_the_configuration_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(directory.path().join("notify.sock")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    configure(directory.path(), "10m");
    let daemon = Command::new(env!("CARGO_BIN_EXE_layerkeeper"))
        .args(["run", "--config", "a.toml"])
        .current_dir(directory.path())
        .env("NOTIFY_SOCKET", directory.path().join("notify.sock"))
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut daemon = Daemon(daemon);
    told(&socket, "READY=1\n");
    configure(directory.path(), "2h");
    daemon.signal(Signal::HUP);
    told(&socket, "RELOADING=1\n");
    told(&socket, "READY=1\n");
    daemon.signal(Signal::TERM);
    let stopping = told(&socket, "STOPPING=1\n");
    // two hours and a minute, in microseconds
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=7260000000\n"), "{stopping}");
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
}
