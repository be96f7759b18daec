//! Images made without a network or a Docker, and pushed to a registry.

mod index;
mod layer;
mod push;
mod pushed;
pub mod random;

use layerkeeper_core::{Compression, Digest, Platform};
use serde_json::{Value, json};

pub use index::{BuildCache, Index};
pub use layer::Layer;
pub use pushed::{Pushed, PushedLayer};

use crate::error::Result;

/// Whose media types a manifest uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// `application/vnd.docker.…`: Docker image manifest v2 schema 2.
    Docker,
    /// `application/vnd.oci.…`
    Oci,
}

/// An image under construction: one platform.
#[derive(Debug, Clone)]
pub struct Image {
    steps: Vec<Step>,
    env: Vec<String>,
    labels: Vec<(String, String)>,
    volumes: Vec<String>,
    command: Vec<String>,
    platform: Platform,
    media: Media,
    created: String,
}

#[derive(Debug, Clone)]
enum Step {
    Layer(Layer),
    /// An instruction that made no layer.
    Empty(String),
}

/// An image as it goes to a registry.
#[derive(Debug, Clone)]
pub(crate) struct Assembled<'a> {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<(&'a Layer, &'a [u8], Digest)>,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
            labels: Vec::new(),
            volumes: Vec::new(),
            command: vec!["/bin/app".into()],
            platform: Platform { os: "linux".into(), architecture: "amd64".into(), variant: None },
            media: Media::Oci,
            created: "2024-05-01T12:00:00Z".into(),
        }
    }
}

impl Image {
    /// An image without layers, for linux/amd64, with OCI media types.
    pub fn new() -> Self {
        Self::default()
    }

    /// An image that starts with all of `base`: layers, history and configuration.
    pub fn from(base: &Self) -> Self {
        base.clone()
    }

    /// Adds a layer.
    pub fn layer(mut self, layer: Layer) -> Self {
        self.steps.push(Step::Layer(layer));
        self
    }

    /// Adds an instruction to the history that made no layer (`ENV A=1`).
    pub fn empty(mut self, instruction: &str) -> Self {
        self.steps.push(Step::Empty(instruction.into()));
        self
    }

    /// Sets a variable, which is an instruction without a layer.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push(format!("{key}={value}"));
        self.empty(&format!("ENV {key}={value}"))
    }

    /// Sets a label, which is an instruction without a layer.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self.empty(&format!("LABEL {key}={value}"))
    }

    /// Declares a volume, which is an instruction without a layer.
    pub fn volume(mut self, path: &str) -> Self {
        self.volumes.push(path.into());
        self.empty(&format!("VOLUME [{path}]"))
    }

    /// Sets the command, which is an instruction without a layer.
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.into()).collect();
        self.empty(&format!("CMD {command:?}"))
    }

    /// For another architecture than amd64.
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.platform.architecture = architecture.into();
        self
    }

    /// With other media types than OCI's.
    pub fn media(mut self, media: Media) -> Self {
        self.media = media;
        self
    }

    /// The time of the build (RFC 3339), which engines show as Created.
    pub fn created(mut self, time: &str) -> Self {
        self.created = time.into();
        self
    }

    /// Its layers, bottom first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.steps.iter().filter_map(|step| match step {
            Step::Layer(layer) => Some(layer),
            Step::Empty(_) => None,
        })
    }

    /// The platform it is for.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(crate) fn manifest_type(&self) -> &'static str {
        match self.media {
            Media::Docker => "application/vnd.docker.distribution.manifest.v2+json",
            Media::Oci => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    pub(crate) fn assemble(&self) -> Result<Assembled<'_>> {
        let layer = |layer| Layer::blob(layer).map(|(blob, digest)| (layer, blob, digest));
        let layers = self.layers().map(layer).collect::<Result<Vec<_>>>()?;
        let config = self.config().to_string().into_bytes();
        let config_type = match self.media {
            Media::Docker => "application/vnd.docker.container.image.v1+json",
            Media::Oci => "application/vnd.oci.image.config.v1+json",
        };
        let rows = layers
            .iter()
            .map(|(layer, blob, digest)| descriptor(layer_type(self.media, layer.compression()), *digest, blob.len()));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.manifest_type(),
            "config": descriptor(config_type, Digest::of(&config), config.len()),
            "layers": rows.collect::<Vec<_>>(),
        });
        // registries and engines take the manifest as bytes, so this text is what the digest is of
        Ok(Assembled { manifest: format!("{manifest:#}").into_bytes(), config, layers })
    }

    /// The config, as in the OCI image specification's `config.md`.
    fn config(&self) -> Value {
        let history = self.steps.iter().map(|step| match step {
            Step::Layer(layer) => json!({"created": self.created, "created_by": layer.created_by}),
            Step::Empty(by) => json!({"created": self.created, "created_by": by, "empty_layer": true}),
        });
        let labels: serde_json::Map<_, _> = self.labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let volumes: serde_json::Map<_, _> = self.volumes.iter().map(|path| (path.clone(), json!({}))).collect();
        let mut config = json!({
            "created": self.created,
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "config": {"Env": self.env, "Cmd": self.command, "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": self.layers().map(|l| l.diff_id().to_string()).collect::<Vec<_>>()},
            "history": history.collect::<Vec<_>>(),
        });
        if !volumes.is_empty() {
            config["config"]["Volumes"] = json!(volumes);
        }
        if let Some(variant) = &self.platform.variant {
            config["variant"] = json!(variant);
        }
        config
    }
}

pub(crate) fn descriptor(media_type: &str, digest: Digest, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

pub(crate) fn layer_type(media: Media, compression: Compression) -> &'static str {
    match (media, compression) {
        (Media::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
        (Media::Docker, Compression::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        (Media::Docker, Compression::Zstd) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        (Media::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
        (Media::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
        (Media::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}
