//! Pushing, by the OCI distribution specification's "Push": blobs first, the manifest last.

use layerkeeper_core::{Bytes, Descriptor, Digest, ImageName, Tag};

use super::{Image, Pushed, PushedLayer};
use crate::error::{Error, Result};
use crate::registry::Registry;

impl Image {
    /// Pushes it as `name` (`acme/app:sha-1`). Blobs that the registry has are not sent again.
    pub fn push(&self, registry: &Registry, name: &str) -> Result<Pushed> {
        let (repository, tag) = split(name)?;
        let mut pushed = self.push_as(registry, repository, tag)?;
        pushed.name = full_name(registry, repository, tag)?;
        Ok(pushed)
    }

    /// Pushes it under its digest only, as an index wants it.
    pub(super) fn push_untagged(&self, registry: &Registry, repository: &str) -> Result<Pushed> {
        let digest = Digest::of(&self.assemble()?.manifest);
        self.push_as(registry, repository, &digest.to_string())
    }

    fn push_as(&self, registry: &Registry, repository: &str, selector: &str) -> Result<Pushed> {
        let assembled = self.assemble()?;
        for (_, blob, digest) in &assembled.layers {
            push_blob(registry, repository, *digest, blob)?;
        }
        let config = Descriptor { digest: Digest::of(&assembled.config), size: size(&assembled.config) };
        push_blob(registry, repository, config.digest, &assembled.config)?;
        push_manifest(registry, repository, selector, self.manifest_type(), &assembled.manifest)?;
        let digest = Digest::of(&assembled.manifest);
        let layer = |(layer, blob, digest): &(&super::Layer, &[u8], Digest)| PushedLayer {
            blob: *digest,
            size: size(blob),
            diff_id: layer.diff_id(),
            compression: layer.compression(),
            created_by: layer.created_by.clone(),
        };
        Ok(Pushed {
            name: full_name(registry, repository, "untagged")?,
            digest,
            manifest: Descriptor { digest, size: size(&assembled.manifest) },
            index_size: None,
            config,
            layers: assembled.layers.iter().map(layer).collect(),
            platform: self.platform().clone(),
        })
    }
}

/// Puts a blob into a repository; a no-op where it is there.
pub(crate) fn push_blob(registry: &Registry, repository: &str, digest: Digest, blob: &[u8]) -> Result<()> {
    let server = registry.api();
    let ask = |method, path: &str| registry.request(&server, method, path, repository);
    if ask("HEAD", &format!("/v2/{repository}/blobs/{digest}")).send()?.status == 200 {
        return Ok(());
    }
    let started = ask("POST", &format!("/v2/{repository}/blobs/uploads/")).send()?.expect(&[202])?;
    let location = started.header("location").ok_or_else(|| Error::failed("starting an upload", "no Location"))?;
    let separator = if location.contains('?') { '&' } else { '?' };
    ask("PUT", &format!("{location}{separator}digest={digest}"))
        .header("Content-Type", "application/octet-stream")
        .body(blob)
        .send()?
        .expect(&[201])?;
    Ok(())
}

/// Puts a manifest or an index into a repository, under a tag or its digest.
pub(crate) fn push_manifest(
    registry: &Registry,
    repository: &str,
    selector: &str,
    media_type: &str,
    manifest: &[u8],
) -> Result<()> {
    let server = registry.api();
    registry
        .request(&server, "PUT", &format!("/v2/{repository}/manifests/{selector}"), repository)
        .header("Content-Type", media_type)
        .body(manifest)
        .send()?
        .expect(&[201])?;
    Ok(())
}

pub(crate) fn split(name: &str) -> Result<(&str, &str)> {
    name.rsplit_once(':').ok_or_else(|| Error::failed(format!("pushing {name:?}"), "it has no tag"))
}

pub(crate) fn full_name(registry: &Registry, repository: &str, tag: &str) -> Result<ImageName> {
    let failed = |e| Error::failed(format!("naming {repository}:{tag}"), e);
    let tag: Tag = tag.parse().map_err(failed)?;
    let repository = format!("{}/{repository}", registry.host()).parse::<layerkeeper_core::Repository>();
    Ok(repository.map_err(failed)?.tagged(tag))
}

fn size(bytes: &[u8]) -> Bytes {
    Bytes(bytes.len() as u64)
}
