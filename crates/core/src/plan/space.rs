//! What removing images really frees: the layers that nobody else holds.

use std::collections::HashMap;

use crate::bytes::Bytes;
use crate::digest::DiffId;
use crate::inventory::Image;

/// Every stack of layers on the host as one tree, with the number of images that stand on each layer.
#[derive(Debug, Clone, Default)]
pub struct Space {
    nodes: HashMap<(u32, DiffId), u32>,
    standing: Vec<u32>,
    size: Vec<Bytes>,
}

impl Space {
    /// The tree of these images. `extra` gives what a layer takes besides its unpacked size (the containerd store keeps
    /// the compressed blob too), zero where unknown.
    pub fn new<'a>(images: impl IntoIterator<Item = &'a Image>, extra: impl Fn(DiffId) -> Bytes) -> Self {
        // node 0 is the ground below every bottom layer
        let mut space = Self { nodes: HashMap::new(), standing: vec![0], size: vec![Bytes::ZERO] };
        for image in images {
            let mut at = 0u32;
            for (i, layer) in image.layers.iter().enumerate() {
                let next = u32::try_from(space.standing.len()).unwrap_or(u32::MAX);
                at = *space.nodes.entry((at, *layer)).or_insert(next);
                if at == next {
                    space.standing.push(0);
                    space.size.push(extra(*layer));
                }
                let node = at as usize;
                space.standing[node] += 1;
                if let (Some(unpacked), 1) = (image.layer_bytes.get(i), space.standing[node]) {
                    space.size[node] += *unpacked;
                }
            }
        }
        space
    }

    /// Takes the image away and says what that frees. Only for images that the tree was made of, each once.
    pub fn remove(&mut self, image: &Image) -> Bytes {
        let mut freed = Bytes::ZERO;
        let mut at = 0u32;
        for layer in &image.layers {
            let Some(node) = self.nodes.get(&(at, *layer)) else { break };
            at = *node;
            let standing = &mut self.standing[at as usize];
            *standing = standing.saturating_sub(1);
            if *standing == 0 {
                freed += self.size[at as usize];
            }
        }
        freed
    }
}
