//! Layers: deterministic tars, compressed in the ways that registries see.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use flate2::write::GzEncoder;
use layerkeeper_core::{Bytes, Compression, DiffId, Digest};

use super::random;
use crate::error::{Doing, Error, Result};

/// One layer. The same call makes the same bytes, on every machine.
#[derive(Debug, Clone)]
pub struct Layer {
    tar: Arc<Vec<u8>>,
    diff_id: DiffId,
    compression: Compression,
    level: u32,
    blob: Arc<OnceLock<(Vec<u8>, Digest)>>,
    pub(super) created_by: String,
}

impl Layer {
    /// A layer of files; paths have no leading slash (`opt/app/main.py`).
    pub fn files<P: AsRef<str>, C: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, C)>) -> Result<Self> {
        Self::tree(files, &[])
    }

    /// A layer of files and symbolic links, each link with where it leads. A leading slash of a path is left out.
    pub fn tree<P: AsRef<str>, C: AsRef<[u8]>>(
        files: impl IntoIterator<Item = (P, C)>,
        links: &[(String, String)],
    ) -> Result<Self> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let (path, content) = (path.as_ref().trim_start_matches('/'), content.as_ref());
            let mut header = tar::Header::new_gnu();
            header.set_mode(if path.contains("bin/") { 0o755 } else { 0o644 });
            header.set_size(content.len() as u64);
            header.set_mtime(1_700_000_000);
            tar.append_data(&mut header, path, content).doing(|| format!("packing {path}"))?;
        }
        for (path, target) in links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            header.set_mtime(1_700_000_000);
            let name = path.trim_start_matches('/');
            tar.append_link(&mut header, name, target).doing(|| format!("packing {path}"))?;
        }
        let tar = tar.into_inner().doing(|| "packing a layer".into())?;
        Ok(Self::tar(tar))
    }

    /// A layer with one file that no compression makes smaller; its blob is a little over `size` bytes long.
    pub fn random(seed: u64, size: Bytes) -> Result<Self> {
        Self::random_files(&format!("data/{seed}"), seed, 1, size)
    }

    /// A layer with this many files in a directory, `size` bytes in all, that no compression makes smaller.
    pub fn random_files(directory: &str, seed: u64, count: usize, size: Bytes) -> Result<Self> {
        Ok(Self::files(random::files(directory, seed, count, size))?.gzip(0))
    }

    /// A layer with one file of zeros: large on disk, tiny on the wire.
    pub fn zeros(path: &str, size: Bytes) -> Result<Self> {
        Self::files([(path, vec![0; size.0 as usize])])
    }

    /// A layer of this tar as it is, such as one that an engine saved.
    pub fn tar(tar: Vec<u8>) -> Self {
        Self {
            diff_id: DiffId::of(&tar),
            tar: Arc::new(tar),
            compression: Compression::Gzip,
            level: 6,
            blob: Arc::default(),
            created_by: "COPY . . # buildkit".into(),
        }
    }

    /// This content as a plain tar.
    pub fn uncompressed(self) -> Self {
        self.compressed(Compression::None, 0)
    }

    /// This content compressed with gzip (0 to 9; new layers have 6). Another level is another blob of the same diff id.
    pub fn gzip(self, level: u32) -> Self {
        self.compressed(Compression::Gzip, level)
    }

    /// This content compressed with zstd.
    pub fn zstd(self) -> Self {
        self.compressed(Compression::Zstd, 3)
    }

    /// The instruction to show in the image's history.
    pub fn created_by(mut self, instruction: &str) -> Self {
        self.created_by = instruction.into();
        self
    }

    /// The digest of the uncompressed tar.
    pub fn diff_id(&self) -> DiffId {
        self.diff_id
    }

    /// How it is compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The uncompressed size.
    pub fn unpacked(&self) -> Bytes {
        Bytes(self.tar.len() as u64)
    }

    /// What goes over the wire, and its digest.
    pub fn blob(&self) -> Result<(&[u8], Digest)> {
        if self.blob.get().is_none() {
            let blob = self.compress().map_err(|e| Error::failed("compressing a layer", e))?;
            let digest = Digest::of(&blob);
            let _ = self.blob.set((blob, digest));
        }
        let made = self.blob.get().map(|(blob, digest)| (blob.as_slice(), *digest));
        made.ok_or_else(|| Error::failed("compressing a layer", "nothing came of it"))
    }

    fn compressed(self, compression: Compression, level: u32) -> Self {
        Self { compression, level, blob: Arc::default(), ..self }
    }

    fn compress(&self) -> std::io::Result<Vec<u8>> {
        match self.compression {
            Compression::None => Ok(self.tar.to_vec()),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(self.level));
                encoder.write_all(&self.tar)?;
                encoder.finish()
            }
            Compression::Zstd => zstd::encode_all(self.tar.as_slice(), self.level as i32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_call_makes_the_same_blob_and_the_size_is_as_asked() {
        let make = || Layer::random(7, Bytes(100_000)).unwrap();
        let (one, two) = (make(), make());
        assert_eq!(one.blob().unwrap(), two.blob().unwrap());
        let size = one.blob().unwrap().0.len();
        assert!((100_000..110_000).contains(&size), "{size}");
        assert_ne!(Layer::random(8, Bytes(100_000)).unwrap().diff_id(), one.diff_id());
    }

    #[test]
    fn a_compression_changes_the_blob_and_not_the_content() {
        let layer = Layer::files([("a", "b".repeat(1000))]).unwrap();
        let variants = [layer.clone(), layer.clone().gzip(1), layer.clone().zstd(), layer.clone().uncompressed()];
        let digests: std::collections::HashSet<_> = variants.iter().map(|v| v.blob().unwrap().1).collect();
        assert_eq!(digests.len(), variants.len());
        assert!(variants.iter().all(|v| v.diff_id() == layer.diff_id()));
        assert_eq!(Digest::of(&layer.tar).to_string(), layer.diff_id().to_string());
    }
}
