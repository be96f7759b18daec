//! What is known of the layers that the engine holds: which uncompressed content, stacked how, and under which blob
//! digests the engine would recognise it.

use std::collections::HashSet;

use crate::bytes::Bytes;
use crate::digest::{ChainId, DiffId, Digest};
use crate::inventory::{Inventory, StoreKind};

/// How we know that a blob digest and a diff id belong together on this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A pull of ours moved the blob.
    Downloaded,
    /// A pull of ours found the layer already here.
    Reused,
    /// The image was here before us; its manifest, found by its RepoDigest, says so.
    Manifest,
}

/// One layer as it came to this engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// The layer on top of all those below it.
    pub chain: ChainId,
    /// Its uncompressed content.
    pub diff_id: DiffId,
    /// Its blob.
    pub blob: Digest,
    /// The blob's size.
    pub size: Bytes,
    /// How we know.
    pub origin: Origin,
}

impl LayerRecord {
    /// Does an engine with this store, where these chains are, still know the content by this blob?
    pub(crate) fn has_blob(&self, store: StoreKind, has_chain: impl Fn(ChainId) -> bool) -> bool {
        match store {
            // the map from blob digest to diff id outlives the layer there
            StoreKind::Graphdriver => true,
            // a blob lives as long as an image that lists it, and a layer reused by its chain may have none
            StoreKind::Containerd => has_chain(self.chain) && self.origin != Origin::Reused,
        }
    }
}

/// The engine's layers, ready to be asked.
#[derive(Debug, Clone)]
pub struct Holdings {
    store: StoreKind,
    chains: HashSet<ChainId>,
    diff_ids: HashSet<DiffId>,
    blobs: HashSet<Digest>,
    described: HashSet<DiffId>,
}

/// Would the engine have to fetch this layer?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// No: it is here, and the engine knows it.
    Here,
    /// No: the same blob stands earlier in the same manifest and is fetched there.
    Repeated,
    /// Yes.
    ToFetch,
    /// Its content is here, but nothing tells whether this engine knows it by this blob's digest.
    Unknown,
}

impl Holdings {
    /// Puts together what the engine shows and what we recorded for it.
    pub fn new(inventory: &Inventory, records: &[LayerRecord]) -> Self {
        let mut chains = HashSet::new();
        let mut diff_ids = HashSet::new();
        for image in &inventory.images {
            chains.extend(ChainId::of_stack(&image.layers));
            diff_ids.extend(image.layers.iter().copied());
        }
        let store = inventory.engine.store;
        let has_blob = |record: &&LayerRecord| record.has_blob(store, |chain| chains.contains(&chain));
        let known: Vec<&LayerRecord> = records.iter().filter(has_blob).collect();
        Self {
            store,
            blobs: known.iter().map(|record| record.blob).collect(),
            described: known.iter().map(|record| record.diff_id).collect(),
            chains,
            diff_ids,
        }
    }

    /// Is there an image here with this very stack of layers at its bottom?
    pub fn has_chain(&self, chain: ChainId) -> bool {
        self.chains.contains(&chain)
    }

    /// Is this content here, anywhere?
    pub fn has_content(&self, diff_id: DiffId) -> bool {
        self.diff_ids.contains(&diff_id)
    }

    /// Do the records say under which blob digest the engine knows this content?
    pub fn is_described(&self, diff_id: DiffId) -> bool {
        self.described.contains(&diff_id)
    }

    /// Judges a stack of layers, bottom first, as the engine's own pull would.
    ///
    /// The classic store walks up from the bottom and takes a layer for present only if it knows the blob's digest and
    /// has the content at that place in the chain; from the first miss on it fetches everything. The containerd store
    /// skips every layer whose chain it has unpacked, and otherwise needs only the blob.
    pub fn judge(&self, layers: impl IntoIterator<Item = (Digest, DiffId)>) -> Vec<Presence> {
        let mut seen: HashSet<Digest> = HashSet::new();
        let mut chain = None;
        let mut walk = Presence::Here;
        layers
            .into_iter()
            .map(|(blob, diff_id)| {
                let here = ChainId::stacked(chain, diff_id);
                chain = Some(here);
                let judged = match self.store {
                    StoreKind::Graphdriver => {
                        walk = self.step(walk, here, blob, diff_id);
                        walk
                    }
                    StoreKind::Containerd => self.in_containerd(here, blob, diff_id),
                };
                // only a blob that this pull moves can serve a second place
                if judged != Presence::Here && !seen.insert(blob) { Presence::Repeated } else { judged }
            })
            .collect()
    }

    fn step(&self, walk: Presence, chain: ChainId, blob: Digest, diff_id: DiffId) -> Presence {
        if walk == Presence::ToFetch || !self.has_chain(chain) {
            Presence::ToFetch
        } else if self.blobs.contains(&blob) {
            walk
        } else if self.is_described(diff_id) {
            Presence::ToFetch
        } else {
            Presence::Unknown
        }
    }

    fn in_containerd(&self, chain: ChainId, blob: Digest, diff_id: DiffId) -> Presence {
        if self.has_chain(chain) || self.blobs.contains(&blob) {
            Presence::Here
        } else if self.has_content(diff_id) && !self.is_described(diff_id) {
            Presence::Unknown
        } else {
            Presence::ToFetch
        }
    }
}

#[cfg(test)]
mod tests;
