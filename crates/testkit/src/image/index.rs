//! Several manifests under one tag: platforms, what BuildKit attests of them, and its build caches.

use layerkeeper_core::{Bytes, Digest};
use serde_json::{Value, json};

use super::push::{full_name, push_blob, push_manifest, split};
use super::{Image, Layer, Media, Pushed, descriptor, layer_type};
use crate::error::Result;
use crate::registry::Registry;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// An index under construction.
#[derive(Debug, Clone)]
pub struct Index {
    images: Vec<Image>,
    attested: bool,
    media: Media,
}

/// What `docker buildx build --cache-to type=registry` leaves behind a tag: no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildCache {
    /// BuildKit's older form: an index whose entries are layers.
    Index,
    /// With `image-manifest=true`: a manifest whose config is BuildKit's.
    Manifest,
}

impl Index {
    /// An OCI index of these images, one per platform.
    pub fn of(images: impl IntoIterator<Item = Image>) -> Self {
        Self { images: images.into_iter().collect(), attested: false, media: Media::Oci }
    }

    /// With an attestation for each image, as buildx adds them since 0.10 (platform `unknown/unknown`).
    pub fn attested(mut self) -> Self {
        self.attested = true;
        self
    }

    /// As Docker's manifest list, where `media` is Docker's.
    pub fn media(mut self, media: Media) -> Self {
        self.media = media;
        self
    }

    /// Pushes it with all its images; the answer has one entry per image, in their order, whose `digest` is the index's.
    pub fn push(&self, registry: &Registry, name: &str) -> Result<Vec<Pushed>> {
        let (repository, tag) = split(name)?;
        let mut rows = Vec::new();
        let mut attestations = Vec::new();
        let mut all = Vec::new();
        for image in &self.images {
            let pushed = image.push_untagged(registry, repository)?;
            let mut row = descriptor(image.manifest_type(), pushed.manifest.digest, pushed.manifest.size.0 as usize);
            row["platform"] = json!({"architecture": pushed.platform.architecture, "os": pushed.platform.os});
            if let Some(variant) = &pushed.platform.variant {
                row["platform"]["variant"] = json!(variant);
            }
            rows.push(row);
            if self.attested {
                attestations.push(push_attestation(registry, repository, pushed.manifest.digest)?);
            }
            all.push(pushed);
        }
        rows.extend(attestations);
        let media_type = if self.media == Media::Docker { DOCKER_LIST } else { INDEX };
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": rows});
        let index = format!("{index:#}").into_bytes();
        push_manifest(registry, repository, tag, media_type, &index)?;
        for pushed in &mut all {
            pushed.name = full_name(registry, repository, tag)?;
            pushed.digest = Digest::of(&index);
            pushed.index_size = Some(Bytes(index.len() as u64));
        }
        Ok(all)
    }
}

impl BuildCache {
    /// Pushes such a cache with these layers; gives the digest that the tag shows.
    pub fn push(self, registry: &Registry, name: &str, layers: &[Layer]) -> Result<Digest> {
        let (repository, tag) = split(name)?;
        let mut rows = Vec::new();
        for layer in layers {
            let (blob, digest) = layer.blob()?;
            push_blob(registry, repository, digest, blob)?;
            rows.push(descriptor(layer_type(Media::Oci, layer.compression()), digest, blob.len()));
        }
        let config = json!({"layers": [], "records": []}).to_string().into_bytes();
        let digest = Digest::of(&config);
        push_blob(registry, repository, digest, &config)?;
        let config = descriptor(CACHE_CONFIG, digest, config.len());
        let (media_type, manifest) = match self {
            Self::Index => {
                rows.push(config);
                (INDEX, json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": rows}))
            }
            Self::Manifest => {
                let media_type = "application/vnd.oci.image.manifest.v1+json";
                (media_type, json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": rows}))
            }
        };
        let manifest = manifest.to_string().into_bytes();
        push_manifest(registry, repository, tag, media_type, &manifest)?;
        Ok(Digest::of(&manifest))
    }
}

/// BuildKit's attestation storage (`docs/attestations/attestation-storage.md`): an image that no platform runs.
fn push_attestation(registry: &Registry, repository: &str, of: Digest) -> Result<Value> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": "testkit", "digest": {"sha256": of.hex()}}],
        "predicate": {},
    });
    let statement = statement.to_string().into_bytes();
    let config = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&statement).to_string()]},
    });
    let config = config.to_string().into_bytes();
    let mut layer = descriptor("application/vnd.in-toto+json", Digest::of(&statement), statement.len());
    layer["annotations"] = json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"});
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor("application/vnd.oci.image.config.v1+json", Digest::of(&config), config.len()),
        "layers": [layer],
    });
    let manifest = manifest.to_string().into_bytes();
    push_blob(registry, repository, Digest::of(&statement), &statement)?;
    push_blob(registry, repository, Digest::of(&config), &config)?;
    let digest = Digest::of(&manifest);
    push_manifest(registry, repository, &digest.to_string(), media_type, &manifest)?;
    let mut row = descriptor(media_type, digest, manifest.len());
    row["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": of.to_string(),
    });
    row["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    Ok(row)
}
