//! Reads the documents behind a reference: index, manifest and config, every one checked against its digest.

use layerkeeper_core::{Bytes, Descriptor, Digest, ImageManifest, Platform, Selector};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response};

use super::Session;
use crate::client::Resolved;
use crate::error::{Error, NotAnImage, printable};
use crate::wire::{self, Document};
use crate::{image, media_type, transport};

const LONGEST_MANIFEST: u64 = 4 << 20;
const LONGEST_CONFIG: u64 = 8 << 20;

/// A manifest's or index's bytes, checked, with the type that the registry gave them.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
}

impl Session<'_> {
    /// HEAD, then GET if need be; then also what was read.
    pub(crate) async fn resolve(&self) -> Result<(Resolved, Option<Raw>), Error> {
        let path = format!("manifests/{}", self.reference.selector);
        let response = match self.ask(Method::HEAD, &path, media_type::ACCEPT_MANIFESTS).await {
            Ok(response) => response,
            // some proxies before registries know no HEAD
            Err(Error::Server { status: 405 | 501, .. }) => return self.resolve_and_read().await,
            Err(error) => return Err(error),
        };
        let named = digest_header(response.headers());
        let digest = match (&self.reference.selector, named) {
            (Selector::Digest(wanted), Some(got)) if *wanted != got => {
                return Err(Error::DigestMismatch { what: self.reference.to_string(), wanted: *wanted, got });
            }
            (Selector::Digest(wanted), _) => *wanted,
            (Selector::Tag(_), Some(named)) => named,
            (Selector::Tag(_), None) => return self.resolve_and_read().await,
        };
        let size = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let media_type = content_type(response.headers());
        Ok((Resolved { digest, media_type, size: size.map(Bytes), moved: Bytes::ZERO }, None))
    }

    async fn resolve_and_read(&self) -> Result<(Resolved, Option<Raw>), Error> {
        self.resolve_by_get().await.map(|(resolved, raw)| (resolved, Some(raw)))
    }

    /// By GET alone; what was read comes with it.
    pub(crate) async fn resolve_by_get(&self) -> Result<(Resolved, Raw), Error> {
        let path = format!("manifests/{}", self.reference.selector);
        let response = self.ask(Method::GET, &path, media_type::ACCEPT_MANIFESTS).await?;
        let named = digest_header(response.headers());
        let what = format!("the manifest of {}", self.reference);
        let raw = self.read(response, &what, LONGEST_MANIFEST).await?;
        self.unless_signed(&raw)?;
        let wanted = match &self.reference.selector {
            Selector::Digest(digest) => Some(*digest),
            Selector::Tag(_) => named,
        };
        if let Some(wanted) = wanted {
            verified(&raw.bytes, wanted, &what)?;
        }
        let size = Bytes(raw.bytes.len() as u64);
        let (digest, media_type) = (Digest::of(&raw.bytes), raw.media_type.clone());
        Ok((Resolved { digest, media_type, size: Some(size), moved: size }, raw))
    }

    /// A manifest or index by digest; what was read is added to `moved`.
    pub(crate) async fn manifest(&self, digest: Digest, moved: &mut Bytes) -> Result<Raw, Error> {
        let what = format!("manifest {} of {}", digest.short(), self.reference);
        let asked = self.ask(Method::GET, &format!("manifests/{digest}"), media_type::ACCEPT_MANIFESTS).await;
        let response = match &self.reference.selector {
            Selector::Digest(named) if *named == digest => asked?,
            _ => asked.map_err(|error| missing(error, &what))?,
        };
        let raw = self.read(response, &what, LONGEST_MANIFEST).await?;
        *moved += Bytes(raw.bytes.len() as u64);
        self.unless_signed(&raw)?;
        verified(&raw.bytes, digest, &what)?;
        Ok(raw)
    }

    /// A signed manifest of version 1 has the digest of its payload, which is not what came.
    fn unless_signed(&self, raw: &Raw) -> Result<(), Error> {
        match media_type::kind(&raw.media_type) {
            Some(media_type::Kind::Schema1) => Err(Error::not_an_image(self.reference, NotAnImage::Schema1)),
            _ => Ok(()),
        }
    }

    /// The image behind a manifest or index that was read.
    pub(crate) async fn image(
        &self,
        digest: Digest,
        raw: Raw,
        engine: &Platform,
        moved: &mut Bytes,
    ) -> Result<ImageManifest, Error> {
        let resolved = Descriptor { digest, size: Bytes(raw.bytes.len() as u64) };
        let (manifest, index_size, document) = match self.document(&raw)? {
            Document::Index(entries) => {
                let chosen = image::choose(self.reference, &entries, engine)?;
                let raw = self.manifest(chosen.digest, moved).await?;
                of_size(&raw.bytes, &chosen, "a manifest", "its index")?;
                (chosen, Some(resolved.size), self.document(&raw)?)
            }
            document => (resolved.clone(), None, document),
        };
        let (config, layers) = image::listed(self.reference, document)?;
        let parsed = self.config(&config, moved).await?;
        Ok(ImageManifest {
            resolved: digest,
            manifest,
            platform: image::platform_of(self.reference, &parsed, engine)?,
            layers: image::layers(self.reference, &layers, &parsed)?,
            config,
            index_size,
        })
    }

    fn document(&self, raw: &Raw) -> Result<Document, Error> {
        wire::document(&raw.bytes, &raw.media_type, &format!("the manifest of {}", self.reference))
    }

    async fn config(&self, config: &Descriptor, moved: &mut Bytes) -> Result<wire::Config, Error> {
        let what = format!("config {} of {}", config.digest.short(), self.reference);
        if config.size.0 > LONGEST_CONFIG {
            return Err(Error::TooLarge { what, limit: LONGEST_CONFIG });
        }
        let asked = self.ask(Method::GET, &format!("blobs/{}", config.digest), "*/*").await;
        let response = asked.map_err(|error| missing(error, &what))?;
        let raw = self.read(response, &what, LONGEST_CONFIG).await?;
        *moved += Bytes(raw.bytes.len() as u64);
        verified(&raw.bytes, config.digest, &what)?;
        of_size(&raw.bytes, config, "a config", "its manifest")?;
        wire::config(&raw.bytes, &what)
    }

    async fn read(&self, response: Response, what: &str, limit: u64) -> Result<Raw, Error> {
        let media_type = content_type(response.headers());
        let bytes = transport::read(self.registry(), response, what, limit).await?;
        Ok(Raw { bytes, media_type })
    }
}

/// What lies behind a reference that was found is not found: that says nothing of the reference itself.
fn missing(error: Error, what: &str) -> Error {
    match error {
        Error::NotFound { detail, .. } => Error::Missing { what: what.to_owned(), detail },
        other => other,
    }
}

/// Are these the bytes that this digest names?
fn verified(bytes: &[u8], wanted: Digest, what: &str) -> Result<(), Error> {
    let got = Digest::of(bytes);
    if got == wanted { Ok(()) } else { Err(Error::DigestMismatch { what: what.to_owned(), wanted, got }) }
}

/// The bytes are right, but whoever lists them may lie about their length; the engine would refuse such an image.
fn of_size(bytes: &[u8], listed: &Descriptor, what: &str, by: &str) -> Result<(), Error> {
    if bytes.len() as u64 == listed.size.0 {
        return Ok(());
    }
    let (digest, got, told) = (listed.digest.short(), bytes.len(), listed.size.0);
    Err(Error::malformed(format!("{what} ({digest}) has {got} bytes and {by} says {told}")))
}

/// A digest of another algorithm tells us nothing.
fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.trim().parse().ok()
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    printable(value.split(';').next().unwrap_or_default(), 100)
}
