//! What removing images really frees: the layers that nobody else holds.

use crate::bytes::Bytes;
use crate::digest::{DiffId, DigestMap, ImageId};
use crate::inventory::Image;

/// Every stack of layers on the host as one tree, with the number of images that stand on each layer.
#[derive(Debug, Clone, Default)]
pub struct Space {
    layers: Vec<Layer>,
    contents: Vec<Share>,
    /// The layer on which each image ends.
    tops: DigestMap<ImageId, usize>,
}

/// A content on all those below it.
#[derive(Debug, Clone, Copy, Default)]
struct Layer {
    below: usize,
    content: usize,
    unpacked: Share,
}

/// Something that takes room until the last image that needs it has gone.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    standing: u32,
    size: Bytes,
}

impl Share {
    fn drop_one(&mut self) -> Bytes {
        self.standing = self.standing.saturating_sub(1);
        if self.standing == 0 { std::mem::take(&mut self.size) } else { Bytes::ZERO }
    }
}

impl Space {
    /// The tree of these images. `extra` gives what a layer's content takes besides being unpacked (the containerd store
    /// keeps the compressed blob too), zero where unknown: once on the host, however many stacks unpack it.
    pub fn new<'a>(images: impl IntoIterator<Item = &'a Image>, extra: impl Fn(DiffId) -> Bytes) -> Self {
        // layer 0 is the ground below every bottom layer
        let mut space = Self { layers: vec![Layer::default()], ..Self::default() };
        let mut numbers: DigestMap<DiffId, usize> = DigestMap::default();
        let mut stacked: DigestMap<(usize, DiffId), usize> = DigestMap::default();
        for image in images {
            let mut at = 0;
            for (i, diff_id) in image.layers.iter().enumerate() {
                at = *stacked.entry((at, *diff_id)).or_insert_with(|| {
                    let content = *numbers.entry(*diff_id).or_insert_with(|| {
                        space.contents.push(Share { standing: 0, size: extra(*diff_id) });
                        space.contents.len() - 1
                    });
                    space.layers.push(Layer { below: at, content, unpacked: Share::default() });
                    space.layers.len() - 1
                });
                space.contents[space.layers[at].content].standing += 1;
                let unpacked = &mut space.layers[at].unpacked;
                unpacked.standing += 1;
                // one image may know what another does not
                unpacked.size = unpacked.size.max(image.layer_bytes.get(i).copied().unwrap_or_default());
            }
            space.tops.insert(image.id, at);
        }
        space
    }

    /// Takes the image away and says what that frees; nothing for an image that is not, or no longer, in the tree.
    pub fn remove(&mut self, image: &Image) -> Bytes {
        let mut freed = Bytes::ZERO;
        let mut at = self.tops.remove(&image.id).unwrap_or_default();
        while let Some(layer) = self.layers.get_mut(at).filter(|_| at > 0) {
            freed += layer.unpacked.drop_one() + self.contents[layer.content].drop_one();
            at = layer.below;
        }
        freed
    }
}

#[cfg(test)]
mod tests;
