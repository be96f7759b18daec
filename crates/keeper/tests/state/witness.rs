//! Stands between keeper and engine, and sees every call in the moment in which it is made.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures_util::Stream;
use layerkeeper_core::progress::PullEvent;
use layerkeeper_core::{Container, Digest, EngineInfo, Image, ImageName, Inventory, Reference};
use layerkeeper_engine::contents::{Bytestream, Kind};
use layerkeeper_engine::fake::{Fake, PullEnd};
use layerkeeper_engine::{Engine, EngineError, EventStream, Login, PullStream, Removed};
use std::sync::Arc;
use tokio::task::yield_now;

use super::ledger::Shared;
use super::outside::Platter;
use super::removal::Removal;

/// An engine, watched.
pub struct Witness {
    pub fake: Fake,
    pub disk: Arc<Platter>,
    pub ledger: Shared,
}

/// What the engine holds at this moment; none while it is away.
pub fn now(fake: &Fake) -> Option<Inventory> {
    fake.everything().ok()
}

#[async_trait]
impl Engine for Witness {
    async fn ping(&self) -> Result<(), EngineError> {
        self.fake.ping().await
    }

    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.fake.info().await
    }

    async fn inventory(&self) -> Result<Inventory, EngineError> {
        yield_now().await;
        self.fake.inventory().await
    }

    async fn still_holds(&self, known: &Inventory) -> Result<bool, EngineError> {
        yield_now().await;
        self.fake.still_holds(known).await
    }

    async fn image(&self, reference: &Reference) -> Result<Option<Image>, EngineError> {
        yield_now().await;
        self.fake.image(reference).await
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        yield_now().await;
        // between this list and the removal that follows lies the window that cannot be closed
        self.fake.containers().await
    }

    async fn resolve(&self, reference: &Reference, login: Option<&Login>) -> Result<Digest, EngineError> {
        yield_now().await;
        self.fake.resolve(reference, login).await
    }

    async fn pull(&self, reference: &Reference, login: Option<&Login>) -> Result<PullStream, EngineError> {
        let before = now(&self.fake);
        let listed = self.fake.inventory().await.ok();
        let is_listed = |image: &Image| listed.as_ref().is_none_or(|listed| listed.images.contains(image));
        let policy = self.ledger.lock().unwrap().policy().clone();
        let is_ours = |name: &ImageName| policy.knows(&name.repository);
        let is_hidden = |image: &Image| !image.names.iter().any(is_ours) && !is_listed(image);
        let blind = before.as_ref().is_some_and(|before| before.images.iter().any(is_hidden));
        let at = self.ledger.lock().unwrap().pull_begins(reference, blind);
        let mut watched =
            Watched { fake: self.fake.clone(), ledger: self.ledger.clone(), before, at, inner: None, ended: false };
        match self.fake.pull(reference, login).await {
            Ok(inner) => {
                watched.inner = Some(inner);
                Ok(Box::pin(watched))
            }
            Err(error) => {
                watched.end(PullEnd::Failed);
                Err(error)
            }
        }
    }

    async fn tag(&self, source: &Reference, name: &ImageName) -> Result<(), EngineError> {
        let before = now(&self.fake);
        let result = self.fake.tag(source, name).await;
        let after = now(&self.fake);
        let mut ledger = self.ledger.lock().unwrap();
        if let (Some(before), Some(after)) = (before, after) {
            ledger.named(name, &before, &after);
            ledger.tagged_locally(name, &before, &after);
            ledger.look(&after);
        }
        result
    }

    async fn remove(&self, reference: &Reference) -> Result<Removed, EngineError> {
        let before = now(&self.fake);
        let free = self.disk.free();
        let result = self.fake.remove(reference).await;
        let after = now(&self.fake);
        let mut ledger = self.ledger.lock().unwrap();
        if let (Some(before), Some(after)) = (before, after) {
            // what stood here already when its job came may not have been seen since
            ledger.look(&before);
            ledger.removal(&Removal { reference, before: &before, after: &after, free, done: result.is_ok() });
            ledger.look(&after);
        }
        result
    }

    async fn events(&self) -> Result<EventStream, EngineError> {
        self.fake.events().await
    }
    async fn open(&self, image: &Reference, owner: &str) -> Result<String, EngineError> {
        self.fake.open(image, owner).await
    }
    async fn archive(&self, opened: &str, path: &str) -> Result<Bytestream, EngineError> {
        self.fake.archive(opened, path).await
    }
    async fn stat(&self, opened: &str, path: &str) -> Result<Option<Kind>, EngineError> {
        self.fake.stat(opened, path).await
    }
    async fn labels(&self, reference: &Reference) -> Result<BTreeMap<String, String>, EngineError> {
        self.fake.labels(reference).await
    }
    async fn close(&self, opened: &str) -> Result<(), EngineError> {
        self.fake.close(opened).await
    }
    async fn left_open(&self, owner: &str) -> Result<Vec<String>, EngineError> {
        self.fake.left_open(owner).await
    }
}

/// A pull, watched to its end.
struct Watched {
    fake: Fake,
    ledger: Shared,
    before: Option<Inventory>,
    at: usize,
    inner: Option<PullStream>,
    ended: bool,
}

impl Watched {
    fn end(&mut self, end: PullEnd) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let after = now(&self.fake);
        let mut ledger = self.ledger.lock().unwrap();
        ledger.pull_ends(self.at, end, self.fake.registry().served());
        let name = ledger.pulls[self.at].reference.name();
        if let (Some(before), Some(after)) = (&self.before, after) {
            if let Some(name) = name {
                ledger.named(&name, before, &after);
            }
            ledger.look(&after);
        }
    }
}

impl Stream for Watched {
    type Item = Result<PullEvent, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        let item = ready!(inner.as_mut().poll_next(cx));
        match &item {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.end(PullEnd::Failed),
            None => self.end(PullEnd::Succeeded),
        }
        Poll::Ready(item)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // what was under way stops here
        self.inner = None;
        self.end(PullEnd::Cancelled);
    }
}
