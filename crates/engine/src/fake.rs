//! An engine in memory: stateful, deterministic, with the rules of both image stores, and with faults that a real engine
//! does not have on demand.
//!
//! It keeps the [conformance suite](crate::conformance) like the real ones. Its registry is [`Fake::registry`]; every
//! call that changes something is in [`Fake::log`].

mod contents;
mod image;
mod log;
mod pull;
mod registry;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt, future, stream};
use layerkeeper_core::{
    Container, ContainerState, Digest, EngineInfo, Image, ImageName, Inventory, Reference, StoreKind,
};
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;

use self::state::State;
use crate::contents::{Bytestream, Kind};
use crate::{Engine, EngineError, EngineEvent, EventStream, Login, PullStream, Removed};

pub use self::image::{FakeImage, FakeLayer};
pub use self::log::{Call, Fault, PullEnd};
pub use self::registry::FakeRegistry;

/// The engine in memory; a cheap handle, all clones are one engine.
#[derive(Debug, Clone)]
pub struct Fake {
    shared: Shared,
    registry: FakeRegistry,
}

/// The state with its listeners.
#[derive(Debug, Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Result<EngineEvent, EngineError>>,
    changes: watch::Sender<u64>,
}

impl Fake {
    /// An empty engine with that image store.
    pub fn new(store: StoreKind) -> Self {
        Self::with_registry(store, FakeRegistry::default())
    }

    /// An empty engine before a registry that others use, too.
    pub fn with_registry(store: StoreKind, registry: FakeRegistry) -> Self {
        let shared = Shared {
            state: Arc::new(Mutex::new(State::new(store))),
            events: broadcast::Sender::new(1024),
            changes: watch::Sender::new(0),
        };
        Self { shared, registry }
    }

    /// The registry that it pulls from.
    pub fn registry(&self) -> &FakeRegistry {
        &self.registry
    }

    /// All that it holds, also what its list leaves out.
    ///
    /// # Errors
    /// It is down.
    pub fn everything(&self) -> Result<Inventory, EngineError> {
        Ok(self.up()?.everything())
    }

    /// All changing calls so far.
    pub fn log(&self) -> Vec<Call> {
        self.shared.lock().log.clone()
    }

    /// Puts an image here as an earlier pull would have, without a call in the log and without moving a byte.
    pub fn preload(&self, reference: &Reference, image: &FakeImage) {
        self.shared.change(|state| {
            image.layers.iter().for_each(|layer| state.keep_blob(layer.blob));
            state.commit(reference, image);
        });
    }

    /// Puts an image here as `docker load` does: no digest row, and on the classic store no knowledge of its blobs.
    pub fn load(&self, name: &ImageName, image: &FakeImage) {
        self.shared.change(|state| {
            let id = state.id_of(image, image.manifest_digest());
            state.hold(id, image, image.manifest_digest());
            image.layers.iter().for_each(|layer| state.keep_blob(layer.blob));
            state.move_name(id, name, true);
            state.news.push(EngineEvent::Appeared { name: name.to_string() });
        });
    }

    /// Adds a container; returns its id. Holds nothing where the reference names no image here.
    pub fn create_container(&self, name: &str, from: &Reference, container_state: ContainerState) -> String {
        self.shared.change(|state| {
            state.created += 1;
            let id = format!("{:064x}", state.created);
            let image = state.find(from);
            let container = Container {
                id: id.clone(),
                name: name.to_owned(),
                state: container_state,
                image,
                created_from: from.name(),
            };
            state.containers.push(container);
            state.news.push(EngineEvent::Container);
            id
        })
    }

    /// Removes a container.
    pub fn remove_container(&self, id: &str) {
        self.shared.change(|state| {
            state.containers.retain(|container| container.id != id);
            state.news.push(EngineEvent::Container);
        });
    }

    /// Somebody else runs `docker image prune`, with `all` also `-a`; not in the log.
    pub fn foreign_prune(&self, all: bool) {
        self.shared.change(|state| state.foreign_prune(all));
    }

    /// The same with `-a`, and nobody is told: so does the containerd store of 26.1 (measured).
    pub fn foreign_prune_unheard(&self) {
        self.shared.change(|state| {
            let told = state.news.len();
            state.foreign_prune(true);
            state.news.truncate(told);
        });
    }

    /// Somebody else removes a name; not in the log.
    ///
    /// # Errors
    /// As [`Engine::remove`].
    pub fn foreign_remove(&self, reference: &Reference) -> Result<Removed, EngineError> {
        self.shared.change(|state| state.remove(reference))
    }

    /// Somebody else tags locally; not in the log.
    ///
    /// # Errors
    /// As [`Engine::tag`].
    pub fn foreign_tag(&self, source: &Reference, name: &ImageName) -> Result<(), EngineError> {
        self.shared.change(|state| state.tag(source, name))
    }

    /// The next pull that begins goes wrong like this; several queue up.
    pub fn spoil_next_pull(&self, fault: Fault) {
        self.shared.change(|state| state.faults.push_back(fault));
    }

    /// Nothing goes wrong from here on.
    pub fn clear_faults(&self) {
        self.shared.change(|state| {
            state.faults.clear();
            state.removal_faults.clear();
            state.tag_faults.clear();
        });
    }

    /// The next removal fails like this; several queue up.
    pub fn spoil_next_removal(&self, error: EngineError) {
        self.shared.change(|state| state.removal_faults.push_back(error));
    }

    /// The next local tag fails like this; several queue up.
    pub fn spoil_next_tag(&self, error: EngineError) {
        self.shared.change(|state| state.tag_faults.push_back(error));
    }

    /// Lets all pulls that hang go on.
    pub fn release(&self) {
        self.shared.change(|state| state.releases += 1);
    }

    /// Stops the engine (pulls and event streams break) or starts it again.
    pub fn set_down(&self, down: bool) {
        self.shared.change(|state| state.down = down);
        if down {
            // nobody listening is fine
            let _ = self.shared.events.send(Err(unreachable()));
        }
    }

    /// Changes the image store; what the other one held is out of view until it is changed back.
    pub fn flip_store(&self, store: StoreKind) {
        self.shared.change(|state| {
            if state.info.store != store {
                let fresh = State::new(store).info;
                state.info = EngineInfo { id: state.info.id.clone(), version: state.info.version.clone(), ..fresh };
                let state = &mut *state;
                std::mem::swap(&mut state.images, &mut state.other_store);
            }
        });
    }

    /// Another data root: another id, and nothing in it.
    pub fn replace(&self, id: &str) {
        self.shared.change(|state| {
            let kept = State::new(state.info.store);
            state.info = EngineInfo { id: id.to_owned(), ..kept.info };
            state.images.clear();
            state.other_store.clear();
            state.containers.clear();
            state.known.clear();
            state.blobs.clear();
        });
    }

    /// Says that it is of another version, such as `20.10.24`.
    pub fn set_version(&self, version: &str) {
        self.shared.change(|state| state.info.version = version.to_owned());
    }

    fn up(&self) -> Result<MutexGuard<'_, State>, EngineError> {
        let state = self.shared.lock();
        if state.down { Err(unreachable()) } else { Ok(state) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes the state, then tells everybody.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, news) = {
            let mut state = self.lock();
            let result = change(&mut state);
            (result, std::mem::take(&mut state.news))
        };
        for event in news {
            // nobody listening is fine
            let _ = self.events.send(Ok(event));
        }
        self.changes.send_modify(|count| *count += 1);
        result
    }
}

fn unreachable() -> EngineError {
    EngineError::Unreachable { host: "fake".to_owned(), cause: "connection refused".to_owned() }
}

#[async_trait]
impl Engine for Fake {
    async fn ping(&self) -> Result<(), EngineError> {
        self.up().map(drop)
    }

    async fn info(&self) -> Result<EngineInfo, EngineError> {
        Ok(self.up()?.info.clone())
    }

    async fn inventory(&self) -> Result<Inventory, EngineError> {
        Ok(self.up()?.inventory())
    }

    async fn still_holds(&self, known: &Inventory) -> Result<bool, EngineError> {
        let now = self.up()?.everything();
        Ok(now.engine == known.engine
            && now.engine.store == StoreKind::Containerd
            && known.images.iter().all(|image| now.images.contains(image)))
    }

    async fn image(&self, reference: &Reference) -> Result<Option<Image>, EngineError> {
        let state = self.up()?;
        let id = state.find(reference);
        Ok(id.and_then(|id| state.images.get(&id).map(|held| state.view(id, held))))
    }

    async fn labels(&self, reference: &Reference) -> Result<BTreeMap<String, String>, EngineError> {
        contents::labels(&*self.up()?, reference)
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        Ok(self.up()?.shown_containers())
    }

    async fn resolve(&self, reference: &Reference, login: Option<&Login>) -> Result<Digest, EngineError> {
        drop(self.up()?);
        let image = self.registry.find(reference, login)?;
        Ok(match reference.selector {
            layerkeeper_core::Selector::Digest(digest) => digest,
            layerkeeper_core::Selector::Tag(_) => image.resolved(),
        })
    }

    async fn pull(&self, reference: &Reference, login: Option<&Login>) -> Result<PullStream, EngineError> {
        drop(self.up()?);
        let user = login.map(|login| login.username.clone());
        let fault = self.shared.change(|state| {
            state.log.push(Call::Pull { reference: reference.clone(), user });
            state.faults.pop_front()
        });
        let found = match fault {
            Some(Fault::Refuse(error)) => Err(error),
            ref other => self.registry.find(reference, login).map(|image| (image, other.clone())),
        };
        match found {
            Ok((image, fault)) => Ok(pull::start(&self.shared, &self.registry, reference, image, fault)),
            Err(error) => {
                let ended = Call::PullEnded { reference: reference.clone(), end: PullEnd::Failed };
                self.shared.change(|state| state.log.push(ended));
                Err(error)
            }
        }
    }

    async fn tag(&self, source: &Reference, name: &ImageName) -> Result<(), EngineError> {
        drop(self.up()?);
        self.shared.change(|state| {
            state.log.push(Call::Tag { source: source.clone(), name: name.clone() });
            state.tag_faults.pop_front().map_or_else(|| state.tag(source, name), Err)
        })
    }

    async fn remove(&self, reference: &Reference) -> Result<Removed, EngineError> {
        drop(self.up()?);
        self.shared.change(|state| {
            let result = match state.removal_faults.pop_front() {
                Some(error) => Err(error),
                None => state.remove(reference),
            };
            state.log.push(Call::Remove { reference: reference.clone(), done: result.is_ok() });
            result
        })
    }

    async fn events(&self) -> Result<EventStream, EngineError> {
        drop(self.up()?);
        // what a slow listener missed is lost, as on a real engine
        let events = BroadcastStream::new(self.shared.events.subscribe()).filter_map(|item| future::ready(item.ok()));
        let until_broken = stream::unfold(Some(events.boxed()), |events| async move {
            let mut events = events?;
            let item = events.next().await?;
            let go_on = item.is_ok();
            Some((item, go_on.then_some(events)))
        });
        Ok(until_broken.boxed())
    }

    async fn open(&self, image: &Reference, owner: &str) -> Result<String, EngineError> {
        drop(self.up()?);
        self.shared.change(|state| contents::open(state, image, owner))
    }

    async fn archive(&self, opened: &str, path: &str) -> Result<Bytestream, EngineError> {
        let (files, stalled) = {
            let state = self.up()?;
            (contents::below(&state, opened, path)?, state.stalled)
        };
        let archive = contents::pack(path, files).await?;
        if !stalled {
            return Ok(archive);
        }
        let shared = self.shared.clone();
        let later = async move {
            // the sender is in there, too, and does not go
            let _ = shared.changes().wait_for(|_| !shared.lock().stalled).await;
            archive
        };
        Ok(stream::once(later).flatten().boxed())
    }

    async fn stat(&self, opened: &str, path: &str) -> Result<Option<Kind>, EngineError> {
        contents::stat(&*self.up()?, opened, path)
    }

    async fn close(&self, opened: &str) -> Result<(), EngineError> {
        drop(self.up()?);
        self.shared.change(|state| contents::close(state, opened))
    }

    async fn left_open(&self, owner: &str) -> Result<Vec<String>, EngineError> {
        let state = self.up()?;
        Ok(state.containers.iter().filter(|c| contents::is_of(c, owner)).map(|c| c.id.clone()).collect())
    }
}
