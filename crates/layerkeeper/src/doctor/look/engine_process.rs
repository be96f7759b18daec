//! What can be seen of the engine's process.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::files::Root;
use super::scripts::USUAL;
use crate::doctor::host::Unpigz;

/// Where the engine finds `unpigz`: in its own PATH and its own tree, where we may look at its process.
pub fn unpigz(host: &str, root: &Root) -> Unpigz {
    let Some(socket) = host.strip_prefix("unix://") else { return Unpigz::Elsewhere };
    let process = if root.is_own() { pid(socket).and_then(environment) } else { None };
    let (own_path, dirs, tree) = match &process {
        Some((_, variables)) if variables.contains_key("MOBY_DISABLE_PIGZ") => return Unpigz::Off,
        Some((pid, variables)) => {
            let path = variables.get("PATH").map(String::as_str).unwrap_or_default();
            let dirs = std::env::split_paths(path).collect();
            (true, dirs, Root::new(format!("/proc/{pid}/root")))
        }
        None => (false, USUAL.map(PathBuf::from).to_vec(), root.clone()),
    };
    let found = dirs.iter().map(|dir| dir.join("unpigz")).find(|file| tree.at(file).is_file());
    found.map_or(Unpigz::Missing { own_path, dirs }, Unpigz::Found)
}

/// The process behind the socket; where systemd opened the socket for it, the only one of its name.
fn pid(socket: &str) -> Option<u32> {
    let stream = UnixStream::connect(socket).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    let peer = u32::try_from(peer.pid.as_raw_nonzero().get()).ok()?;
    if is_engine(peer) {
        return Some(peer);
    }
    let all = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut engines = all.filter(|pid| is_engine(*pid));
    let first = engines.next();
    first.filter(|_| engines.next().is_none())
}

fn is_engine(pid: u32) -> bool {
    fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm")).is_ok_and(|name| name.trim() == "dockerd")
}

/// Only root, and the process's own user, may read it.
fn environment(pid: u32) -> Option<(u32, BTreeMap<String, String>)> {
    let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    Some((pid, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}
