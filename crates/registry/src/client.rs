//! The client: what a reference resolves to, and what its image is made of.

mod blob;
mod document;
mod probe;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, ImageManifest, Platform, Reference, Repository, Selector};

pub(crate) use blob::content_range;
pub use blob::{Blob, Piece};
pub use document::Document;
pub use probe::Probe;

use crate::cache::{self, Cache};
use crate::credential::Credential;
use crate::docker_config::DockerConfig;
use crate::error::Error;
use crate::platform;
use crate::session::{Raw, Session};
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
    /// The manifest or index that a tag was resolved by, until its image is asked for.
    latest: Mutex<Option<(Repository, Digest, Raw)>>,
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
        let docker_config = DockerConfig::new(&settings, |name| std::env::var_os(name));
        let (resolve_timeout, image_timeout) = (settings.resolve_timeout, settings.image_timeout);
        let transport = Transport::new(settings);
        let (tokens, images, latest) = Default::default();
        let inner = Inner { docker_config, transport, tokens, images, latest, resolve_timeout, image_timeout };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the reference resolves to now: by HEAD, or by GET where the registry leaves the digest out of its answer.
    ///
    /// # Errors
    /// Everything but [`Error::NoPlatform`]: of the content no more is looked at than that it is no signed manifest of version 1,
    /// and that only where it is read.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let question = async {
            let session = self.session(reference).await?;
            let answer = match session.resolve().await {
                Err(error) => self.anew(&session, error).await?.resolve().await,
                answer => answer,
            };
            Ok(answer?.0)
        };
        within(self.inner.resolve_timeout, reference, question).await
    }

    /// The same by GET at once, where [`Client::image`] will be asked for the digest in any case: that then needs a round trip
    /// less. Registries that count pulls count this as one, and a HEAD as none.
    ///
    /// # Errors
    /// As [`Client::resolve`]: where the registry fails at its manifest, the tag is asked for by HEAD.
    pub async fn resolve_by_get(&self, reference: &Reference) -> Result<Resolved, Error> {
        let question = async {
            let session = self.session(reference).await?;
            match session.resolve_by_get().await {
                Err(error) if error.is_server_error() && error.retry_after().is_none() => session.resolve().await,
                Err(error) => self.anew(&session, error).await?.resolve().await,
                Ok((resolved, raw)) => Ok((resolved, Some(raw))),
            }
        };
        let (resolved, raw) = within(self.inner.resolve_timeout, reference, question).await?;
        *self.latest() = raw.map(|raw| (reference.repository.clone(), resolved.digest, raw));
        Ok(resolved)
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, Option<(Repository, Digest, Raw)>> {
        self.inner.latest.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut moved = Bytes::ZERO;
        if let Selector::Digest(digest) = &reference.selector
            && let Some(image) = self.inner.images.get(&key(reference, *digest, &engine))
        {
            // neither the registry nor a credential helper is needed
            return Ok(Fetched { image, moved });
        }
        let session = self.session(reference).await?;
        let image = match self.read_with(&session, &engine, &mut moved).await {
            Err(error) => self.read_with(&self.anew(&session, error).await?, &engine, &mut moved).await,
            image => image,
        };
        Ok(Fetched { image: image?, moved })
    }

    /// What is read is added to `moved`.
    async fn read_with(
        &self,
        session: &Session<'_>,
        engine: &Platform,
        moved: &mut Bytes,
    ) -> Result<ImageManifest, Error> {
        let (digest, raw) = match &session.reference.selector {
            Selector::Digest(digest) => (*digest, None),
            Selector::Tag(_) => {
                let (resolved, raw) = session.resolve().await?;
                *moved += resolved.moved;
                (resolved.digest, raw)
            }
        };
        let key = key(session.reference, digest, engine);
        if let Some(image) = self.inner.images.get(&key) {
            return Ok(image);
        }
        let is_it =
            |latest: &mut (Repository, Digest, _)| (&latest.0, latest.1) == (&session.reference.repository, digest);
        let latest = self.latest().take_if(is_it).map(|(.., raw)| raw);
        let raw = match raw.or(latest) {
            Some(raw) => raw,
            None => session.manifest(digest, moved).await?,
        };
        let image = session.image(digest, raw, engine, moved).await?;
        self.inner.images.put(key, image.clone());
        Ok(image)
    }

    /// The credentials for a registry (`docker.io`, `ghcr.io`, …), read anew from docker's config.json or from the helper
    /// that it names: what the engine wants to be handed with a pull. None is anonymous.
    ///
    /// # Errors
    /// [`Error::Credentials`] where the file or its helper cannot be used.
    pub async fn credential(&self, registry: &str) -> Result<Option<Credential>, Error> {
        self.inner.docker_config.credential(registry).await
    }

    async fn session<'a>(&'a self, reference: &'a Reference) -> Result<Session<'a>, Error> {
        let credential = self.credential(reference.repository.registry()).await?;
        Ok(Session::new(&self.inner.transport, &self.inner.tokens, reference, credential))
    }

    /// What a helper gave may have run out since: where the registry refused it, the helper is asked once more. Fails with
    /// the error as it came where that was another one, or where the helper gives nothing else.
    async fn anew<'a>(&'a self, session: &Session<'a>, error: Error) -> Result<Session<'a>, Error> {
        let of_helper = session.credential.as_ref().is_some_and(|credential| credential.helper.is_some());
        if !of_helper || !matches!(error, Error::Unauthorized { .. }) {
            return Err(error);
        }
        let again = self.session(session.reference).await?;
        let other = again.credential.is_some() && again.credential != session.credential;
        if other { Ok(again) } else { Err(error) }
    }
}

/// Under what an image is remembered.
fn key(reference: &Reference, digest: Digest, engine: &Platform) -> cache::Key {
    cache::Key { repository: reference.repository.clone(), digest, platform: engine.clone() }
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
