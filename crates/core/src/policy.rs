//! What the operator wants. Built from the configuration, which has checked it.

use std::time::Duration;

use crate::bytes::Bytes;
use crate::digest::Digest;
use crate::expect::Expect;
use crate::pattern::TagPattern;
use crate::reference::{ImageName, Repository};

/// An image that must always be here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Its name.
    pub image: ImageName,
    /// The only digest it may have, where the operator pinned it.
    pub pin: Option<Digest>,
    /// What must be in it before it counts as kept.
    pub expect: Vec<Expect>,
}

/// A repository whose tags CI deploys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Which.
    pub repository: Repository,
    /// Tags that CI may deploy.
    pub deploy_tags: Vec<TagPattern>,
    /// Tags that may ever be pruned.
    pub prune_tags: Vec<TagPattern>,
    /// How many distinct images of the newest stay; at least 1.
    pub keep_last: usize,
    /// How far the pressure plan may shrink `keep_last`; at least 1.
    pub keep_min: usize,
    /// Younger tags stay.
    pub min_age: Duration,
    /// A deploy job that moves more is counted and reported.
    pub download_budget: Bytes,
    /// A deploy that would move more is refused, unless it says that it may.
    pub download_limit: Option<Bytes>,
}

/// When a superseded digest may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveSuperseded {
    /// Only by `layerkeeper prune --superseded`.
    Never,
    /// As the first step of the pressure plan.
    OnPressure,
    /// Once it has been superseded for this long.
    After(Duration),
}

/// Everything the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// In the order of the file: base before what is built on it.
    pub keep: Vec<Keep>,
    /// One block per repository.
    pub runtime: Vec<Runtime>,
    /// What becomes of digests that a moved tag left behind.
    pub remove_superseded: RemoveSuperseded,
    /// What must stay free on the engine's disk.
    pub min_free: Bytes,
}

/// What the policy says to a name that somebody wants deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission<'a> {
    /// A tag of a runtime repository.
    Deploy(&'a Runtime),
    /// A kept image: warm it.
    Warm(&'a Keep),
    /// A runtime repository, but none of its `deploy_tags` matches.
    TagNotAllowed(&'a Runtime),
    /// Neither.
    Outside,
}

impl Keep {
    /// An image of which nothing is expected but its digest.
    pub fn new(image: ImageName, pin: Option<Digest>) -> Self {
        Self { image, pin, expect: Vec::new() }
    }
}

impl Runtime {
    /// May this tag ever be pruned?
    pub fn may_prune(&self, name: &ImageName) -> bool {
        name.repository == self.repository && self.prune_tags.iter().any(|pattern| pattern.matches(&name.tag))
    }

    /// May CI deploy this tag?
    pub fn may_deploy(&self, name: &ImageName) -> bool {
        name.repository == self.repository && self.deploy_tags.iter().any(|pattern| pattern.matches(&name.tag))
    }
}

impl Policy {
    /// The kept image with this name.
    pub fn kept(&self, name: &ImageName) -> Option<&Keep> {
        self.keep.iter().find(|keep| keep.image == *name)
    }

    /// The runtime block of this repository.
    pub fn runtime(&self, repository: &Repository) -> Option<&Runtime> {
        self.runtime.iter().find(|runtime| runtime.repository == *repository)
    }

    /// What a request to deploy this name means; a kept image's own name comes first.
    pub fn admit(&self, name: &ImageName) -> Admission<'_> {
        if let Some(keep) = self.kept(name) {
            return Admission::Warm(keep);
        }
        match self.runtime(&name.repository) {
            Some(runtime) if runtime.may_deploy(name) => Admission::Deploy(runtime),
            Some(runtime) => Admission::TagNotAllowed(runtime),
            None => Admission::Outside,
        }
    }

    /// Is this repository named anywhere in the configuration?
    pub fn knows(&self, repository: &Repository) -> bool {
        self.runtime(repository).is_some() || self.keep.iter().any(|keep| keep.image.repository == *repository)
    }
}
