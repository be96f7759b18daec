//! The Debian 13 tree that engines B and C run in: made once per machine by debootstrap, then only read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Doing, Error, Result};

const CACHE: &str = "/var/cache/layerkeeper-tests";
const PACKAGES: &str = "docker.io,containerd,runc,ca-certificates,iptables";

/// The tree, made now if this machine has none yet (about a minute and 500 MB).
///
/// It stands in `$LAYERKEEPER_TEST_CACHE`, by default `/var/cache/layerkeeper-tests`, and gets its final name only when
/// it is complete. Processes that want it at the same time wait for the first of them.
pub fn trixie() -> Result<PathBuf> {
    made("trixie", "trixie", PACKAGES)
}

/// A Debian 12 tree that boots systemd in `systemd-nspawn`, made now if this machine has none yet.
pub fn booting() -> Result<PathBuf> {
    made("bookworm-systemd", "bookworm", "systemd,systemd-sysv,dbus")
}

/// A Debian tree called `name` with these packages, made now if it is missing; see [`trixie`].
pub fn made(name: &str, suite: &str, packages: &str) -> Result<PathBuf> {
    let cache = std::env::var_os("LAYERKEEPER_TEST_CACHE").map_or_else(|| PathBuf::from(CACHE), PathBuf::from);
    let tree = cache.join(name);
    if tree.exists() {
        return Ok(tree);
    }
    fs::create_dir_all(&cache).doing(|| format!("making {}", cache.display()))?;
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).doing(|| format!("writing {}", lock_path.display()))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|e| Error::failed("waiting for the tree's lock", e))?;
    if !tree.exists() {
        eprintln!("making a Debian tree, {} (once per machine, about a minute)", tree.display());
        debootstrap(suite, packages, &tree, &lock)?;
    }
    Ok(tree)
}

fn debootstrap(suite: &str, packages: &str, tree: &Path, lock: &File) -> Result<()> {
    let unfinished = tree.with_extension("unfinished");
    let log_path = tree.with_extension("log");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).doing(|| format!("removing {}", unfinished.display()))?;
    }
    let log = File::create(&log_path).doing(|| format!("writing {}", log_path.display()))?;
    // in a mount namespace of its own: what an interrupted run mounted in the tree is gone with it
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "debootstrap", "--variant=minbase"])
        .arg(format!("--include={packages}"))
        .arg(suite)
        .arg(&unfinished)
        // it holds the lock too, should we be killed meanwhile
        .stdin(lock.try_clone().doing(|| "duplicating a file".into())?)
        .stdout(log.try_clone().doing(|| "duplicating a file".into())?)
        .stderr(log)
        .status()
        .doing(|| "running debootstrap (`cargo xtask setup` installs it)".into())?;
    if !status.success() {
        let log = fs::read_to_string(&log_path).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n");
        return Err(Error::failed(format!("debootstrap of {suite}"), format!("{status}\n{tail}")));
    }
    fs::rename(&unfinished, tree).doing(|| format!("naming {}", tree.display()))
}
