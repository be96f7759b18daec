//! A small file system of our own, to run full.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use layerkeeper_core::Bytes;

use crate::error::{Doing, Error, Result};
use crate::scratch::Scratch;

/// A mounted ext4 file system in a file. Drop what uses it first: it is unmounted and removed with this.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    _scratch: Scratch,
}

impl Disk {
    /// Makes and mounts one of this size (sparse: it takes only what is written), with about this many inodes.
    pub fn ext4(size: Bytes, inodes: Option<u64>) -> Result<Self> {
        let scratch = Scratch::new("disk")?;
        let image = scratch.path().join("image");
        let path = scratch.path().join("mounted");
        let doing = || format!("making {}", image.display());
        File::create_new(&image).and_then(|file| file.set_len(size.0)).doing(doing)?;
        fs::create_dir(&path).doing(doing)?;
        let mut make = Command::new("mkfs.ext4");
        // no blocks for root alone: what statvfs calls free is what there is
        make.args(["-q", "-F", "-m", "0"]);
        if let Some(inodes) = inodes {
            make.arg("-N").arg(inodes.to_string());
        }
        run(make.arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).args([image.as_os_str(), path.as_ref() as &OsStr]))?;
        Ok(Self { path, _scratch: scratch })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it up until only this much is free (what is allocated counts, so this is quick).
    pub fn fill_to(&self, free: Bytes) -> Result<()> {
        let doing = || format!("filling {}", self.path.display());
        let stat = rustix::fs::statvfs(&self.path).map_err(std::io::Error::from).doing(doing)?;
        let now = Bytes(stat.f_bavail * stat.f_frsize);
        let file = File::options().create(true).append(true).open(self.path.join("filler")).doing(doing)?;
        let held = file.metadata().doing(doing)?.len();
        let more = (now - free).0;
        let flags = rustix::fs::FallocateFlags::empty();
        if more == 0 {
            return Ok(());
        }
        rustix::fs::fallocate(&file, flags, held, more).map_err(std::io::Error::from).doing(doing)
    }

    /// Fills it up to its last block, also while others write to it: they take part in the race for what is left.
    pub fn fill(&self) -> Result<()> {
        let doing = || format!("filling {}", self.path.display());
        let mut file = File::options().create(true).append(true).open(self.path.join("filler")).doing(doing)?;
        for block in [1 << 20, 4 << 10] {
            while file.write_all(&vec![0; block]).is_ok() {}
        }
        Ok(())
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().doing(|| format!("running {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("{command:?}"), String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_its_size_fills_up_and_goes() {
        let disk = Disk::ext4(Bytes(64 << 20), Some(1000)).unwrap();
        let path = disk.path().to_owned();
        let free = || {
            let stat = rustix::fs::statvfs(&path).unwrap();
            (stat.f_bavail * stat.f_frsize, stat.f_files)
        };
        let (before, inodes) = free();
        assert!(before < 64 << 20 && before > 40 << 20, "{before}");
        assert!(inodes < 2000, "{inodes}");
        disk.fill_to(Bytes(10 << 20)).unwrap();
        assert!(free().0.abs_diff(10 << 20) < 1 << 20, "{}", free().0);
        disk.fill().unwrap();
        assert!(fs::write(path.join("more"), vec![0; 256 << 10]).is_err());
        drop(disk);
        assert!(!path.exists());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(path.to_str().unwrap()));
    }
}
