//! Free space and inodes of the file systems that matter.

use std::path::{Path, PathBuf};

use layerkeeper_core::Bytes;

use crate::status::DiskStatus;

/// Reads each path's file system (`statvfs`, which needs no read right on the directory itself).
pub fn look(paths: &[PathBuf], min_free: Bytes) -> Vec<DiskStatus> {
    paths.iter().map(|path| look_at(path, min_free)).collect()
}

fn look_at(path: &Path, min_free: Bytes) -> DiskStatus {
    let shown = path.display().to_string();
    match rustix::fs::statvfs(path) {
        Ok(fs) => DiskStatus {
            path: shown,
            free_bytes: fs.f_bavail.saturating_mul(fs.f_frsize),
            total_bytes: fs.f_blocks.saturating_mul(fs.f_frsize),
            free_inodes: fs.f_favail,
            min_free_bytes: min_free.0,
            error: None,
        },
        Err(error) => DiskStatus {
            path: shown,
            min_free_bytes: min_free.0,
            error: Some(error.to_string()),
            ..DiskStatus::default()
        },
    }
}
