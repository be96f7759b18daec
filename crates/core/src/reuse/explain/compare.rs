//! Which image here is nearest to one that is to come, and where they part.

use crate::digest::DiffId;
use crate::inventory::{Image, Inventory};
use crate::manifest::ImageManifest;
use crate::reuse::explain::{Evidence, title};

/// How many layers two stacks have in common from the bottom.
pub(super) fn common(one: &[DiffId], other: &[DiffId]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// The image with most layers in common from the bottom; of several the one that is built most alike, then the newest, then
/// the one whose id comes last. An image with nothing in common is no help.
pub fn nearest<'i>(manifest: &ImageManifest, inventory: &'i Inventory) -> Option<(&'i Image, usize)> {
    let wanted = manifest.diff_ids();
    let measure = |image: &&Image| {
        let unlike = image.layers.len().abs_diff(wanted.len());
        (common(&wanted, &image.layers), std::cmp::Reverse(unlike), image.created, image.id)
    };
    let image = inventory.images.iter().max_by_key(measure)?;
    let common = common(&wanted, &image.layers);
    (common > 0).then_some((image, common))
}

/// The kept image on which `image` is built to above the layer in question, and the one to come is not: its base has moved.
pub(super) fn base_left(image: &Image, at: usize, evidence: &Evidence<'_>) -> Option<String> {
    let kept = evidence.policy.keep.iter().filter_map(|keep| evidence.inventory.named(&keep.image));
    let below = kept.filter(|kept| {
        kept.id != image.id && kept.layers.len() > at && common(&kept.layers, &image.layers) == kept.layers.len()
    });
    below.min_by_key(|kept| kept.layers.len()).map(title)
}
