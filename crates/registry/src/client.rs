//! The client: what a reference resolves to, and what its image is made of.

use std::sync::Arc;
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, ImageManifest, Platform, Reference, Selector};

use crate::cache::{self, Cache};
use crate::credential::Credential;
use crate::docker_config::DockerConfig;
use crate::error::Error;
use crate::platform;
use crate::session::Session;
use crate::settings::Settings;
use crate::tokens::Tokens;
use crate::transport::Transport;

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
    resolve_timeout: Duration,
    image_timeout: Duration,
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

impl Client {
    /// Sets up a client. Nothing is read and nobody asked before the first call.
    ///
    /// # Errors
    /// None at present; what cannot be set up for one registry is an error of the call that needs it.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        // an error means that the process has a provider already, which is as good
        rustls::crypto::ring::default_provider().install_default().ok();
        let docker_config = DockerConfig::new(settings.docker_config.clone(), |name| std::env::var_os(name));
        let (resolve_timeout, image_timeout) = (settings.resolve_timeout, settings.image_timeout);
        let transport = Transport::new(settings);
        let (tokens, images) = Default::default();
        let inner = Inner { docker_config, transport, tokens, images, resolve_timeout, image_timeout };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the reference resolves to now: by HEAD, or by GET where the registry leaves the digest out of its answer.
    ///
    /// # Errors
    /// Everything but [`Error::NotAnImage`] and [`Error::NoPlatform`]: the content is not looked at.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let question = async { Ok(self.session(reference)?.resolve().await?.0) };
        within(self.inner.resolve_timeout, reference, question).await
    }

    /// The image behind the reference for an engine of this platform, every document checked against its digest.
    /// A digest that was read before is answered from memory.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn image(&self, reference: &Reference, platform: &Platform) -> Result<Fetched, Error> {
        within(self.inner.image_timeout, reference, self.read(reference, platform)).await
    }

    async fn read(&self, reference: &Reference, platform: &Platform) -> Result<Fetched, Error> {
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

/// A question must not hold its asker for as long as all of its requests may take one after the other.
async fn within<T>(
    limit: Duration,
    reference: &Reference,
    question: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, question).await.unwrap_or_else(|_| {
        let cause = format!("the whole answer did not come within {} s", limit.as_secs_f64());
        Err(Error::Unreachable { registry: reference.repository.registry().to_owned(), cause })
    })
}
