//! Images by manifest digest. What a digest names never changes, so an image read once need not move again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use layerkeeper_core::{Digest, ImageManifest, Platform, Repository};

const MOST_IMAGES: usize = 64;
const MOST_LAYERS: usize = 8192;

/// Access to an image is granted by repository, so the repository is part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) repository: Repository,
    pub(crate) digest: Digest,
    pub(crate) platform: Platform,
}

/// The most recently used images, bounded by their number and by the number of their layers.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    // newest last; so few that a search costs nothing beside a request
    images: Mutex<VecDeque<(Key, ImageManifest)>>,
}

impl Cache {
    pub(crate) fn get(&self, key: &Key) -> Option<ImageManifest> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let at = images.iter().position(|(k, _)| k == key)?;
        let entry = images.remove(at)?;
        let image = entry.1.clone();
        images.push_back(entry);
        Some(image)
    }

    pub(crate) fn put(&self, key: Key, image: ImageManifest) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.retain(|(k, _)| *k != key);
        images.push_back((key, image));
        let mut layers: usize = images.iter().map(|(_, image)| image.layers.len()).sum();
        while images.len() > MOST_IMAGES || (layers > MOST_LAYERS && images.len() > 1) {
            layers -= images.pop_front().map_or(0, |(_, image)| image.layers.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use layerkeeper_core::{Bytes, Compression, Descriptor, DiffId, manifest::ManifestLayer};

    fn key(n: usize) -> Key {
        Key {
            repository: "ghcr.io/a/b".parse().unwrap(),
            digest: Digest::of(&n.to_le_bytes()),
            platform: Platform { os: "linux".into(), architecture: "amd64".into(), variant: None },
        }
    }

    fn image(layers: usize) -> ImageManifest {
        let blob = Descriptor { digest: Digest::of(b"x"), size: Bytes(1) };
        let layer = ManifestLayer {
            blob: blob.clone(),
            compression: Compression::Gzip,
            diff_id: DiffId::of(b"x"),
            created_by: None,
        };
        ImageManifest {
            resolved: blob.digest,
            manifest: blob.clone(),
            config: blob,
            index_size: None,
            platform: key(0).platform,
            layers: vec![layer; layers],
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::default();
        (0..MOST_IMAGES).for_each(|n| cache.put(key(n), image(1)));
        assert!(cache.get(&key(0)).is_some());
        cache.put(key(MOST_IMAGES), image(1));
        assert!(cache.get(&key(0)).is_some() && cache.get(&key(1)).is_none());
    }

    #[test]
    fn images_of_many_layers_push_the_others_out() {
        let cache = Cache::default();
        (0..4).for_each(|n| cache.put(key(n), image(MOST_LAYERS / 3)));
        assert!(cache.get(&key(0)).is_none() && cache.get(&key(3)).is_some());
        cache.put(key(9), image(MOST_LAYERS + 1));
        assert!(cache.get(&key(9)).is_some() && cache.get(&key(3)).is_none());
    }

    #[test]
    fn another_repository_does_not_see_it() {
        let cache = Cache::default();
        cache.put(key(0), image(1));
        assert!(cache.get(&Key { repository: "ghcr.io/a/c".parse().unwrap(), ..key(0) }).is_none());
    }
}
