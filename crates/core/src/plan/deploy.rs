//! How a digest comes here under a name: what must move, and how the name is made.

use crate::digest::Digest;
use crate::inventory::{Container, Image, Inventory};
use crate::manifest::ImageManifest;
use crate::reference::ImageName;

/// What is to be done so that a name stands for a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The name has the digest already; nothing moves.
    Done,
    /// The content is here under its digest; only the name is to be made.
    NameOnly,
    /// The content is to be pulled by its digest.
    Pull,
}

/// How the name is made once the content is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// The name stands for something here, and the registry's tag shows the digest: pull the tag, which moves about a
    /// kilobyte, and what the name leaves behind stays as after any pull.
    ByPull,
    /// The name is new here, or the tag shows another digest (a rollback, a pin whose tag moved, no registry): tag
    /// `repository@digest` here.
    ByLocalTag,
    /// The tag shows another digest, and a container was created from the name: moving the name by a local tag could leave that
    /// container's content unprotected. Holds the container's name.
    Forbidden(String),
}

/// What must happen so that `name` stands for `digest`. `manifest` is what the digest or the tag resolved to, where that
/// is known: an index and the platform's manifest inside it are the same content.
pub fn arrival(name: &ImageName, digest: Digest, manifest: Option<&ImageManifest>, inventory: &Inventory) -> Arrival {
    let is_it = |image: &Image| {
        image
            .digests_in(&name.repository)
            .any(|here| here == digest || manifest.is_some_and(|m| m.is_known_as(digest) && m.is_known_as(here)))
    };
    if inventory.named(name).is_some_and(is_it) {
        Arrival::Done
    } else if inventory.with_digest(&name.repository, digest).is_some() {
        Arrival::NameOnly
    } else {
        Arrival::Pull
    }
}

/// How to make the name, given what the registry's tag shows now (`None`: nothing, or no answer), the image that the name
/// stands for here, and the containers.
pub fn naming(
    name: &ImageName,
    digest: Digest,
    tag_shows: Option<Digest>,
    named: Option<&Image>,
    containers: &[Container],
) -> Naming {
    let Some(named) = named else {
        // it is taken from nobody
        return Naming::ByLocalTag;
    };
    if tag_shows == Some(digest) {
        return Naming::ByPull;
    }
    let taken = !named.has_digest(&name.repository, digest);
    let creator = containers.iter().find(|container| container.created_from.as_ref() == Some(name));
    match creator {
        Some(container) if taken => Naming::Forbidden(container.name.clone()),
        _ => Naming::ByLocalTag,
    }
}

#[cfg(test)]
mod tests;
