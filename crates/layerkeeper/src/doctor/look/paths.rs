//! Measures the path to each registry and its mirrors by a part of a layer, which is read and thrown away.

use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, Inventory, Reference, Repository};
use layerkeeper_keeper::TransferSettings;
use layerkeeper_registry::Client;
use layerkeeper_relay::{Probe, probe};

use crate::doctor::path::{Given, MANY, PathSeen, Rates};

/// Over one connection no more is read than this, and over many no more than four times as much; and for no longer than the
/// time, each.
const ONE: Bytes = Bytes(4_000_000);
const TIME: Duration = Duration::from_secs(2);

/// A layer that is smaller says nothing of a path.
const LEAST: Bytes = Bytes(1_000_000);

/// Measures by this image; none where the registry does not give its manifest, or it has no layer that says anything.
pub(super) async fn look(
    client: &Client,
    image: &Reference,
    inventory: &Inventory,
    settings: &TransferSettings,
) -> Option<PathSeen> {
    let manifest = client.image(image, &inventory.engine.platform).await.ok()?.image;
    let layers: Vec<(Digest, Bytes)> =
        manifest.layers.iter().map(|layer| (layer.blob.digest, layer.blob.size)).collect();
    let largest = layers.iter().max_by_key(|(_, size)| *size).filter(|(_, size)| *size >= LEAST).copied()?;
    let origin = given(client, &image.repository, largest).await;
    let mut mirrors = Vec::new();
    for mirror in settings.mirrors_of(&image.repository) {
        mirrors.push((mirror.registry().to_owned(), given(client, &mirror, largest).await));
    }
    let mut caches = Vec::new();
    for cache in settings.caches_of(&image.repository) {
        let asked = client.resolve(&cache.by_digest(manifest.resolved)).await;
        caches.push((cache.registry().to_owned(), asked.map(drop).map_err(|error| error.to_string())));
    }
    Some(PathSeen {
        registry: image.repository.registry().to_owned(),
        image: image.to_string(),
        layers: layers.into_iter().map(|(_, size)| size).collect(),
        origin,
        mirrors,
        caches,
        mode: settings.mode,
        hindrance: match (settings.engine_is_here, inventory.engine.rootless) {
            (false, _) => Some("the engine is on another host"),
            (_, true) => Some("the engine runs rootless, and has a loopback of its own"),
            (true, false) if largest.1 > settings.spool_max => Some("its largest layer is larger than spool_max"),
            (true, false) => None,
        },
        limited: settings.max_rate.is_some(),
    })
}

async fn given(client: &Client, repository: &Repository, (blob, size): (Digest, Bytes)) -> Given {
    let rate = async |connections: usize, bytes: Bytes| {
        let road = Probe { repository: repository.clone(), blob, size, connections, bytes, time: TIME };
        match probe(client, &road).await {
            Ok(measured) if measured.bytes > Bytes::ZERO => Ok(measured.rate),
            Ok(_) => Err(format!("nothing came within {} s", TIME.as_secs())),
            Err(error) => Err(error.to_string()),
        }
    };
    Ok(Rates { one: rate(1, ONE).await?, many: rate(MANY, Bytes(ONE.0 * 4)).await? })
}
