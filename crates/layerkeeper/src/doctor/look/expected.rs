//! Holds the kept images that are here to what is expected of them, as the daemon does.

use layerkeeper_core::Inventory;
use layerkeeper_core::expect::unmet;
use layerkeeper_engine::{Engine, inside};

use crate::doctor::kept::{Held, KeptSeen};

/// By this word the containers are known that a doctor made to read an image by.
const OWNER: &str = "doctor";

/// Looks into each that is here and of which something is expected.
pub async fn look(engine: &dyn Engine, kept: &mut [KeptSeen], inventory: Option<&Inventory>) {
    let Some(inventory) = inventory else { return };
    for seen in kept.iter_mut().filter(|seen| !seen.keep.expect.is_empty()) {
        if inventory.named(&seen.keep.image).is_none() {
            continue;
        }
        // what stays is tried once more below
        let left = |id: &str, error| tracing::debug!(container = id, %error, "an image was read by it, and it stays");
        let inside = inside::look(engine, &seen.keep.image.to_reference(), OWNER, &seen.keep.expect, left).await;
        seen.held = match inside {
            Ok(inside) => Held::To(unmet(&seen.keep.expect, &inside)),
            Err(error) => Held::Unknown(error.to_string()),
        };
    }
    // of one that was broken off, too
    if let Err(error) = inside::close_left(engine, OWNER).await {
        tracing::warn!(%error, "could not remove a container that an image was read by");
    }
}
