//! A real Docker Engine, by its HTTP API over bollard.
//!
//! Read and measured on engines 20.10 (classic store), 26.1 (classic store) and 26.1 (containerd store); the
//! [conformance suite](crate::conformance) runs on all three. What bollard parses into `Option` is checked here before
//! anybody relies on it: an answer without its id is [`EngineError::Malformed`], never an empty string.

mod containers;
mod contents;
mod events;
mod facts;
mod history;
mod images;
mod info;
mod instant;
mod pull;
mod session;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptionsBuilder};
use layerkeeper_core::{Container, Digest, EngineInfo, Image, ImageName, Inventory, Reference, Selector, StoreKind};
use tracing::debug;

pub use self::facts::Facts;
use self::images::LayerCache;
use self::session::{PING_LIMIT, Session};
use crate::contents::{Bytestream, Kind};
use crate::{Engine, EngineError, EventStream, Login, PullStream, Removed};

/// How long an inventory takes the engine for the one it was while no stream of its events says so. `GET /info` makes the
/// engine run two programs to ask for their versions: 10 to 100 ms, where the images take half a millisecond. No engine
/// restarts as fast as this.
const INFO_AGE: Duration = Duration::from_secs(1);
/// The same while one is open: it ends with the engine. Not for ever, since what lies between may hold a connection.
const INFO_AGE_LISTENING: Duration = Duration::from_secs(60);

/// A Docker Engine at a Unix socket or a TCP port.
#[derive(Debug)]
pub struct Docker {
    session: Session,
    layers: LayerCache,
    /// Containers that [`Engine::open`] made and [`Engine::close`] has not removed. By id and nothing else they are left out
    /// of [`Engine::containers`]: a label may come from an image, and then it is somebody's container that has it.
    opened: Mutex<HashSet<String>>,
}

impl Docker {
    /// Takes note of where the engine is; connects with the first call, for the engine may be down now.
    ///
    /// `host` is `unix:///run/docker.sock`, or `tcp://HOST:PORT` (plain HTTP), as in `DOCKER_HOST`.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for any other form.
    pub fn connect(host: &str) -> Result<Self, EngineError> {
        Ok(Self { session: Session::new(host)?, layers: LayerCache::default(), opened: Mutex::default() })
    }

    /// Where it is, as given to [`Docker::connect`].
    pub fn host(&self) -> &str {
        self.session.host()
    }

    fn opened(&self) -> MutexGuard<'_, HashSet<String>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the containerd store, removing `repository@digest` removes every tag of that repository with that digest, too
    /// (measured on 26.1: two tags and the image went with one call). One call must cost one name, so this is refused.
    async fn spare_tags(&self, reference: &Reference) -> Result<(), EngineError> {
        let Selector::Digest(_) = reference.selector else { return Ok(()) };
        let Some(image) = self.image(reference).await? else { return Ok(()) };
        let Some(tag) = image.names.iter().find(|name| name.repository == reference.repository) else { return Ok(()) };
        match self.info().await?.store {
            StoreKind::Graphdriver => Ok(()),
            StoreKind::Containerd => Err(EngineError::tag_would_go_too(reference, tag)),
        }
    }

    /// A call that waits for a registry behind the engine and was not answered: whose fault is it?
    async fn blame(&self, error: EngineError) -> EngineError {
        match error {
            EngineError::Unreachable { cause, .. } if session::is_timeout(&cause) && self.ping().await.is_ok() => {
                EngineError::RegistryUnreachable(cause)
            }
            other => other,
        }
    }
}

#[async_trait]
impl Engine for Docker {
    async fn ping(&self) -> Result<(), EngineError> {
        self.session.call(PING_LIMIT, |client| async move { client.ping().await }).await.map(drop)
    }

    async fn info(&self) -> Result<EngineInfo, EngineError> {
        let info = self.session.quick(|client| async move { client.info().await }).await?;
        let info = info::read(&info)?;
        self.session.remember(&info);
        Ok(info)
    }

    async fn inventory(&self) -> Result<Inventory, EngineError> {
        let engine = match self.session.remembered(INFO_AGE, INFO_AGE_LISTENING) {
            Some(info) => info,
            None => self.info().await?,
        };
        // containers last: one created in between holds an image that is listed already; the other way round it would be
        // missed, and its image would seem to be free
        let images = images::all(&self.session, &self.layers, engine.store).await?;
        let containers = self.containers().await?;
        Ok(Inventory { engine, images, containers })
    }

    async fn still_holds(&self, known: &Inventory) -> Result<bool, EngineError> {
        match known.engine.store {
            // its list takes half a millisecond
            StoreKind::Graphdriver => Ok(false),
            // 70 ms and more for five images, and then each is inspected all the same
            StoreKind::Containerd => images::are_these(&self.session, &known.images).await,
        }
    }

    async fn image(&self, reference: &Reference) -> Result<Option<Image>, EngineError> {
        images::one(&self.session, &self.layers, reference).await
    }

    async fn labels(&self, reference: &Reference) -> Result<BTreeMap<String, String>, EngineError> {
        images::labels(&self.session, reference).await
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        // before the list, or one that is closed meanwhile would be in it
        let opened = self.opened().clone();
        let mut all = containers::all(&self.session).await?;
        // and one that was opened meanwhile
        all.retain(|container| !opened.contains(&container.id) && !self.opened().contains(&container.id));
        Ok(all)
    }

    async fn resolve(&self, reference: &Reference, login: Option<&Login>) -> Result<Digest, EngineError> {
        let (name, credentials) = (reference.to_string(), login.map(pull::credentials));
        let ask = |client: bollard::Docker| {
            let (name, credentials) = (name.clone(), credentials.clone());
            async move { client.inspect_registry_image(&name, credentials).await }
        };
        let answer = match self.session.call(session::HEADER_LIMIT, ask).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.blame(error).await),
        };
        let text = answer.descriptor.digest.unwrap_or_default();
        text.parse().map_err(|e| EngineError::Malformed(format!("what the registry resolves {reference} to: {e}")))
    }

    async fn pull(&self, reference: &Reference, login: Option<&Login>) -> Result<PullStream, EngineError> {
        match pull::start(&self.session, reference, login).await {
            Ok(stream) => Ok(stream),
            Err(error) => Err(self.blame(error).await),
        }
    }

    async fn tag(&self, source: &Reference, name: &ImageName) -> Result<(), EngineError> {
        let options = TagImageOptionsBuilder::new().repo(&name.repository.to_string()).tag(name.tag.as_str()).build();
        let source = source.to_string();
        self.session
            .quick(|client| {
                let (source, options) = (source.clone(), options.clone());
                async move { client.tag_image(&source, Some(options)).await }
            })
            .await
    }

    async fn remove(&self, reference: &Reference) -> Result<Removed, EngineError> {
        self.spare_tags(reference).await?;
        let name = reference.to_string();
        let rows = self
            .session
            .call(session::REMOVE_LIMIT, |client| {
                let name = name.clone();
                // neither force nor noprune: both are false unless asked for
                async move { client.remove_image(&name, None::<RemoveImageOptions>, None).await }
            })
            .await?;
        debug!(%reference, rows = rows.len(), "the engine removed a name");
        let mut removed = Removed::default();
        for row in rows {
            removed.untagged.extend(row.untagged);
            removed.deleted.extend(row.deleted);
        }
        Ok(removed)
    }

    async fn events(&self) -> Result<EventStream, EngineError> {
        events::listen(&self.session).await
    }

    async fn open(&self, image: &Reference, owner: &str) -> Result<String, EngineError> {
        let id = contents::open(&self.session, image, owner).await?;
        self.opened().insert(id.clone());
        Ok(id)
    }

    async fn archive(&self, opened: &str, path: &str) -> Result<Bytestream, EngineError> {
        contents::archive(&self.session, opened, path).await
    }

    async fn stat(&self, opened: &str, path: &str) -> Result<Option<Kind>, EngineError> {
        contents::stat(&self.session, opened, path).await
    }

    async fn close(&self, opened: &str) -> Result<(), EngineError> {
        contents::close(&self.session, opened).await?;
        self.opened().remove(opened);
        Ok(())
    }

    async fn left_open(&self, owner: &str) -> Result<Vec<String>, EngineError> {
        contents::left_open(&self.session, owner).await
    }
}
