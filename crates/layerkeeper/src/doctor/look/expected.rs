//! Holds the kept images that are here to what is expected of them, as the daemon does.

use std::time::Duration;

use layerkeeper_core::Inventory;
use layerkeeper_core::expect::unmet;
use layerkeeper_engine::{Engine, inside};

use crate::doctor::kept::{Held, KeptSeen};

/// So long somebody who stops a doctor waits for what it opened to be removed.
const CLOSES_WITHIN: Duration = Duration::from_secs(10);

/// A word of this run's own. By it the containers are known that it made to read an image by: another doctor has another, and
/// no image can have it in a label.
///
/// # Errors
/// There are no random numbers.
pub fn owner() -> anyhow::Result<String> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(format!("doctor-{:016x}", u64::from_le_bytes(bits)))
}

/// Looks into each that is here and of which something is expected.
pub async fn look(engine: &dyn Engine, kept: &mut [KeptSeen], inventory: Option<&Inventory>, owner: &str) {
    let Some(inventory) = inventory else { return };
    let mut stays = false;
    for seen in kept.iter_mut().filter(|seen| !seen.keep.expect.is_empty()) {
        if inventory.named(&seen.keep.image).is_none() {
            continue;
        }
        let left = |_: &str, _| stays = true;
        let inside = inside::look(engine, &seen.keep.image.to_reference(), owner, &seen.keep.expect, left).await;
        seen.held = match inside {
            Ok(inside) => Held::To(unmet(&seen.keep.expect, &inside)),
            Err(error) => Held::Unknown(error.to_string()),
        };
    }
    if stays {
        close(engine, owner).await;
    }
}

/// Does it to its end, or until it is stopped: then what it opened is removed, and there is nothing to tell.
pub async fn unless_stopped<T>(
    engine: &dyn Engine,
    owner: &str,
    looks: impl Future<Output = T>,
    stop: impl Future<Output = ()>,
) -> Option<T> {
    tokio::select! {
        biased;
        seen = looks => return Some(seen),
        () = stop => {}
    }
    if tokio::time::timeout(CLOSES_WITHIN, close(engine, owner)).await.is_err() {
        tracing::warn!(owner, "the engine does not answer: a container may be left that an image was read by");
    }
    None
}

async fn close(engine: &dyn Engine, owner: &str) {
    if let Err(error) = inside::close_left(engine, owner).await {
        tracing::warn!(owner, %error, "could not remove a container that an image was read by");
    }
}

#[cfg(test)]
mod tests;
