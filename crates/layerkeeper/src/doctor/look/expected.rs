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
mod tests {
    use layerkeeper_core::{Expect, ImageName, Keep, StoreKind};
    use layerkeeper_engine::EngineError;
    use layerkeeper_engine::fake::{Fake, FakeImage, FakeLayer};

    use super::*;
    use crate::doctor::kept::Shown;

    /// An engine with a kept image of which something is expected.
    fn kept(engine: &Fake) -> Vec<KeptSeen> {
        let name: ImageName = "ghcr.io/acme/base:1".parse().unwrap();
        let status = "Package: libcudnn8\nStatus: install ok installed\nVersion: 8.9.0\n";
        let layer = FakeLayer::new("os", 1000).with_files(&[("/var/lib/dpkg/status", status)]);
        let image = FakeImage::of_layers("base", vec![layer]);
        engine.preload(&name.to_reference(), &image);
        let expect = vec![Expect::Package { name: "libcudnn8".to_owned(), version: None }];
        let keep = Keep { expect, ..Keep::new(name, None) };
        let tag = Shown::Image(image.manifest_digest());
        vec![KeptSeen { keep, tag, pinned: None, others: Vec::new(), held: Held::Unasked }]
    }

    #[tokio::test]
    async fn a_doctor_that_is_stopped_leaves_nothing_open_and_touches_nothing_of_another() {
        let engine = Fake::new(StoreKind::Graphdriver);
        let mut kept = kept(&engine);
        let image = kept[0].keep.image.to_reference();
        let inventory = engine.inventory().await.unwrap();
        let (ours, theirs) = (owner().unwrap(), owner().unwrap());
        assert_ne!(ours, theirs);
        let open = engine.open(&image, &theirs).await.unwrap();
        engine.stall_archives(true);
        let reads = async {
            while engine.left_open(&ours).await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let looks = look(&engine, &mut kept, Some(&inventory), &ours);
        assert_eq!(unless_stopped(&engine, &ours, looks, reads).await, None);
        assert_eq!(engine.left_open(&ours).await.unwrap(), [""; 0]);
        assert_eq!(engine.left_open(&theirs).await.unwrap(), [open]);
    }

    #[tokio::test]
    async fn a_container_that_does_not_go_at_once_is_tried_once_more_and_costs_no_verdict() {
        let engine = Fake::new(StoreKind::Graphdriver);
        let mut kept = kept(&engine);
        let inventory = engine.inventory().await.unwrap();
        engine.spoil_next_close(EngineError::Other("device or resource busy".to_owned()));
        let looks = look(&engine, &mut kept, Some(&inventory), "doctor-1");
        unless_stopped(&engine, "doctor-1", looks, std::future::pending()).await.unwrap();
        assert_eq!(kept[0].held, Held::To(Vec::new()));
        assert_eq!(engine.left_open("doctor-1").await.unwrap(), [""; 0]);
    }
}
