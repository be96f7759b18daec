//! The file systems that matter.

use std::fs;
use std::path::{Path, PathBuf};

use layerkeeper_core::{Inventory, StoreKind};
use layerkeeper_keeper::{Disks, SystemDisks};

use super::files::{Files, Root};
use crate::config::Config;
use crate::doctor::disk::Disk;

const CONTAINERD: &str = "/var/lib/containerd";

/// The engine's data root, containerd's where it has one of its own, and what the configuration names.
pub fn look(config: &Config, inventory: Option<&Inventory>, root: &Root) -> Vec<Disk> {
    let see = |path: PathBuf, role| {
        let seen = SystemDisks.look(&path).map_err(|error| error.to_string());
        Disk { path, role, seen }
    };
    let mut disks = Vec::new();
    disks.extend(data_root(config, inventory).map(|path| see(path, "the engine's data root")));
    let containerd = inventory.filter(|inventory| inventory.engine.store == StoreKind::Containerd);
    if let (Some(_), Some(data_root)) = (containerd, disks.first())
        && let Some(path) = containerd_root(&data_root.path, root)
    {
        let other = see(path, "containerd's root");
        // on the data root's own file system there is nothing more to see
        let id = |disk: &Disk| disk.seen.as_ref().ok().map(|fs| fs.id);
        if id(&other) != id(data_root) {
            disks.push(other);
        }
    }
    disks.extend(config.settings.disk_paths.iter().map(|path| see(path.clone(), "[disk] paths")));
    disks
}

fn data_root(config: &Config, inventory: Option<&Inventory>) -> Option<PathBuf> {
    let told = inventory.map(|inventory| PathBuf::from(&inventory.engine.data_root));
    config.settings.data_root.clone().or(told)
}

/// Where containerd keeps blobs and snapshots: the engine's own containerd below the data root, another one where its
/// configuration says.
fn containerd_root(data_root: &Path, root: &Root) -> Option<PathBuf> {
    // the folder cannot be seen without rights on the data root; then a containerd of the system's is more likely
    if data_root.join("containerd/daemon").is_dir() {
        return None;
    }
    let text = Files::new(root).text("/etc/containerd/config.toml").unwrap_or_default();
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let named = table.get("root").and_then(toml::Value::as_str).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(CONTAINERD))).filter(|path| path.is_dir())
}

/// Does the data root of an engine that runs the containerd store hold images of the classic one? Only root can see.
pub fn holds_other_store(config: &Config, inventory: &Inventory) -> bool {
    if inventory.engine.store == StoreKind::Graphdriver {
        return false;
    }
    let Some(data_root) = data_root(config, Some(inventory)) else { return false };
    let drivers = fs::read_dir(data_root.join("image")).into_iter().flatten().flatten();
    let mut images = drivers.map(|driver| driver.path().join("imagedb/content/sha256"));
    images.any(|folder| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerds_root_is_read_from_its_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (Root::new(dir.path()), dir.path().join("other"));
        fs::create_dir_all(root.at("/etc/containerd")).unwrap();
        fs::create_dir(&other).unwrap();
        let text = format!("version = 2\nroot = \"{}\" # a disk of its own\n[plugins]\n", other.display());
        fs::write(root.at("/etc/containerd/config.toml"), text).unwrap();
        assert_eq!(containerd_root("/none".as_ref(), &root), Some(other));
    }
}
