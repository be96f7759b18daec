//! The Docker Engine, as far as layerkeeper needs it: observe, pull, name, untag, listen.
//!
//! [`Engine`] is the one door. [`docker::Docker`] opens it onto a real engine, [`fake::Fake`] onto a stateful model for
//! speed and for faults that cannot be had otherwise; [`conformance`] is one suite that both must pass.

pub mod classify;
pub mod conformance;
pub mod contents;
pub mod docker;
pub mod fake;
pub mod inside;
mod pull_line;

pub use pull_line::parse_pull_line;

use std::collections::BTreeMap;
use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;
use layerkeeper_core::progress::PullEvent;
use layerkeeper_core::{Container, Digest, EngineInfo, Image, ImageName, Inventory, Reference};

/// Lines of a pull, as they come. Dropping the stream cancels the pull.
pub type PullStream = Pin<Box<dyn Stream<Item = Result<PullEvent, EngineError>> + Send>>;

/// What the engine tells unasked. Lossy: a hint to look, never a fact to act on.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<EngineEvent, EngineError>> + Send>>;

/// A Docker Engine.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Does it answer?
    async fn ping(&self) -> Result<(), EngineError>;

    /// Who it is and which store it runs.
    async fn info(&self) -> Result<EngineInfo, EngineError>;

    /// Everything it holds: all images (also those without a tag that it lists) with their layers, all containers in
    /// every state.
    async fn inventory(&self) -> Result<Inventory, EngineError>;

    /// Are all images that `known` shows still here, with just the names and digests that it says? Asked where that costs
    /// less than a new [`Self::inventory`], else no. What came since is not noticed, and containers are not asked for: in
    /// the containerd store their list takes 5 ms a container.
    async fn still_holds(&self, known: &Inventory) -> Result<bool, EngineError>;

    /// The image behind a reference, or none when there is no such image here.
    async fn image(&self, reference: &Reference) -> Result<Option<Image>, EngineError>;

    /// The labels in the configuration of an image that is here.
    async fn labels(&self, reference: &Reference) -> Result<BTreeMap<String, String>, EngineError>;

    /// All containers in every state, read now.
    async fn containers(&self) -> Result<Vec<Container>, EngineError>;

    /// Asks the registry through the engine (its own proxy and credentials path) what a name resolves to
    /// (`GET /distribution/{name}/json`).
    async fn resolve(&self, reference: &Reference, login: Option<&Login>) -> Result<Digest, EngineError>;

    /// Pulls. Succeeded only when the stream has ended, without an error, after a [`PullEvent::Done`].
    async fn pull(&self, reference: &Reference, login: Option<&Login>) -> Result<PullStream, EngineError>;

    /// Gives the image behind `source` the name `name`, moving the name if it is taken.
    async fn tag(&self, source: &Reference, name: &ImageName) -> Result<(), EngineError>;

    /// Removes one name, `repository:tag` or `repository@digest`; the image goes when it was the last. Never forces,
    /// never goes by id, never prunes. Returns what the engine says it did.
    ///
    /// Measured on 20.10, 26.1 (classic) and 26.1 (containerd), and held by the [`conformance`] suite:
    /// - With the last tag of a repository its `repository@digest` row for the same digest goes, too, on all three: after
    ///   a deploy by digest and tag nothing is left behind. A row in another repository stays and holds the image.
    /// - `repository@digest` beside a tag of that repository: the classic store takes the row and leaves the tag. The
    ///   containerd store would take all tags of that repository with that digest; that is refused as
    ///   [`EngineError::Conflict`], and the row goes with the last tag.
    /// - A tag that a pull moves leaves `repository@old` behind on the classic store. On the containerd store the old
    ///   image leaves the list, even with a container made from it, unless it was also pulled by digest.
    async fn remove(&self, reference: &Reference) -> Result<Removed, EngineError>;

    /// Image and container events from now on.
    async fn events(&self) -> Result<EventStream, EngineError>;

    /// Makes a container of an image to read it by: labelled with its owner ([`contents::LABEL`]), never started, and by its
    /// id in no list of [`Engine::containers`]. It holds the image until [`Engine::close`]. What the image declares as volumes
    /// is not copied. Returns its id. Await it to the end: what a dropped call makes all the same is in those lists, until
    /// [`Engine::left_open`] finds it.
    async fn open(&self, image: &Reference, owner: &str) -> Result<String, EngineError>;

    /// A path in an opened image, as a tar archive that is made while it is read; see [`contents`].
    /// [`EngineError::NotFound`] where there is nothing, and where somebody removed the container.
    async fn archive(&self, opened: &str, path: &str) -> Result<contents::Bytestream, EngineError>;

    /// What a path in an opened image is; none where there is nothing. The path's directories are followed through symbolic
    /// links inside the image, its end is not (`HEAD /containers/{id}/archive`). Where somebody removed the container there is
    /// nothing anywhere, not even `/`: [`inside`] tells the one from the other.
    async fn stat(&self, opened: &str, path: &str) -> Result<Option<contents::Kind>, EngineError>;

    /// Removes a container that [`Engine::open`] made; one that is gone already is no error.
    async fn close(&self, opened: &str) -> Result<(), EngineError>;

    /// What this owner opened and never closed. Nothing that ever ran, and nothing that only has the label from its image.
    async fn left_open(&self, owner: &str) -> Result<Vec<String>, EngineError>;
}

/// What a [`Engine::remove`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Names that are gone, as the engine prints them.
    pub untagged: Vec<String>,
    /// Image or layer digests that are gone, as the engine prints them.
    pub deleted: Vec<String>,
}

/// Credentials for one registry, to hand to the engine with a pull (`X-Registry-Auth`).
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User name; empty with an identity token.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// OAuth2 refresh token, where the registry gave one.
    pub identity_token: Option<String>,
    /// Bearer token that the registry takes as it is.
    pub registry_token: Option<String>,
    /// The registry's address as docker's config.json keys it.
    pub server_address: String,
}

/// An engine event, reduced to what wakes somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// An image lost a name (`untag`); the engine gives the image's id, not the name.
    Untag {
        /// The image's id as text.
        id: String,
    },
    /// An image was deleted.
    Delete {
        /// The image's id as text.
        id: String,
    },
    /// Somebody pruned images; neither who nor which is told.
    Prune,
    /// An image came or got a name (`pull`, `tag`, `load`, `import`).
    Appeared {
        /// The name or id that the event carries.
        name: String,
    },
    /// A container was created, destroyed or changed its state.
    Container,
}

/// Why the engine did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No answer: no socket, connection refused, or cut before the answer began.
    #[error("the engine at {host} does not answer: {cause}")]
    Unreachable {
        /// Where it should be.
        host: String,
        /// What the connection said.
        cause: String,
    },
    /// Not a place where an engine can be reached.
    #[error("cannot reach an engine at {host:?}: {why}")]
    Unsupported {
        /// As configured.
        host: String,
        /// What would be right.
        why: String,
    },
    /// It knows no such image, or the registry knows no such manifest.
    #[error("not found: {0}")]
    NotFound(String),
    /// The registry has the manifest, and lost a part that it lists.
    #[error("the registry lacks a part of the image: {0}")]
    BlobMissing(String),
    /// It refuses, as something holds the image (409).
    #[error("conflict: {0}")]
    Conflict(String),
    /// The registry wants other credentials.
    #[error("access denied: {0}")]
    Denied(String),
    /// The registry wants us to come back later.
    #[error("too many requests: {0}")]
    TooManyRequests(String),
    /// The engine could not reach the registry.
    #[error("the engine cannot reach the registry: {0}")]
    RegistryUnreachable(String),
    /// No space or inodes left on its disk.
    #[error("no space left: {0}")]
    NoSpace(String),
    /// What came is not what was asked for (digest or size mismatch, broken archive).
    #[error("bad content: {0}")]
    BadContent(String),
    /// A pull's content vanished under it: a foreign prune.
    #[error("content vanished in mid-pull: {0}")]
    Vanished(String),
    /// Somebody removed the container that an image was read through: what was read says nothing of the image.
    #[error("container {0}, which the image was read through, was removed by somebody meanwhile")]
    ReadingLost(String),
    /// A pull's stream broke off after it had begun: the engine ended or was restarted, or something between us and it
    /// cut the connection.
    #[error("the engine's answer broke off in mid-pull: {0}")]
    BrokenOff(String),
    /// A pull's stream ended without `Status:`.
    #[error("the engine ended the pull without saying that it succeeded")]
    Unfinished,
    /// An answer that could not be read.
    #[error("the engine's answer could not be read: {0}")]
    Malformed(String),
    /// Anything else it said.
    #[error("the engine says: {0}")]
    Other(String),
}

impl EngineError {
    /// The containerd store would remove a tag together with the digest row that is to go.
    pub(crate) fn tag_would_go_too(reference: &Reference, tag: &ImageName) -> Self {
        Self::Conflict(format!("this image store would remove the tag {tag} together with {reference}"))
    }

    /// May the same call succeed later without anybody changing anything?
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TooManyRequests(_)
                | Self::RegistryUnreachable(_)
                | Self::Vanished(_)
                | Self::ReadingLost(_)
                | Self::BrokenOff(_)
                | Self::Unfinished
                | Self::Other(_)
        )
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}
