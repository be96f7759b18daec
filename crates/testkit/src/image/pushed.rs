//! What a push put into a registry: the truth that tests compare with.

use std::collections::HashSet;

use layerkeeper_core::manifest::ManifestLayer;
use layerkeeper_core::{
    Bytes, Compression, Descriptor, DiffId, Digest, ImageManifest, ImageName, Platform, Reference, Repository,
};

use crate::error::{Error, Result};

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its full name: `127.0.0.1:PORT/acme/app:sha-1`.
    pub name: ImageName,
    /// The digest that the tag shows: the index's where there is one.
    pub digest: Digest,
    /// This platform's manifest; the same digest where there is no index.
    pub manifest: Descriptor,
    /// Size of the index, where there is one.
    pub index_size: Option<Bytes>,
    /// The config blob.
    pub config: Descriptor,
    /// Bottom first; a blob that stands twice is listed twice.
    pub layers: Vec<PushedLayer>,
    /// The platform of this manifest.
    pub platform: Platform,
}

/// A layer in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedLayer {
    /// The blob's digest.
    pub blob: Digest,
    /// The blob's size.
    pub size: Bytes,
    /// The uncompressed content.
    pub diff_id: DiffId,
    /// How it is compressed.
    pub compression: Compression,
    /// The instruction in the history.
    pub created_by: String,
}

impl Pushed {
    /// The full name as text, as `docker pull` takes it.
    pub fn reference(&self) -> String {
        self.name.to_string()
    }

    /// The same image by another way to the same registry, such as a proxy at `host`.
    pub fn via(&self, host: &str) -> Result<Self> {
        let text = format!("{host}/{}", self.name.repository.path());
        let repository: Repository = text.parse().map_err(|e| Error::failed(format!("naming {text}"), e))?;
        Ok(Self { name: repository.tagged(self.name.tag.clone()), ..self.clone() })
    }

    /// `repository@digest`.
    pub fn by_digest(&self) -> Reference {
        self.name.repository.by_digest(self.digest)
    }

    /// The distinct layer blobs.
    pub fn layer_digests(&self) -> HashSet<Digest> {
        self.layers.iter().map(|layer| layer.blob).collect()
    }

    /// The uncompressed layers, bottom first.
    pub fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// The sum of the layers' sizes; a blob that stands twice counts twice.
    pub fn layer_bytes(&self) -> Bytes {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// What an engine that holds nothing fetches of layers: a blob that stands twice is fetched once.
    pub fn bytes_to_fetch(&self) -> Bytes {
        let mut seen = HashSet::new();
        self.layers.iter().filter(|layer| seen.insert(layer.blob)).map(|layer| layer.size).sum()
    }

    /// As the core's noun: what the registry client must make of it.
    pub fn image_manifest(&self) -> ImageManifest {
        let layer = |layer: &PushedLayer| ManifestLayer {
            blob: Descriptor { digest: layer.blob, size: layer.size },
            compression: layer.compression,
            diff_id: layer.diff_id,
            created_by: Some(layer.created_by.clone()),
        };
        ImageManifest {
            resolved: self.digest,
            manifest: self.manifest.clone(),
            config: self.config.clone(),
            index_size: self.index_size,
            platform: self.platform.clone(),
            layers: self.layers.iter().map(layer).collect(),
        }
    }
}
