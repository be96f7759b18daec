//! Changes to what a registry holds, beyond its API where the API has no way.

use std::fs;

use layerkeeper_core::Digest;

use super::Registry;
use crate::error::{Doing, Error, Result};

impl Registry {
    /// Forgets a tag; the manifest stays. (distribution 2.8 has no API for that, so this goes to its storage.)
    pub fn delete_tag(&self, repository: &str, tag: &str) -> Result<()> {
        let path = self.storage().join("repositories").join(repository).join("_manifests/tags").join(tag);
        fs::remove_dir_all(&path).doing(|| format!("removing the tag {repository}:{tag}"))
    }

    /// Deletes a manifest, and with it all tags that show it.
    pub fn delete_manifest(&self, repository: &str, digest: Digest) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{digest}");
        self.request(&self.api(), "DELETE", &path, repository).send()?.expect(&[202])?;
        Ok(())
    }

    /// Changes one byte of a blob in storage: it keeps its length and no longer matches its digest.
    pub fn corrupt_blob(&self, digest: Digest) -> Result<()> {
        let hex = digest.hex();
        let path = self.storage().join("blobs/sha256").join(&hex[..2]).join(&hex).join("data");
        let doing = || format!("changing the blob {digest}");
        let mut bytes = fs::read(&path).doing(doing)?;
        let middle = bytes.len() / 2;
        let byte = bytes.get_mut(middle).ok_or_else(|| Error::failed(doing(), "it is empty"))?;
        *byte ^= 0xff;
        fs::write(&path, bytes).doing(doing)
    }

    /// Removes a blob from storage while manifests still list it.
    pub fn lose_blob(&self, digest: Digest) -> Result<()> {
        let hex = digest.hex();
        let path = self.storage().join("blobs/sha256").join(&hex[..2]).join(&hex);
        fs::remove_dir_all(&path).doing(|| format!("removing the blob {digest}"))
    }
}
