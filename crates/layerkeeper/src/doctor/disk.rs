//! Room, in bytes and inodes, on every file system that the daemon watches.

use std::path::PathBuf;

use layerkeeper_core::Bytes;
use layerkeeper_keeper::FileSystem;

use super::finding::{Finding, Level};
use crate::render::amount::size;

/// A file system that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// A path on it.
    pub path: PathBuf,
    /// What lies there.
    pub role: &'static str,
    /// What was seen, or why nothing was.
    pub seen: Result<FileSystem, String>,
}

/// Of a hundred inodes, so many free: fewer are a warning.
const FEW: u64 = 10;
/// Fewer are a problem.
const NEARLY_NONE: u64 = 2;

/// Judges each. A deploy of `budget` compressed bytes needs about three times that while it is pulled: the compressed
/// layers, and twice as much unpacked.
pub fn judge(disks: &[Disk], min_free: Bytes, budget: Bytes) -> Vec<Finding> {
    disks.iter().map(|disk| one(disk, min_free, budget)).collect()
}

fn one(disk: &Disk, min_free: Bytes, budget: Bytes) -> Finding {
    let at = format!("{} ({})", disk.path.display(), disk.role);
    let fs = match &disk.seen {
        Ok(fs) => fs,
        Err(error) => {
            return Finding::new(Level::Warning, "disk.unreadable", format!("{at} cannot be looked at: {error}"))
                .why("Where the room is not known, a pull may fill the disk")
                .mend("set [engine] data_root or [disk] paths to a path that this host has");
        }
    };
    let room = format!(
        "{} of {} free{}",
        size(fs.free.0),
        size(fs.total.0),
        share_of_inodes(fs).map(|share| format!(", {share} % of the inodes")).unwrap_or_default()
    );
    let floor = format!("min_free is {}", size(min_free.0));
    let more = "layerkeeper prune --dry-run shows what may go; docker builder prune frees the build cache; docker system \
                df tells the rest";
    let need = min_free + Bytes(budget.0.saturating_mul(3));
    if fs.free < min_free {
        return Finding::new(Level::Problem, "disk.low", format!("{at}: {room}; {floor}"))
            .why("Every pull is refused until there is room, except where old tags may make it")
            .mend(more);
    }
    if let Some(share) = share_of_inodes(fs).filter(|share| *share < FEW) {
        let level = if share < NEARLY_NONE { Level::Problem } else { Level::Warning };
        return Finding::new(level, "disk.inodes", format!("{at}: {room}"))
            .why("Images of Python and npm have very many small files; without inodes a pull fails with \"no space left\" on \
                  a disk that looks half empty")
            .mend(more);
    }
    if fs.free < need {
        let what = format!(
            "{at}: {room}; {floor}, and a deploy of {} takes about {} more",
            size(budget.0),
            size(need.0 - min_free.0)
        );
        return Finding::new(Level::Warning, "disk.tight", what)
            .why("The next deploy may have to remove old tags first, or be refused")
            .mend(more);
    }
    Finding::ok("disk.ok", format!("{at}: {room}; {floor}"))
}

/// Of a hundred; none where inodes are made as they are needed.
fn share_of_inodes(fs: &FileSystem) -> Option<u64> {
    (fs.free_inodes.saturating_mul(100)).checked_div(fs.total_inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_inodes_are_both_judged() {
        let fs = |gigabytes: u64, free_inodes, total_inodes| {
            let free = Bytes(gigabytes * 1_000_000_000);
            Ok(FileSystem { id: 1, free, total: Bytes(100_000_000_000), free_inodes, total_inodes })
        };
        for (seen, id, level) in [
            (fs(50, 50, 100), "disk.ok", Level::Ok),
            (fs(50, 0, 0), "disk.ok", Level::Ok),
            (fs(3, 50, 100), "disk.low", Level::Problem),
            (fs(4, 50, 100), "disk.tight", Level::Warning),
            (fs(5, 50, 100), "disk.ok", Level::Ok),
            (fs(50, 9, 100), "disk.inodes", Level::Warning),
            (fs(50, 1, 100), "disk.inodes", Level::Problem),
            (Err("No such file or directory".to_owned()), "disk.unreadable", Level::Warning),
        ] {
            let disk = Disk { path: "/var/lib/docker".into(), role: "the engine's data root", seen };
            let found = judge(&[disk], Bytes(4_000_000_000), Bytes(300_000_000)).remove(0);
            assert_eq!((found.id, found.level), (id, level), "{found:?}");
            assert!(found.what.starts_with("/var/lib/docker (the engine's data root)"), "{}", found.what);
        }
    }
}
