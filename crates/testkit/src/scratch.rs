//! A temporary directory that goes away whatever happens to the process that made it.
//!
//! A small shell, the janitor, reads from a pipe that only we hold. When the pipe closes, because the [`Scratch`] was
//! dropped or because this process died in any way, it waits for the processes that live in the directory, unmounts
//! what is mounted below it and removes it. What a killed janitor leaves behind, the next [`Scratch::new`] removes.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Doing, Result};

const PREFIX: &str = "layerkeeper-test-";
const OWNER: &str = ".owner";
const RUNNING: &str = ".running";

const JANITOR: &str = r#"
trap '' INT TERM HUP
dir=$1
while read -r _; do :; done
flock -x -w 30 "$dir/.running" true
mounts=
while read -r _ at _; do case $at in "$dir"/*) mounts="$at $mounts" ;; esac; done </proc/self/mounts
for at in $mounts; do umount -l "$at"; done
rm -rf --one-file-system "$dir"
"#;

/// A temporary directory with a janitor.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    janitor: Child,
}

impl Scratch {
    /// Makes a directory below the system's temporary one; `label` becomes part of its name.
    pub fn new(label: &str) -> Result<Self> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let path = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{label}-"))
            .tempdir()
            .doing(|| "making a temporary directory".into())?
            .keep();
        let owner = lock_file(&path.join(OWNER)).doing(|| format!("locking {}", path.display()))?;
        let _ = File::create(path.join(RUNNING)).doing(|| format!("writing into {}", path.display()))?;
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "layerkeeper-janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            // the lock lives as long as somebody holds this file open: that tells the sweep that a janitor is there
            .stdout(owner)
            .stderr(Stdio::null())
            // a Ctrl-C in the terminal is for us, and our end is the janitor's signal
            .process_group(0)
            .spawn()
            .doing(|| "starting sh".into())?;
        Ok(Self { path, janitor })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that every process living in this directory holds locked (shared).
    pub(crate) fn running_lock(&self) -> PathBuf {
        self.path.join(RUNNING)
    }
}

impl Drop for Scratch {
    /// Returns when the directory is gone.
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Removes directories whose janitor was killed: nobody holds their lock any more.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&path) {
            let _ = Command::new("sh").args(["-c", JANITOR, "sweep"]).arg(&path).stdin(Stdio::null()).status();
        }
    }
}

fn is_abandoned(dir: &Path) -> bool {
    let age = |path: &Path| path.metadata().and_then(|m| m.modified()).map(|at| SystemTime::now().duration_since(at));
    // another process may be between making the directory and locking it
    let old = matches!(age(dir), Ok(Ok(age)) if age > Duration::from_secs(60));
    let unlocked = |name: &str| lock_file(&dir.join(name)).is_ok();
    old && unlocked(OWNER) && unlocked(RUNNING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_goes_with_its_owner() {
        let scratch = Scratch::new("drop").unwrap();
        let path = scratch.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        assert!(!is_abandoned(&path), "its janitor lives");
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_janitor_left_is_swept_later() {
        let mut scratch = Scratch::new("sweep").unwrap();
        let path = scratch.path().to_owned();
        scratch.janitor.kill().unwrap();
        drop(scratch);
        assert!(path.exists());
        assert!(!is_abandoned(&path), "it may be another process's newest");
        File::open(&path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(120)).unwrap();
        assert!(is_abandoned(&path));
        sweep();
        assert!(!path.exists());
    }
}
