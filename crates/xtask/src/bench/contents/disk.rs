//! The engine's own disk: where it keeps an image's files, and reading them there.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use layerkeeper_testkit::{Engine, EngineKind};
use ring::digest::SHA256;
use rustix::fs::{Advice, fadvise};

use super::venv::PLACE;

const PIECE: usize = 64 * 1024;

/// The directories of all layers that have the files.
pub fn places(engine: &Engine) -> Result<Vec<PathBuf>> {
    let (layers, inside) = match engine.kind() {
        EngineKind::A | EngineKind::B => ("overlay2", "diff"),
        EngineKind::C => ("containerd/daemon/io.containerd.snapshotter.v1.overlayfs/snapshots", "fs"),
    };
    let layers = engine.data_root().join(layers);
    let layers = fs::read_dir(&layers).with_context(|| format!("cannot read {}", layers.display()))?;
    let places = layers.flatten().map(|layer| layer.path().join(inside).join(PLACE));
    Ok(places.filter(|place| place.is_dir()).collect())
}

/// Drops these files from memory; only from there, so they are written first.
pub fn forget(places: &[PathBuf]) -> Result<()> {
    ensure!(Command::new("sync").status()?.success(), "sync failed");
    each(places, &mut |path| Ok(fadvise(File::open(path)?, 0, None, Advice::DontNeed)?))
}

/// Reads them all and takes the SHA-256 of each; how many files and bytes that were.
pub fn hash(places: &[PathBuf]) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let mut piece = vec![0; PIECE];
    each(places, &mut |path| {
        let mut file = File::open(path)?;
        let mut hash = ring::digest::Context::new(&SHA256);
        loop {
            let length = file.read(&mut piece)?;
            if length == 0 {
                break;
            }
            hash.update(&piece[..length]);
            bytes += length as u64;
        }
        files += 1;
        std::hint::black_box(hash.finish());
        Ok(())
    })?;
    Ok((files, bytes))
}

/// What lies below a folder, in bytes of the disk.
pub fn size(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // the engine works meanwhile: what has gone takes no room
        let Ok(about) = entry.metadata() else { continue };
        size += about.blocks() * 512;
        if about.is_dir() {
            size += self::size(&entry.path())?;
        }
    }
    Ok(size)
}

fn each(places: &[PathBuf], act: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for place in places {
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => each(&[entry.path()], act)?,
                kind if kind.is_file() => act(&entry.path())?,
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use layerkeeper_testkit::Scratch;

    use super::*;

    #[test]
    fn every_file_below_is_read_once() {
        let scratch = Scratch::new("disk").unwrap();
        let folder = scratch.path().join("a");
        fs::create_dir_all(folder.join("b/c")).unwrap();
        fs::write(folder.join("one"), [1; 70_000]).unwrap();
        fs::write(folder.join("b/c/two"), [2; 5]).unwrap();
        let places = [folder.clone()];
        forget(&places).unwrap();
        assert_eq!(hash(&places).unwrap(), (2, 70_005));
        assert!(size(&folder).unwrap() >= 70_005);
    }
}
