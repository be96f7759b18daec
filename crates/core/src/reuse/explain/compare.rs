//! Which image here is nearest to one that is to come, and where they part.

use std::collections::BTreeMap;

use crate::digest::{DiffId, ImageId};
use crate::inventory::{Image, Inventory};
use crate::manifest::ImageManifest;
use crate::plan::NameHistory;
use crate::reference::{ImageName, Reference, Selector};
use crate::reuse::explain::{Evidence, title};

/// How many layers two stacks have in common from the bottom.
pub(super) fn common(one: &[DiffId], other: &[DiffId]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// The image with most layers in common from the bottom; of several the one that is built most alike, then the newest, then
/// the one whose id comes last. Where none has the lowest layer, as after a base image was built anew, it is the `earlier` one:
/// then they part at the bottom.
pub fn nearest<'i>(
    manifest: &ImageManifest,
    inventory: &'i Inventory,
    earlier: Option<ImageId>,
) -> Option<(&'i Image, usize)> {
    let wanted = manifest.diff_ids();
    let measure = |image: &&Image| {
        let unlike = image.layers.len().abs_diff(wanted.len());
        (common(&wanted, &image.layers), std::cmp::Reverse(unlike), image.created, image.id)
    };
    let best = inventory.images.iter().max_by_key(measure)?;
    let common = common(&wanted, &best.layers);
    if common > 0 {
        return Some((best, common));
    }
    let earlier = inventory.images.iter().find(|image| Some(image.id) == earlier && !image.layers.is_empty());
    earlier.map(|image| (image, 0))
}

/// The image here that one to come most likely follows upon: the one that has its name, else the newest of its repository. Newest
/// is the last in our own order of deploys and first sightings, where that has the name: a build's time may be anything.
pub fn predecessor<'i>(
    reference: &Reference,
    inventory: &'i Inventory,
    history: &BTreeMap<ImageName, NameHistory>,
) -> Option<&'i Image> {
    let repository = &reference.repository;
    let has_name = |image: &Image| match &reference.selector {
        Selector::Tag(tag) => image.names.contains(&repository.tagged(tag.clone())),
        Selector::Digest(_) => false,
    };
    let place = |image: &Image| {
        let names = image.names.iter().filter(|name| name.repository == *repository);
        names.filter_map(|name| history.get(name)).map(|name| name.place).max()
    };
    let of_it = inventory.images.iter().filter(|image| {
        image.names.iter().any(|name| name.repository == *repository) || image.digests_in(repository).next().is_some()
    });
    of_it.max_by_key(|image| (has_name(image), place(image), image.created, image.id))
}

/// The kept image on which `image` is built to above the layer in question, and the one to come is not: its base has moved.
pub(super) fn base_left(image: &Image, at: usize, evidence: &Evidence<'_>) -> Option<String> {
    let kept = evidence.policy.keep.iter().filter_map(|keep| evidence.inventory.named(&keep.image));
    let below = kept.filter(|kept| {
        kept.id != image.id && kept.layers.len() > at && common(&kept.layers, &image.layers) == kept.layers.len()
    });
    below.min_by_key(|kept| kept.layers.len()).map(title)
}
