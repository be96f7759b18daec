//! The client: what a reference resolves to, and what its image is made of.

use std::sync::Arc;

use layerkeeper_core::{Bytes, Descriptor, Digest, ImageManifest, Platform, Reference, Selector};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response};

use crate::cache::{self, Cache};
use crate::credential::Credential;
use crate::docker_config::DockerConfig;
use crate::error::{Error, NotAnImage, printable};
use crate::session::{Session, verified};
use crate::settings::Settings;
use crate::tokens::Tokens;
use crate::transport::{self, Transport};
use crate::wire::{self, Document};
use crate::{image, media_type, platform};

const LONGEST_MANIFEST: u64 = 4 << 20;
const LONGEST_CONFIG: u64 = 8 << 20;

/// Reads from registries. Cheap to clone; clones share connections, tokens and the cache of images.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    docker_config: DockerConfig,
    transport: Transport,
    tokens: Tokens,
    images: Cache,
}

/// What a reference stands for at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Of the index where there is one, else of the manifest.
    pub digest: Digest,
    /// As the registry names it, without parameters; may be empty.
    pub media_type: String,
    /// Length of the manifest or index, where the registry says it.
    pub size: Option<Bytes>,
    /// Bytes of manifests that were read to find out; usually none.
    pub moved: Bytes,
}

/// An image, and what it took to learn of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The image for the platform asked for.
    pub image: ImageManifest,
    /// Bytes of index, manifest and config that were read just now; none for what is still in the cache. Tokens and
    /// refusals are not counted.
    pub moved: Bytes,
}

/// A manifest's or index's bytes, checked, with the type that the registry gave them.
struct Raw {
    bytes: Vec<u8>,
    media_type: String,
}

impl Client {
    /// Sets up a client. Nothing is read and nobody asked before the first call.
    ///
    /// # Errors
    /// None at present; what cannot be set up for one registry is an error of the call that needs it.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        // an error means that the process has a provider already, which is as good
        rustls::crypto::ring::default_provider().install_default().ok();
        let docker_config = DockerConfig::new(settings.docker_config.clone(), |name| std::env::var_os(name));
        let transport = Transport::new(settings);
        let (tokens, images) = Default::default();
        Ok(Self { inner: Arc::new(Inner { docker_config, transport, tokens, images }) })
    }

    /// What the reference resolves to now: by HEAD, or by GET where the registry leaves the digest out of its answer.
    ///
    /// # Errors
    /// Everything but [`Error::NotAnImage`] and [`Error::NoPlatform`]: the content is not looked at.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let (resolved, _) = self.session(reference)?.resolve().await?;
        Ok(resolved)
    }

    /// The image behind the reference for an engine of this platform, every document checked against its digest.
    /// A digest that was read before is answered from memory.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn image(&self, reference: &Reference, platform: &Platform) -> Result<Fetched, Error> {
        let engine = platform::normal(platform);
        let key = |digest| cache::Key { repository: reference.repository.clone(), digest, platform: engine.clone() };
        let session = self.session(reference)?;
        let (digest, raw, mut moved) = match &reference.selector {
            Selector::Digest(digest) => (*digest, None, Bytes::ZERO),
            Selector::Tag(_) => {
                let (resolved, raw) = session.resolve().await?;
                (resolved.digest, raw, resolved.moved)
            }
        };
        if let Some(image) = self.inner.images.get(&key(digest)) {
            return Ok(Fetched { image, moved });
        }
        let raw = match raw {
            Some(raw) => raw,
            None => session.manifest(digest, &mut moved).await?,
        };
        let image = session.image(digest, raw, &engine, &mut moved).await?;
        self.inner.images.put(key(digest), image.clone());
        Ok(Fetched { image, moved })
    }

    /// The credentials for a registry (`docker.io`, `ghcr.io`, …), read anew from docker's config.json: what the engine
    /// wants to be handed with a pull. None is anonymous.
    ///
    /// # Errors
    /// [`Error::Credentials`] where the file cannot be used, or says that a helper has the credentials.
    pub fn credential(&self, registry: &str) -> Result<Option<Credential>, Error> {
        self.inner.docker_config.credential(registry)
    }

    fn session<'a>(&'a self, reference: &'a Reference) -> Result<Session<'a>, Error> {
        let credential = self.credential(reference.repository.registry())?;
        Ok(Session { transport: &self.inner.transport, tokens: &self.inner.tokens, reference, credential })
    }
}

impl Session<'_> {
    /// HEAD, then GET if need be; then also what was read.
    async fn resolve(&self) -> Result<(Resolved, Option<Raw>), Error> {
        let path = format!("manifests/{}", self.reference.selector);
        let response = match self.ask(Method::HEAD, &path, media_type::ACCEPT_MANIFESTS).await {
            Ok(response) => response,
            // some proxies before registries know no HEAD
            Err(Error::Server { status: 405 | 501, .. }) => return self.resolve_by_get(&path).await,
            Err(error) => return Err(error),
        };
        let named = digest_header(response.headers());
        let digest = match (&self.reference.selector, named) {
            (Selector::Digest(wanted), Some(got)) if *wanted != got => {
                return Err(Error::DigestMismatch { what: self.reference.to_string(), wanted: *wanted, got });
            }
            (Selector::Digest(wanted), _) => *wanted,
            (Selector::Tag(_), Some(named)) => named,
            (Selector::Tag(_), None) => return self.resolve_by_get(&path).await,
        };
        let size = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let media_type = content_type(response.headers());
        Ok((Resolved { digest, media_type, size: size.map(Bytes), moved: Bytes::ZERO }, None))
    }

    async fn resolve_by_get(&self, path: &str) -> Result<(Resolved, Option<Raw>), Error> {
        let response = self.ask(Method::GET, path, media_type::ACCEPT_MANIFESTS).await?;
        let named = digest_header(response.headers());
        let what = format!("the manifest of {}", self.reference);
        let raw = self.read(response, &what, LONGEST_MANIFEST).await?;
        let wanted = match &self.reference.selector {
            Selector::Digest(digest) => Some(*digest),
            Selector::Tag(_) => named,
        };
        if let Some(wanted) = wanted {
            verified(&raw.bytes, wanted, &what)?;
        }
        let size = Bytes(raw.bytes.len() as u64);
        let (digest, media_type) = (Digest::of(&raw.bytes), raw.media_type.clone());
        Ok((Resolved { digest, media_type, size: Some(size), moved: size }, Some(raw)))
    }

    async fn manifest(&self, digest: Digest, moved: &mut Bytes) -> Result<Raw, Error> {
        let response = self.ask(Method::GET, &format!("manifests/{digest}"), media_type::ACCEPT_MANIFESTS).await?;
        let what = format!("manifest {} of {}", digest.short(), self.reference);
        let raw = self.read(response, &what, LONGEST_MANIFEST).await?;
        *moved += Bytes(raw.bytes.len() as u64);
        // a signed manifest of version 1 has the digest of its payload, which is not what came
        if media_type::kind(&raw.media_type) == Some(media_type::Kind::Schema1) {
            return Err(Error::not_an_image(self.reference, NotAnImage::Schema1));
        }
        verified(&raw.bytes, digest, &what)?;
        Ok(raw)
    }

    async fn image(
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
        let (config, layers) = match document {
            Document::Manifest { config, layers } => (config, layers),
            Document::Schema1 => return Err(Error::not_an_image(self.reference, NotAnImage::Schema1)),
            Document::Index(_) => {
                return Err(Error::malformed(format!("{}: an index stands where a manifest should", self.reference)));
            }
        };
        media_type::image_config(&config.media_type).map_err(|kind| Error::not_an_image(self.reference, kind))?;
        let config = image::descriptor(&config.digest, config.size, "the manifest")?;
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
        let response = self.ask(Method::GET, &format!("blobs/{}", config.digest), "*/*").await?;
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
