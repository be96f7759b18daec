//! What a stub registry holds: manifests and blobs of `acme/app`, written as builders write them.

use std::collections::HashMap;

use layerkeeper_core::Digest;
use serde_json::{Value, json};

use crate::stub::{Answer, Request};

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const BUILD_CACHE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// Documents by path (`manifests/v1`, `blobs/sha256:…`).
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    documents: HashMap<String, (String, Vec<u8>)>,
}

/// A document on the shelf.
#[derive(Debug, Clone)]
pub struct Stored {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
}

impl Stored {
    /// As manifests and indexes list it.
    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size })
    }

    /// As an index lists it for a platform.
    pub fn entry(&self, os: &str, architecture: &str) -> Value {
        let mut entry = self.descriptor();
        entry["platform"] = json!({ "os": os, "architecture": architecture });
        entry
    }
}

impl Shelf {
    /// Puts a document here, by its digest and under the tags.
    pub fn manifest(&mut self, media_type: &str, document: &Value, tags: &[&str]) -> Stored {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        for name in tags.iter().map(|tag| (*tag).to_owned()).chain([digest.to_string()]) {
            self.documents.insert(format!("manifests/{name}"), (media_type.to_owned(), bytes.clone()));
        }
        Stored { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
    }

    pub fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Stored {
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        self.documents.insert(format!("blobs/{digest}"), ("application/octet-stream".to_owned(), bytes));
        Stored { media_type: media_type.to_owned(), digest, size }
    }

    /// An image whose layers have these media types; the digests of layer N are those of `layer N` and `diff N`.
    pub fn image(&mut self, architecture: &str, layers: &[&str], tags: &[&str]) -> Stored {
        let diff_ids: Vec<_> =
            (0..layers.len()).map(|n| Digest::of(format!("diff {n}").as_bytes()).to_string()).collect();
        let steps = (0..layers.len()).map(|n| json!({ "created_by": format!("RUN step {n}") }));
        let env = json!({ "created_by": "ENV A=b", "empty_layer": true });
        let history: Vec<_> = std::iter::once(env).chain(steps).collect();
        let config = json!({
            "os": "linux", "architecture": architecture,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        });
        self.image_of(OCI_CONFIG, &config, layers, tags)
    }

    /// An image with a config of the test's own.
    pub fn image_of(&mut self, config_type: &str, config: &Value, layers: &[&str], tags: &[&str]) -> Stored {
        let config = self.blob(config_type, config.to_string().into_bytes());
        let layers: Vec<_> = layers.iter().enumerate().map(|(n, media_type)| layer(n, media_type)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(), "layers": layers,
        });
        self.manifest(OCI_MANIFEST, &manifest, tags)
    }

    pub fn index(&mut self, entries: &[Value], tags: &[&str]) -> Stored {
        self.manifest(OCI_INDEX, &json!({ "schemaVersion": 2, "manifests": entries }), tags)
    }

    /// Puts other bytes in the place of a document.
    pub fn spoil(&mut self, path: &str, spoil: impl FnOnce(&mut Vec<u8>)) {
        spoil(&mut self.documents.get_mut(path).unwrap().1);
    }

    pub fn remove(&mut self, path: &str) {
        self.documents.remove(path).unwrap();
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.documents.keys().map(String::as_str)
    }

    /// How a good registry answers.
    pub fn answer(&self, request: &Request) -> Answer {
        let path = request.path.strip_prefix("/v2/acme/app/").unwrap_or_default();
        match self.documents.get(path) {
            Some((media_type, bytes)) => Answer::new(200)
                .header("content-type", media_type)
                .header("docker-content-digest", Digest::of(bytes).to_string())
                .header("content-length", bytes.len().to_string())
                .body(bytes.clone()),
            None => {
                let error = json!({ "code": "MANIFEST_UNKNOWN", "message": "manifest unknown" });
                Answer::json(404, json!({ "errors": [error] }))
            }
        }
    }
}

fn layer(n: usize, media_type: &str) -> Value {
    let digest = Digest::of(format!("layer {n}").as_bytes()).to_string();
    json!({ "mediaType": media_type, "digest": digest, "size": 100 + n })
}
