//! Why a layer must be fetched, by evidence: what is here, what the registry says of it, and what was recorded. Where
//! nothing shows a cause, none is named.

mod cause;
mod compare;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::bytes::Bytes;
use crate::digest::{ChainId, DiffId, Digest, ImageId};
use crate::inventory::{Image, Inventory, StoreKind};
use crate::layers::{LayerRecord, Presence};
use crate::manifest::{ImageManifest, ManifestLayer};
use crate::policy::Policy;
use crate::reference::ImageName;
use crate::reuse::Estimate;
use crate::time::Timestamp;

pub use cause::{Cause, Difference};
pub use compare::{nearest, predecessor};

/// A layer that was here and is no longer: what the record knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The image that last held it, by one of its names.
    pub image: String,
    /// When it was seen to be gone.
    pub at: Timestamp,
    /// By which call, as far as somebody knows: a sentence.
    pub how: Option<String>,
    /// It was our own removal.
    pub ours: bool,
}

/// How much of a layer's content stands in another image under the same path, measured file by file. The engine shows no
/// layer by itself: its files are those at the place that it was copied to, but for the ones that the kept image below has,
/// and only where they are no more than the layer can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// The other image.
    pub image: String,
    /// Bytes in regular files of the layer.
    pub total: Bytes,
    /// Bytes in those of them that the other image has, too.
    pub repeated: Bytes,
    /// How many files the layer has.
    pub files: u64,
    /// How many of them the other image has, too.
    pub repeated_files: u64,
    /// It was measured at an older layer of the same instruction, not at this one.
    pub foretold: bool,
}

/// What an explanation rests on.
#[derive(Debug)]
pub struct Evidence<'e> {
    /// The image that is to come.
    pub manifest: &'e ImageManifest,
    /// What would move of it.
    pub estimate: &'e Estimate,
    /// What is here.
    pub inventory: &'e Inventory,
    /// The image here to compare with where none has the lowest layer: its [`predecessor`], or the one that somebody named.
    pub earlier: Option<ImageId>,
    /// Our records of layers.
    pub records: &'e [LayerRecord],
    /// What the registry says of images that are here; see [`to_describe`].
    pub described: &'e BTreeMap<ImageId, ImageManifest>,
    /// What was here once.
    pub lost: &'e HashMap<DiffId, Lost>,
    /// What was measured of layers' content.
    pub repeats: &'e HashMap<DiffId, Vec<Repeat>>,
    /// Who is kept.
    pub policy: &'e Policy,
}

/// How much of an image a kept image shares with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The kept image.
    pub image: ImageName,
    /// It is here.
    pub here: bool,
    /// Compressed bytes of the layers that both have at the same place of the chain.
    pub bytes: Bytes,
    /// How many layers those are.
    pub layers: usize,
}

/// Why an image moves what it moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The image here that it has most in common with, or that it follows upon, by one of its names.
    pub compared_with: Option<String>,
    /// Per layer, bottom first; none for a layer that is here.
    pub causes: Vec<Vec<Cause>>,
    /// Per kept image, in the policy's order.
    pub shares: Vec<Share>,
}

/// The name by which people know an image: a tag, else a digest row, else its id.
pub fn title(image: &Image) -> String {
    let row = || image.digests.first().map(|(repository, digest)| repository.by_digest(*digest).to_string());
    image.names.first().map(ToString::to_string).or_else(row).unwrap_or_else(|| image.id.to_string())
}

/// Images here whose manifests would help: the one to compare with, and one for each layer whose content is here.
pub fn to_describe<'i>(
    manifest: &ImageManifest,
    estimate: &Estimate,
    inventory: &'i Inventory,
    earlier: Option<ImageId>,
) -> Vec<&'i Image> {
    let nearest = compare::nearest(manifest, inventory, earlier);
    let mut wanted: Vec<&Image> = nearest.into_iter().map(|(image, _)| image).collect();
    let held = inventory.held_layers();
    for layer in estimate.layers.iter().filter(|layer| matches!(layer.presence, Presence::ToFetch)) {
        let holder = held.get(&layer.diff_id).map(|at| &inventory.images[*at]);
        if let Some(holder) = holder.filter(|holder| !wanted.iter().any(|known| known.id == holder.id)) {
            wanted.push(holder);
        }
    }
    wanted
}

/// Says why.
pub fn explain(evidence: &Evidence<'_>) -> Explanation {
    let nearest = compare::nearest(evidence.manifest, evidence.inventory, evidence.earlier);
    let scene = Scene::new(evidence, nearest);
    let causes = (0..evidence.manifest.layers.len()).map(|at| scene.causes(at)).collect();
    Explanation { compared_with: nearest.map(|(image, _)| title(image)), causes, shares: shares(evidence) }
}

/// Everything that is asked for each layer, looked up once.
struct Scene<'e> {
    evidence: &'e Evidence<'e>,
    /// The image to compare with, and how many layers it has in common from the bottom.
    nearest: Option<(&'e Image, usize)>,
    chains: Vec<ChainId>,
    /// Which chain is in which image.
    held_chains: HashMap<ChainId, usize>,
    held_layers: HashMap<DiffId, usize>,
    blobs: HashMap<DiffId, BTreeSet<Digest>>,
    /// The lowest layer that must be fetched.
    first: Option<usize>,
}

impl<'e> Scene<'e> {
    fn new(evidence: &'e Evidence<'e>, nearest: Option<(&'e Image, usize)>) -> Self {
        let mut held_chains = HashMap::new();
        for (at, image) in evidence.inventory.images.iter().enumerate() {
            for chain in ChainId::of_stack(&image.layers) {
                held_chains.entry(chain).or_insert(at);
            }
        }
        let mut blobs: HashMap<DiffId, BTreeSet<Digest>> = HashMap::new();
        let store = evidence.inventory.engine.store;
        let has_blob = |record: &&LayerRecord| record.has_blob(store, |chain| held_chains.contains_key(&chain));
        for record in evidence.records.iter().filter(has_blob) {
            blobs.entry(record.diff_id).or_default().insert(record.blob);
        }
        Self {
            evidence,
            nearest,
            chains: ChainId::of_stack(&evidence.manifest.diff_ids()),
            held_chains,
            held_layers: evidence.inventory.held_layers(),
            blobs,
            first: evidence.estimate.layers.iter().position(|layer| layer.presence == Presence::ToFetch),
        }
    }

    fn causes(&self, at: usize) -> Vec<Cause> {
        let layer = &self.evidence.manifest.layers[at];
        let presence = self.evidence.estimate.layers.get(at).map(|layer| layer.presence);
        let mut causes: Vec<Cause> = match presence {
            Some(Presence::Unknown) => self.holder(at).map(|image| Cause::Undescribed { image }).into_iter().collect(),
            Some(Presence::ToFetch) => vec![self.main_cause(at, layer)],
            _ => return Vec::new(),
        };
        causes.extend(self.evidence.repeats.get(&layer.diff_id).into_iter().flatten().cloned().map(Cause::Repeats));
        causes
    }

    fn main_cause(&self, at: usize, layer: &ManifestLayer) -> Cause {
        let chain_is_here = self.held_chains.contains_key(&self.chains[at]);
        let content_is_here = self.held_layers.contains_key(&layer.diff_id);
        let by_place = self.evidence.inventory.engine.store == StoreKind::Graphdriver;
        if content_is_here && chain_is_here && self.lower_must_move(at) {
            return Cause::Above { first: self.first.unwrap_or(at) };
        }
        if content_is_here && !chain_is_here && by_place {
            // below it another layer moves: only where a kept image has it on others is that place of any use
            return match (self.kept_holder(layer), self.holder(at)) {
                (Some(image), _) => Cause::OtherPosition { image, kept: true },
                (None, Some(image)) if !self.lower_must_move(at) => Cause::OtherPosition { image, kept: false },
                _ => Cause::Above { first: self.first.unwrap_or(at) },
            };
        }
        if let Some(cause) = self.other_compression(layer).filter(|_| content_is_here) {
            return cause;
        }
        if let Some(lost) = self.evidence.lost.get(&layer.diff_id) {
            return Cause::Lost(lost.clone());
        }
        match self.nearest {
            Some((image, common)) if at == common && common == image.layers.len() => {
                Cause::OnTop { image: title(image) }
            }
            Some((image, common)) if at == common => Cause::Differs(self.difference(image, common, layer)),
            Some(_) if self.lower_must_move(at) => Cause::Above { first: self.first.unwrap_or(at) },
            _ => Cause::NeverSeen { above: self.first.filter(|first| *first < at) },
        }
    }

    /// On the classic store everything above the first layer that moves does so, too.
    fn lower_must_move(&self, at: usize) -> bool {
        self.evidence.inventory.engine.store == StoreKind::Graphdriver && self.first.is_some_and(|first| first < at)
    }

    fn holder(&self, at: usize) -> Option<String> {
        let layer = &self.evidence.manifest.layers[at];
        let image = self.held_chains.get(&self.chains[at]).or_else(|| self.held_layers.get(&layer.diff_id))?;
        Some(title(&self.evidence.inventory.images[*image]))
    }

    /// The first kept image that has the layer, at whatever place.
    fn kept_holder(&self, layer: &ManifestLayer) -> Option<String> {
        let kept = self.evidence.policy.keep.iter().map(|keep| &keep.image);
        let has = |image: &&ImageName| {
            self.evidence.inventory.named(image).is_some_and(|here| here.layers.contains(&layer.diff_id))
        };
        kept.into_iter().find(has).map(ToString::to_string)
    }

    /// The content is here, and known by other blobs only.
    fn other_compression(&self, layer: &ManifestLayer) -> Option<Cause> {
        let mut known: BTreeSet<Digest> = self.blobs.get(&layer.diff_id).cloned().unwrap_or_default();
        let described = self.evidence.described.values().flat_map(|manifest| &manifest.layers);
        let same: Vec<&ManifestLayer> = described.filter(|other| other.diff_id == layer.diff_id).collect();
        // what an image lists the containerd store need not have: it skips what it has unpacked
        if self.evidence.inventory.engine.store == StoreKind::Graphdriver {
            known.extend(same.iter().map(|other| other.blob.digest));
        }
        if known.contains(&layer.blob.digest) {
            return None;
        }
        let listed = same.iter().find(|other| known.contains(&other.blob.digest));
        let listed = listed.map(|other| (other.blob.digest, Some(other.compression)));
        let (here, here_as) = listed.or_else(|| known.first().map(|blob| (*blob, None)))?;
        Some(Cause::OtherCompression { here, here_as, wanted_as: layer.compression })
    }

    fn difference(&self, image: &Image, at: usize, layer: &ManifestLayer) -> Difference {
        let there = self.evidence.described.get(&image.id).and_then(|manifest| manifest.layers.get(at));
        Difference {
            image: title(image),
            wanted: layer.created_by.clone(),
            here: there.and_then(|there| there.created_by.clone()),
            at_bottom: at == 0,
            base: compare::base_left(image, at, self.evidence),
        }
    }
}

fn shares(evidence: &Evidence<'_>) -> Vec<Share> {
    let layers = &evidence.manifest.layers;
    let share = |image: &ImageName| {
        let here = evidence.inventory.named(image);
        let common = here.map_or(0, |here| compare::common(&evidence.manifest.diff_ids(), &here.layers));
        let bytes = layers[..common].iter().map(|layer| layer.blob.size).sum();
        Share { image: image.clone(), here: here.is_some(), bytes, layers: common }
    };
    evidence.policy.keep.iter().map(|keep| share(&keep.image)).collect()
}
