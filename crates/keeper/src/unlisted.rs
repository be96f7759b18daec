//! Images that the engine holds and does not list.
//!
//! The containerd store leaves an image out of `GET /images/json` whose content is not complete, though it runs, and can
//! be inspected and removed by its name. That is no rare thing: a pull skips every layer whose chain is unpacked, so an
//! image that shares layers with one compressed in another way never gets those blobs (measured on 26.1). Names that we
//! know of are therefore asked for one by one.

use std::collections::BTreeSet;

use layerkeeper_core::{Image, Inventory, Reference, StoreKind};
use layerkeeper_engine::EngineError;

use crate::context::Context;

/// Adds what is here under the names that we know of and was not listed.
pub(crate) async fn add(ctx: &Context, inventory: &mut Inventory) -> Result<(), EngineError> {
    if inventory.engine.store != StoreKind::Containerd {
        return Ok(());
    }
    for reference in known(ctx, &inventory.engine.instance()).await {
        if inventory.find(&reference).is_some() {
            continue;
        }
        match ctx.engine.image(&reference).await {
            Ok(Some(image)) => insert(inventory, image),
            Ok(None) => {}
            Err(error @ EngineError::Unreachable { .. }) => return Err(error),
            Err(error) => tracing::debug!(%reference, %error, "could not ask for an image that is not listed"),
        }
    }
    Ok(())
}

/// Kept images, the runtime tags that were here at the last look or should be, and what they left behind.
async fn known(ctx: &Context, instance: &str) -> BTreeSet<Reference> {
    let settings = ctx.settings();
    let mut known: BTreeSet<Reference> = settings.policy.keep.iter().map(|keep| keep.image.to_reference()).collect();
    let store = &ctx.store;
    match (store.name_history(instance).await, store.superseded(instance).await, store.restorable(instance).await) {
        (Ok(names), Ok(superseded), Ok(restorable)) => {
            // healing has just brought it back, maybe
            known.extend(restorable.iter().map(|tag| tag.image.to_reference()));
            known.extend(names.keys().map(layerkeeper_core::ImageName::to_reference));
            known.extend(superseded.iter().map(|old| old.repository.by_digest(old.digest)));
        }
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
            tracing::error!(%error, "could not read which tags were here")
        }
    }
    known
}

fn insert(inventory: &mut Inventory, image: Image) {
    match inventory.images.binary_search_by(|other| other.id.cmp(&image.id)) {
        Ok(at) => {
            inventory.images[at].names.extend(image.names);
            inventory.images[at].digests.extend(image.digests);
        }
        Err(at) => inventory.images.insert(at, image),
    }
}
