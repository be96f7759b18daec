//! Before the pull: what would move.

use crate::bytes::Bytes;
use crate::layers::{Holdings, Presence};
use crate::manifest::ImageManifest;
use crate::reuse::{Estimate, LayerEstimate};

/// What a pull of this image onto an engine with these layers would move.
pub fn estimate(image: &ImageManifest, holdings: &Holdings) -> Estimate {
    let judged = holdings.judge(image.layers.iter().map(|layer| (layer.blob.digest, layer.diff_id)));
    let layers: Vec<LayerEstimate> = image
        .layers
        .iter()
        .zip(judged)
        .map(|(layer, presence)| LayerEstimate {
            blob: layer.blob.digest,
            diff_id: layer.diff_id,
            size: layer.blob.size,
            compression: layer.compression,
            presence,
            created_by: layer.created_by.clone(),
        })
        .collect();
    let sum = |wanted: &[Presence]| -> Bytes {
        layers.iter().filter(|layer| wanted.contains(&layer.presence)).map(|layer| layer.size).sum()
    };
    let fetch_least = sum(&[Presence::ToFetch]);
    Estimate {
        total: sum(&[Presence::Here, Presence::Repeated, Presence::ToFetch, Presence::Unknown]),
        here: sum(&[Presence::Here, Presence::Repeated]),
        fetch_least,
        fetch_most: fetch_least + sum(&[Presence::Unknown]),
        layers,
    }
}
