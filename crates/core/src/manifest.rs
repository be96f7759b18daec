//! What a registry says an image is made of, reduced to what planning needs.
//!
//! Sources: OCI image specification `manifest.md`, `config.md`; Docker image manifest v2 schema 2.

use std::fmt;

use crate::bytes::Bytes;
use crate::digest::{DiffId, Digest};

/// How a layer blob is compressed, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// A plain tar.
    None,
    /// `…tar+gzip`, or Docker's `…diff.tar.gzip`.
    Gzip,
    /// `…tar+zstd`; Docker Engine takes it from version 23 on.
    Zstd,
}

/// A blob, as a manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Digest of the bytes as transferred.
    pub digest: Digest,
    /// Length of the bytes as transferred.
    pub size: Bytes,
}

/// A layer of an image: what moves over the wire, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestLayer {
    /// The compressed blob.
    pub blob: Descriptor,
    /// How it is compressed.
    pub compression: Compression,
    /// The uncompressed content, from the config's `rootfs.diff_ids` at the same place.
    pub diff_id: DiffId,
    /// The instruction that made it, from the config's history (empty layers matched up), where the history says.
    pub created_by: Option<String>,
}

/// `os/architecture[/variant]`, in the words of Go's GOOS and GOARCH.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
}

/// One platform's image as the registry holds it: manifest and config together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    /// What the reference resolved to: the index's digest when there is one, else the manifest's.
    pub resolved: Digest,
    /// The platform's own manifest.
    pub manifest: Descriptor,
    /// The config blob.
    pub config: Descriptor,
    /// Size of the index that the reference resolved to, when it was one.
    pub index_size: Option<Bytes>,
    /// The platform that the config names.
    pub platform: Platform,
    /// Bottom layer first.
    pub layers: Vec<ManifestLayer>,
}

impl ImageManifest {
    /// Sum of the layers' compressed sizes; a blob that stands twice counts twice.
    pub fn layer_bytes(&self) -> Bytes {
        self.layers.iter().map(|layer| layer.blob.size).sum()
    }

    /// The uncompressed layers, bottom first.
    pub fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// Is this one of the digests under which a registry or an engine may know this image?
    pub fn is_known_as(&self, digest: Digest) -> bool {
        digest == self.resolved || digest == self.manifest.digest
    }

    /// Bytes besides the layers that a pull of an image not yet here moves: index, manifest and config.
    pub fn metadata_bytes(&self) -> Bytes {
        self.index_size.unwrap_or_default() + self.manifest.size + self.config.size
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
