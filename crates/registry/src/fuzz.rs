//! A door for the fuzz target `registry_documents` and for the replay of its corpus: an image out of documents that no
//! registry sent. Sizes and digests are not compared with the bytes; the session does that.

use layerkeeper_core::{Bytes, Descriptor, Digest, ImageManifest, Platform, Reference};

use crate::error::Error;
use crate::image;
use crate::wire::{self, Document};

/// Reads an index, the manifest and its config, or a manifest and its config.
///
/// # Errors
/// As for a registry that sent them; a document that is missing is an empty one.
pub fn image(reference: &Reference, engine: &Platform, documents: &[&[u8]]) -> Result<ImageManifest, Error> {
    let mut documents = documents.iter().copied();
    let mut next = || documents.next().unwrap_or_default();
    let first = next();
    let resolved = Descriptor { digest: Digest::of(first), size: Bytes(first.len() as u64) };
    let (manifest, index_size, document) = match wire::document(first, "", "the first document")? {
        Document::Index(entries) => {
            let chosen = image::choose(reference, &entries, engine)?;
            (chosen, Some(resolved.size), wire::document(next(), "", "the manifest")?)
        }
        document => (resolved.clone(), None, document),
    };
    let (config, layers) = image::listed(reference, document)?;
    let parsed = wire::config(next(), "the config")?;
    Ok(ImageManifest {
        resolved: resolved.digest,
        manifest,
        platform: image::platform_of(reference, &parsed, engine)?,
        layers: image::layers(reference, &layers, &parsed)?,
        config,
        index_size,
    })
}

/// First, last and length of a `Content-Range`; none where it is none.
pub fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    crate::client::content_range(text)
}
