//! What a build moves to a server that has another one: two images at the registry, compared without any engine.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::digest::{ChainId, ImageId};
use crate::inventory::{EngineInfo, Image, Inventory, StoreKind};
use crate::layers::{Holdings, LayerRecord, Origin};
use crate::manifest::ImageManifest;
use crate::policy::{Policy, RemoveSuperseded};
use crate::reference::Reference;
use crate::reuse::explain::{Evidence, Explanation, explain};
use crate::reuse::{Estimate, estimate};
use crate::time::Timestamp;

/// What a pull of `wanted` moves to a server with this image store on which `had` was pulled as `name`, and nothing else.
pub fn against(
    wanted: &ImageManifest,
    had: &ImageManifest,
    name: &Reference,
    store: StoreKind,
) -> (Estimate, Explanation) {
    let id = ImageId::from_bytes(*had.manifest.digest.as_bytes());
    let image = Image {
        id,
        names: name.name().into_iter().collect(),
        digests: BTreeSet::from([(name.repository.clone(), had.resolved)]),
        layers: had.diff_ids(),
        layer_bytes: Vec::new(),
        created: Timestamp(0),
    };
    let engine = EngineInfo {
        rootless: false,
        id: String::new(),
        version: String::new(),
        store,
        driver: String::new(),
        data_root: String::new(),
        platform: had.platform.clone(),
    };
    let inventory = Inventory { engine, images: vec![image], containers: Vec::new() };
    let records: Vec<LayerRecord> = had
        .layers
        .iter()
        .zip(ChainId::of_stack(&had.diff_ids()))
        .map(|(layer, chain)| LayerRecord {
            chain,
            diff_id: layer.diff_id,
            blob: layer.blob.digest,
            size: layer.blob.size,
            origin: Origin::Downloaded,
        })
        .collect();
    let estimate = estimate(wanted, &Holdings::new(&inventory, &records));
    let policy = Policy {
        keep: Vec::new(),
        runtime: Vec::new(),
        remove_superseded: RemoveSuperseded::Never,
        min_free: crate::Bytes::ZERO,
    };
    let explanation = explain(&Evidence {
        manifest: wanted,
        estimate: &estimate,
        inventory: &inventory,
        // somebody named it: whatever it has in common
        earlier: Some(id),
        records: &records,
        described: &BTreeMap::from([(id, had.clone())]),
        lost: &HashMap::new(),
        repeats: &HashMap::new(),
        policy: &policy,
    });
    (estimate, explanation)
}
