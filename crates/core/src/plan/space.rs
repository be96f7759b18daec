//! What removing images really frees: the layers that nobody else holds.

use std::collections::HashMap;

use crate::bytes::Bytes;
use crate::digest::{DiffId, DigestMap};
use crate::inventory::Image;

/// Every stack of layers on the host as one tree, with the number of images that stand on each layer.
#[derive(Debug, Clone, Default)]
pub struct Space {
    /// By the node below and the content's number.
    nodes: HashMap<(u32, u32), u32>,
    unpacked: Vec<Share>,
    /// Contents by number: a digest is long to hash, and every image has dozens.
    numbers: DigestMap<DiffId, u32>,
    contents: Vec<Share>,
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
        // node 0 is the ground below every bottom layer
        let mut space = Self { unpacked: vec![Share::default()], ..Self::default() };
        for image in images {
            let mut at = 0u32;
            for (i, layer) in image.layers.iter().enumerate() {
                let next = number(space.contents.len());
                let content = *space.numbers.entry(*layer).or_insert(next);
                if content == next {
                    space.contents.push(Share { standing: 0, size: extra(*layer) });
                }
                space.contents[content as usize].standing += 1;
                let next = number(space.unpacked.len());
                at = *space.nodes.entry((at, content)).or_insert(next);
                if at == next {
                    space.unpacked.push(Share::default());
                }
                let node = &mut space.unpacked[at as usize];
                node.standing += 1;
                // one image may know what another does not
                node.size = node.size.max(image.layer_bytes.get(i).copied().unwrap_or_default());
            }
        }
        space
    }

    /// Takes the image away and says what that frees. Only for images that the tree was made of, each once.
    pub fn remove(&mut self, image: &Image) -> Bytes {
        let mut freed = Bytes::ZERO;
        let mut at = 0u32;
        for layer in &image.layers {
            let Some(content) = self.numbers.get(layer) else { break };
            let Some(node) = self.nodes.get(&(at, *content)) else { break };
            at = *node;
            freed += self.unpacked[at as usize].drop_one() + self.contents[*content as usize].drop_one();
        }
        freed
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
