//! How much room a pull takes at its peak.
//!
//! The classic store downloads blobs into files beside the layers it unpacks; the containerd store keeps both for good. So
//! the peak is what is downloaded and what it becomes unpacked, whichever store it is.

use std::collections::HashMap;

use crate::bytes::Bytes;
use crate::digest::DiffId;
use crate::inventory::Inventory;
use crate::layers::{LayerRecord, Presence};
use crate::reuse::Estimate;

/// Of how much a byte of a blob becomes unpacked, where this host has no history: PyTorch, CUDA and npm layers under gzip
/// lie between 1.5 and 3.
const USUAL_RATIO: f64 = 3.0;

/// With less than so much known, a host's own ratio says little.
const ENOUGH_KNOWN: u64 = 10_000_000;

/// What a pull takes at its peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peak {
    /// Compressed.
    pub download: Bytes,
    /// What it becomes.
    pub unpacked: Bytes,
}

impl Peak {
    /// Both at once.
    pub fn bytes(self) -> Bytes {
        self.download + self.unpacked
    }
}

/// How layers grow when they are unpacked, by what this host has: sizes by content, and a ratio for what it has not.
#[derive(Debug, Clone)]
pub struct Growth {
    unpacked: HashMap<DiffId, Bytes>,
    ratio: f64,
}

impl Growth {
    /// Learns from the layers that are here and were recorded.
    pub fn of(inventory: &Inventory, records: &[LayerRecord]) -> Self {
        let mut unpacked: HashMap<DiffId, Bytes> = HashMap::new();
        for image in &inventory.images {
            for (layer, size) in image.layers.iter().zip(&image.layer_bytes) {
                let known = unpacked.entry(*layer).or_default();
                *known = (*known).max(*size);
            }
        }
        let compressed: HashMap<DiffId, Bytes> = records.iter().map(|record| (record.diff_id, record.size)).collect();
        let (mut from, mut to) = (0u64, 0u64);
        for (layer, size) in &compressed {
            if let Some(grown) = unpacked.get(layer).filter(|grown| grown.0 > 0) {
                from = from.saturating_add(size.0);
                to = to.saturating_add(grown.0);
            }
        }
        // a blob never becomes less in a way that could be relied on
        let ratio = if from < ENOUGH_KNOWN { USUAL_RATIO } else { (to as f64 / from as f64).max(1.0) };
        Self { unpacked, ratio }
    }

    /// Unpacked bytes per compressed byte, for layers that are not here.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// What a pull takes at its peak, if every layer of which nobody knows must be fetched.
    pub fn peak(&self, estimate: &Estimate) -> Peak {
        let mut peak = Peak::default();
        for layer in &estimate.layers {
            let (download, unpack) = match layer.presence {
                Presence::Here => (false, false),
                Presence::Repeated => (false, true),
                Presence::ToFetch | Presence::Unknown => (true, true),
            };
            if download {
                peak.download += layer.size;
            }
            if unpack {
                let guess = Bytes((layer.size.0 as f64 * self.ratio) as u64);
                peak.unpacked += self.unpacked.get(&layer.diff_id).copied().filter(|size| size.0 > 0).unwrap_or(guess);
            }
        }
        peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{ChainId, Digest};
    use crate::layers::Origin;
    use crate::manifest::Compression;
    use crate::reuse::LayerEstimate;
    use crate::testing::Host;

    fn layer(word: &str, size: u64, presence: Presence) -> LayerEstimate {
        LayerEstimate {
            blob: Digest::of(word.as_bytes()),
            diff_id: DiffId::of(word.as_bytes()),
            size: Bytes(size),
            compression: Compression::Gzip,
            presence,
            created_by: None,
        }
    }

    fn estimate(layers: Vec<LayerEstimate>) -> Estimate {
        let none = Bytes::ZERO;
        Estimate { layers, total: none, here: none, fetch_least: none, fetch_most: none }
    }

    /// A host with one image of these layers, and what their blobs were.
    fn host(layers: &[(&str, u64, u64)]) -> (Host, Vec<LayerRecord>) {
        let mut host = Host::keeping(3).named("image", "sha-1");
        let image = &mut host.inventory.images[0];
        image.layers = layers.iter().map(|(word, ..)| DiffId::of(word.as_bytes())).collect();
        image.layer_bytes = layers.iter().map(|(.., unpacked)| Bytes(*unpacked)).collect();
        let records = layers.iter().map(|(word, size, _)| LayerRecord {
            chain: ChainId::stacked(None, DiffId::of(word.as_bytes())),
            diff_id: DiffId::of(word.as_bytes()),
            blob: Digest::of(word.as_bytes()),
            size: Bytes(*size),
            origin: Origin::Downloaded,
        });
        (host, records.collect())
    }

    #[test]
    fn the_ratio_is_learnt_from_what_this_host_has() {
        let (bare, records) = host(&[("small", 1_000, 9_000)]);
        assert_eq!(Growth::of(&bare.inventory, &records).ratio(), USUAL_RATIO, "too little is known");
        let (full, records) = host(&[("torch", 20_000_000, 30_000_000), ("cuda", 20_000_000, 50_000_000)]);
        assert_eq!(Growth::of(&full.inventory, &records).ratio(), 2.0);
        let (odd, records) = host(&[("zeros", 20_000_000, 1)]);
        assert_eq!(Growth::of(&odd.inventory, &records).ratio(), 1.0);
    }

    #[test]
    fn the_peak_is_what_moves_and_what_it_becomes() {
        let (full, records) = host(&[("torch", 20_000_000, 30_000_000), ("cuda", 20_000_000, 50_000_000)]);
        let growth = Growth::of(&full.inventory, &records);
        let peak = growth.peak(&estimate(vec![
            layer("base", 7, Presence::Here),
            layer("app", 100, Presence::ToFetch),
            layer("maybe", 10, Presence::Unknown),
            layer("app", 100, Presence::Repeated),
            // its content is here in another place, so its size is known
            layer("torch", 21_000_000, Presence::ToFetch),
        ]));
        assert_eq!(peak.download, Bytes(21_000_110));
        assert_eq!(peak.unpacked, Bytes(200 + 20 + 200 + 30_000_000));
        assert_eq!(peak.bytes(), Bytes(51_000_530));
    }
}
