//! Free space and inodes of the file systems that matter.

use std::io;
use std::path::{Path, PathBuf};

use layerkeeper_core::Bytes;

use crate::status::DiskStatus;

/// A file system at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// The same for all paths on it.
    pub id: u64,
    /// Bytes free to us.
    pub free: Bytes,
    /// Bytes in all.
    pub total: Bytes,
    /// Inodes free to us.
    pub free_inodes: u64,
    /// Inodes in all; 0 where the file system makes them as they are needed (btrfs).
    pub total_inodes: u64,
}

/// Reads file systems.
pub trait Disks: Send + Sync + 'static {
    /// The one on which this path lies.
    ///
    /// # Errors
    /// The path cannot be reached.
    fn look(&self, path: &Path) -> io::Result<FileSystem>;
}

/// This machine's own, by `statvfs`, which needs no read right on the directory itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisks;

impl Disks for SystemDisks {
    fn look(&self, path: &Path) -> io::Result<FileSystem> {
        let fs = rustix::fs::statvfs(path)?;
        Ok(FileSystem {
            id: fs.f_fsid,
            free: Bytes(fs.f_bavail.saturating_mul(fs.f_frsize)),
            total: Bytes(fs.f_blocks.saturating_mul(fs.f_frsize)),
            free_inodes: fs.f_favail,
            total_inodes: fs.f_files,
        })
    }
}

impl FileSystem {
    /// With less than so much used, what lies on a file system says little about what will.
    const ENOUGH_USED: u64 = 1_000_000_000;

    /// Where little is known: an inode for every 32 KiB; Python's packages take one for every 50 kB, npm's for every 10.
    const USUAL_DENSITY: f64 = 1.0 / 32_768.0;

    /// Inodes per byte, by what lies here already. Zero where inodes cannot run out.
    pub fn inode_density(&self) -> f64 {
        if self.total_inodes == 0 {
            return 0.0;
        }
        let used = self.total - self.free;
        let inodes = self.total_inodes.saturating_sub(self.free_inodes);
        if used.0 < Self::ENOUGH_USED { Self::USUAL_DENSITY } else { inodes as f64 / used.0 as f64 }
    }
}

/// The paths as people see them.
pub(crate) fn status(disks: &dyn Disks, paths: &[PathBuf], min_free: Bytes) -> Vec<DiskStatus> {
    let look = |path: &PathBuf| {
        let shown =
            DiskStatus { path: path.display().to_string(), min_free_bytes: min_free.0, ..DiskStatus::default() };
        match disks.look(path) {
            Ok(fs) => {
                DiskStatus { free_bytes: fs.free.0, total_bytes: fs.total.0, free_inodes: fs.free_inodes, ..shown }
            }
            Err(error) => DiskStatus { error: Some(error.to_string()), ..shown },
        }
    };
    paths.iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_are_counted_by_what_lies_here_already() {
        let fs = FileSystem { total: Bytes(10_000_000_000), free: Bytes(8_000_000_000), ..FileSystem::default() };
        assert_eq!(fs.inode_density(), 0.0, "btrfs makes them as they are needed");
        let fs = FileSystem { total_inodes: 600_000, free_inodes: 400_000, ..fs };
        assert_eq!(fs.inode_density(), 200_000.0 / 2_000_000_000.0);
        let fresh = FileSystem { free: Bytes(9_999_000_000), ..fs };
        assert_eq!(fresh.inode_density(), FileSystem::USUAL_DENSITY);
    }

    #[test]
    fn this_machine_has_a_disk() {
        let root = SystemDisks.look(Path::new("/")).unwrap();
        assert!(root.total > root.free && root.free > Bytes::ZERO, "{root:?}");
        assert!(SystemDisks.look(Path::new("/no/such/path")).is_err());
    }
}
