//! The registry behind the fake engine: what is published, who may read it, and what was fetched.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layerkeeper_core::{Digest, ImageName, Reference, Repository, Selector};

use super::image::FakeImage;
use crate::{EngineError, Login};

/// All registries that the fake engine can reach; a cheap handle.
#[derive(Debug, Clone, Default)]
pub struct FakeRegistry(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    tags: BTreeMap<ImageName, Digest>,
    images: BTreeMap<(Repository, Digest), FakeImage>,
    unreachable: HashSet<String>,
    slow: HashSet<String>,
    lost: HashSet<Digest>,
    trouble: Option<EngineError>,
    login: Option<Login>,
    served: Vec<Digest>,
}

impl FakeRegistry {
    /// Publishes an image under a name, moving the name if it is taken; returns what the name resolves to now. The image
    /// can be had by its index's and its manifest's digest from then on.
    pub fn publish(&self, name: &ImageName, image: &FakeImage) -> Digest {
        let mut shelf = self.shelf();
        for digest in [image.resolved(), image.manifest_digest()] {
            shelf.images.insert((name.repository.clone(), digest), image.clone());
        }
        shelf.tags.insert(name.clone(), image.resolved());
        image.resolved()
    }

    /// Takes a tag away; the image can still be had by digest.
    pub fn remove_tag(&self, name: &ImageName) {
        self.shelf().tags.remove(name);
    }

    /// Takes an image away, with all tags on it.
    pub fn remove_image(&self, repository: &Repository, digest: Digest) {
        let mut shelf = self.shelf();
        shelf.images.remove(&(repository.clone(), digest));
        shelf.tags.retain(|name, resolved| name.repository != *repository || *resolved != digest);
    }

    /// Loses a blob; the manifests that list it stay.
    pub fn lose_blob(&self, blob: Digest) {
        self.shelf().lost.insert(blob);
    }

    /// Nobody answers at that host (`127.0.0.1:1`).
    pub fn make_unreachable(&self, host: &str) {
        self.shelf().unreachable.insert(host.to_owned());
    }

    /// From that host nothing comes any more once a download has begun.
    pub fn make_slow(&self, host: &str) {
        self.shelf().slow.insert(host.to_owned());
    }

    /// Every request is answered with this error, until it is taken back with none.
    pub fn set_trouble(&self, trouble: Option<EngineError>) {
        self.shelf().trouble = trouble;
    }

    /// Only this user may read from now on.
    pub fn require(&self, login: Login) {
        self.shelf().login = Some(login);
    }

    /// Layer blobs fetched so far, in order, each as often as it moved.
    pub fn served(&self) -> Vec<Digest> {
        self.shelf().served.clone()
    }

    /// The image behind a reference.
    pub(super) fn find(&self, reference: &Reference, login: Option<&Login>) -> Result<FakeImage, EngineError> {
        let shelf = self.shelf();
        let host = reference.repository.registry();
        if shelf.unreachable.contains(host) {
            return Err(EngineError::RegistryUnreachable(format!(
                "Get \"https://{host}/v2/\": dial tcp: connect: connection refused"
            )));
        }
        if let Some(trouble) = &shelf.trouble {
            return Err(trouble.clone());
        }
        let same_user = |wanted: &Login| {
            login.is_some_and(|given| given.username == wanted.username && given.password == wanted.password)
        };
        if shelf.login.as_ref().is_some_and(|wanted| !same_user(wanted)) {
            return Err(EngineError::Denied("no basic auth credentials".to_owned()));
        }
        let digest = match &reference.selector {
            Selector::Digest(digest) => Some(*digest),
            Selector::Tag(tag) => shelf.tags.get(&reference.repository.tagged(tag.clone())).copied(),
        };
        let image = digest.and_then(|digest| shelf.images.get(&(reference.repository.clone(), digest)));
        image
            .cloned()
            .ok_or_else(|| EngineError::NotFound(format!("manifest for {reference} not found: manifest unknown")))
    }

    /// Is its host a slow one?
    pub(super) fn is_slow(&self, reference: &Reference) -> bool {
        self.shelf().slow.contains(reference.repository.registry())
    }

    /// A blob moves, unless it was lost.
    pub(super) fn serve(&self, blob: Digest) -> Result<(), EngineError> {
        let mut shelf = self.shelf();
        if shelf.lost.contains(&blob) {
            return Err(EngineError::BlobMissing("blob unknown to registry".to_owned()));
        }
        shelf.served.push(blob);
        Ok(())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
