//! Images of the fake: stacks of layers with made-up, yet stable digests.

use layerkeeper_core::manifest::{Compression, ImageManifest, ManifestLayer, Platform};
use layerkeeper_core::{Bytes, Descriptor, DiffId, Digest, Timestamp};

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeLayer {
    /// Its content.
    pub diff_id: DiffId,
    /// The blob that moves.
    pub blob: Digest,
    /// The blob's size.
    pub size: Bytes,
    /// What it takes unpacked.
    pub unpacked: Bytes,
    /// Its files, path and content: few and small, whatever its size.
    pub files: Vec<(String, Vec<u8>)>,
    /// Its symbolic links, path and target.
    pub links: Vec<(String, String)>,
    /// The instruction that made it, where its config is to say.
    pub created_by: Option<String>,
}

/// An image, as a registry would hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeImage {
    /// Goes into its config: two images of the same layers differ by it.
    pub label: String,
    /// Bottom first.
    pub layers: Vec<FakeLayer>,
    /// Build time.
    pub created: Timestamp,
    /// Does a tag resolve to an index around the manifest?
    pub indexed: bool,
}

impl FakeLayer {
    /// The layer of that name; the same name is the same content in the same blob.
    pub fn new(name: &str, size: u64) -> Self {
        Self::compressed_as(name, "gzip", size)
    }

    /// The same content in another blob, as another compressor would make it.
    pub fn compressed_as(name: &str, how: &str, size: u64) -> Self {
        Self {
            diff_id: DiffId::of(format!("layer {name}").as_bytes()),
            blob: Digest::of(format!("blob {name} {how} {size}").as_bytes()),
            size: Bytes(size),
            unpacked: Bytes(size.saturating_mul(3)),
            files: vec![(format!("/data/{}/0000.bin", name.replace(' ', "-")), name.as_bytes().to_vec())],
            links: Vec::new(),
            created_by: None,
        }
    }

    /// The same layer with these files in it instead.
    #[must_use]
    pub fn with_files(mut self, files: &[(&str, &str)]) -> Self {
        self.files = files.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect();
        self
    }

    /// The same layer with these symbolic links in it, path and target.
    #[must_use]
    pub fn with_links(mut self, links: &[(&str, &str)]) -> Self {
        self.links = links.iter().map(|(path, target)| ((*path).to_owned(), (*target).to_owned())).collect();
        self
    }

    /// The same layer, made by this instruction.
    #[must_use]
    pub fn made_by(mut self, instruction: &str) -> Self {
        self.created_by = Some(instruction.to_owned());
        self
    }
}

impl FakeImage {
    /// An image of these layers (name and size of the blob), bottom first.
    pub fn new(label: &str, layers: &[(&str, u64)]) -> Self {
        Self::of_layers(label, layers.iter().map(|(name, size)| FakeLayer::new(name, *size)).collect())
    }

    /// An image of these layers, bottom first.
    pub fn of_layers(label: &str, layers: Vec<FakeLayer>) -> Self {
        Self { label: label.to_owned(), layers, created: Timestamp(1_700_000_000_000), indexed: false }
    }

    /// The same image inside an index, as BuildKit pushes it.
    #[must_use]
    pub fn in_index(mut self) -> Self {
        self.indexed = true;
        self
    }

    /// Digest of the config: the image's id on the classic store.
    pub fn config_digest(&self) -> Digest {
        Digest::of(format!("config {}", self.text()).as_bytes())
    }

    /// Digest of the platform's manifest.
    pub fn manifest_digest(&self) -> Digest {
        Digest::of(format!("manifest {}", self.text()).as_bytes())
    }

    /// What a tag resolves to: the index where there is one, else the manifest.
    pub fn resolved(&self) -> Digest {
        if self.indexed { Digest::of(format!("index {}", self.text()).as_bytes()) } else { self.manifest_digest() }
    }

    /// Uncompressed layers, bottom first.
    pub fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// The image as the registry client reads it.
    pub fn to_manifest(&self) -> ImageManifest {
        let layer = |layer: &FakeLayer| ManifestLayer {
            blob: Descriptor { digest: layer.blob, size: layer.size },
            compression: Compression::Gzip,
            diff_id: layer.diff_id,
            created_by: layer.created_by.clone(),
        };
        ImageManifest {
            resolved: self.resolved(),
            manifest: Descriptor { digest: self.manifest_digest(), size: Bytes(700) },
            config: Descriptor { digest: self.config_digest(), size: Bytes(1_500) },
            index_size: self.indexed.then_some(Bytes(850)),
            platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None },
            layers: self.layers.iter().map(layer).collect(),
        }
    }

    fn text(&self) -> String {
        let blobs: Vec<String> = self.layers.iter().map(|layer| layer.blob.hex()).collect();
        format!("{} {} {}", self.label, self.created.0, blobs.join(" "))
    }
}
