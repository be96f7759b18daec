//! One suite that the fake and real engines must pass, so that a test on the fake means something.
//!
//! Where the two image stores differ, the case says so and checks each for what it does; what is written here was
//! measured on Docker Engine 20.10 (classic), 26.1 (classic) and 26.1 (containerd store).

mod cancel;
mod containers;
mod contents;
mod events;
mod names;
mod observe;
#[cfg(test)]
mod on_the_fake;
mod pulls;
mod removal;

use std::fmt::Debug;

use async_trait::async_trait;
use futures_util::StreamExt;
use layerkeeper_core::progress::PullProgress;
use layerkeeper_core::{DiffId, Digest, Image, ImageName, Reference, StoreKind};

use crate::{Engine, EngineError};

/// An engine under test with its surroundings. It may hold other images; the suite uses repositories of its own.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The engine.
    fn engine(&self) -> &dyn Engine;

    /// The image store that it runs.
    fn store(&self) -> StoreKind;

    /// Host and port of a registry that it can reach.
    fn registry(&self) -> String;

    /// Host and port of the same registry over a line so slow that a blob of a megabyte takes more than a minute.
    fn slow_registry(&self) -> String;

    /// How many pulls over the slow line are under way.
    fn slow_pulls(&self) -> usize;

    /// Host and port where nobody answers.
    fn silent_registry(&self) -> String;

    /// Publishes an image in the registry under `path:tag`.
    async fn publish(&self, name: &str, recipe: &Recipe) -> Published;

    /// Makes the registry lose a blob; the manifests that list it stay.
    fn lose_blob(&self, blob: Digest);

    /// Layer blobs that the engine has fetched from the registry (not over the slow line) so far.
    fn fetched(&self) -> Vec<Digest>;

    /// Creates a container, never started; returns its id.
    async fn create_container(&self, from: &Reference) -> String;

    /// Removes a container.
    async fn remove_container(&self, id: &str);
}

/// An image to publish.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// Goes into its config.
    pub label: String,
    /// Bottom first: name and size of the content. The same name is the same layer.
    pub layers: Vec<(String, u64)>,
    /// Inside an index?
    pub indexed: bool,
    /// Compressed by somebody else: other blobs of the same content?
    pub recompressed: bool,
    /// In one more layer: files with what they hold, and symbolic links with where they lead.
    pub files: Vec<(String, String)>,
    /// See above.
    pub links: Vec<(String, String)>,
}

/// A published image.
#[derive(Debug, Clone)]
pub struct Published {
    /// What its tag resolves to.
    pub resolved: Digest,
    /// Its platform's manifest.
    pub manifest: Digest,
    /// Bottom first.
    pub blobs: Vec<Digest>,
    /// Bottom first.
    pub diff_ids: Vec<DiffId>,
}

/// Runs every case.
///
/// # Panics
/// At the first case that fails.
pub async fn suite(subject: &dyn Subject) {
    let case = Case { subject };
    observe::all(&case).await;
    pulls::all(&case).await;
    names::all(&case).await;
    removal::all(&case).await;
    containers::all(&case).await;
    contents::all(&case).await;
    events::all(&case).await;
    cancel::all(&case).await;
}

/// A subject with what the cases do to it.
struct Case<'a> {
    subject: &'a dyn Subject,
}

impl Case<'_> {
    fn engine(&self) -> &dyn Engine {
        self.subject.engine()
    }

    fn is_containerd(&self) -> bool {
        self.subject.store() == StoreKind::Containerd
    }

    /// Publishes `path:tag` made of these layers, named so that no other case shares them.
    async fn publish(&self, name: &str, layers: &[&str]) -> (ImageName, Published) {
        self.publish_as(name, layers, Recipe::default()).await
    }

    /// Publishes the very image of `twin`, to the byte, under another name.
    async fn publish_twin(&self, name: &str, twin: &str, layers: &[&str]) -> ImageName {
        let case = name.split('/').next().unwrap_or_default();
        let layers = layers.iter().map(|layer| (format!("{case} {layer}"), 20_000)).collect();
        self.subject.publish(name, &Recipe { label: twin.to_owned(), layers, ..Recipe::default() }).await;
        self.name(name)
    }

    async fn publish_as(&self, name: &str, layers: &[&str], like: Recipe) -> (ImageName, Published) {
        let path = name.split(':').next().unwrap_or_default();
        let case = path.split('/').next().unwrap_or_default();
        let layers = layers.iter().map(|layer| (format!("{case} {layer}"), 20_000)).collect();
        let recipe = Recipe { label: name.to_owned(), layers, ..like };
        let published = self.subject.publish(name, &recipe).await;
        (self.name(name), published)
    }

    /// `path:tag` in the subject's registry.
    fn name(&self, name: &str) -> ImageName {
        ok(format!("{}/{name}", self.subject.registry()).parse::<ImageName>(), name)
    }

    /// Pulls to the end.
    async fn try_pull(&self, reference: &Reference) -> Result<PullProgress, EngineError> {
        let mut stream = self.engine().pull(reference, None).await?;
        let mut progress = PullProgress::default();
        while let Some(event) = stream.next().await {
            progress.apply(&event?);
        }
        assert!(progress.done.is_some(), "{reference}: a stream may end without an error only after its last line");
        Ok(progress)
    }

    async fn pull(&self, reference: &Reference) -> PullProgress {
        ok(self.try_pull(reference).await, &format!("pull {reference}"))
    }

    async fn pull_tag(&self, name: &ImageName) -> PullProgress {
        self.pull(&name.to_reference()).await
    }

    /// Pulls; returns the stream's digest of it all with the blobs that moved meanwhile.
    async fn pull_counting(&self, reference: &Reference) -> (PullProgress, Vec<Digest>) {
        let before = self.subject.fetched().len();
        let progress = self.pull(reference).await;
        (progress, self.subject.fetched().split_off(before))
    }

    async fn image(&self, reference: &Reference) -> Option<Image> {
        ok(self.engine().image(reference).await, &format!("image {reference}"))
    }

    async fn must_have(&self, reference: &Reference) -> Image {
        match self.image(reference).await {
            Some(image) => image,
            None => panic!("{reference} should be here"),
        }
    }

    async fn must_lack(&self, reference: &Reference) {
        if let Some(image) = self.image(reference).await {
            panic!("{reference} should not be here, but it is {} with {:?}", image.id, image.names);
        }
    }

    async fn remove(&self, reference: &Reference) -> crate::Removed {
        ok(self.engine().remove(reference).await, &format!("remove {reference}"))
    }

    async fn tag(&self, source: &Reference, name: &ImageName) {
        ok(self.engine().tag(source, name).await, &format!("tag {source} {name}"));
    }

    /// Is any image in the inventory that consists of these layers?
    async fn holds_layers(&self, layers: &[DiffId]) -> bool {
        let inventory = ok(self.engine().inventory().await, "inventory");
        inventory.images.iter().any(|image| image.layers == layers)
    }
}

/// The value, or a panic that says what was being done.
fn ok<T, E: Debug>(result: Result<T, E>, doing: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{doing}: {error:?}"),
    }
}

/// The error, or a panic that says what was being done.
fn err<T>(result: Result<T, EngineError>, doing: &str) -> EngineError {
    match result {
        Ok(_) => panic!("{doing} should fail"),
        Err(error) => error,
    }
}
