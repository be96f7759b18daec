//! Content digests. Three of them look alike and must never mix, so each has a type: [`Digest`] names a compressed
//! blob or a manifest, [`DiffId`] an uncompressed layer, [`ImageId`] whatever the engine calls an image.
//!
//! Grammar: OCI image specification, `descriptor.md#digests`. Docker Engine knows only `sha256`, so that is all we take.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No `sha256:` in front.
    #[error("digest {0:?} does not start with \"sha256:\"")]
    Algorithm(String),
    /// Not 64 hexadecimal digits.
    #[error(
        "digest {text:?} has {len} characters after \"sha256:\"; a sha256 digest has 64 lower-case hexadecimal digits"
    )]
    Length {
        /// The text as given.
        text: String,
        /// How many characters stood after the algorithm.
        len: usize,
    },
    /// A character outside `0-9a-f`.
    #[error("digest {0:?} holds a character that is not a lower-case hexadecimal digit")]
    Hex(String),
}

fn parse_hex(text: &str) -> Result<[u8; 32], DigestError> {
    let hex = text.strip_prefix("sha256:").ok_or_else(|| DigestError::Algorithm(text.to_owned()))?;
    if hex.len() != 64 {
        return Err(DigestError::Length { text: text.to_owned(), len: hex.chars().count() });
    }
    let mut out = [0u8; 32];
    for (byte, pair) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
            return Err(DigestError::Hex(text.to_owned()));
        };
        *byte = high << 4 | low;
    }
    Ok(out)
}

fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

/// Plans and estimates print digests by the thousand: chain ids are hashes of printed digests.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// A map keyed by digests. They are hashes already, so eight of their bytes will do; on a host with thousands of images
/// most of a plan's time would go into hashing them once more.
pub(crate) type DigestMap<K, V> = HashMap<K, V, BuildHasherDefault<DigestHasher>>;

/// Takes the last eight bytes of a digest for its hash.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*last);
        }
    }

    // an array hashes its length first, and all have the same
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

macro_rules! sha256_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The digest with these 32 bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The digest of this content.
            pub fn of(content: &[u8]) -> Self {
                Self(Sha256::digest(content).into())
            }

            /// The 64 hexadecimal digits, without the algorithm.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }

            /// The first twelve digits, as Docker prints them.
            pub fn short(&self) -> String {
                hex(&self.0[..6])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "sha256:{}", self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

sha256_type! {
    /// The digest of bytes as a registry holds them: a manifest, an index, a config or a compressed layer blob.
    Digest
}
sha256_type! {
    /// The digest of an uncompressed layer tar, as listed in an image config's `rootfs.diff_ids`.
    DiffId
}
sha256_type! {
    /// The engine's id of an image: the config's digest on the overlay2 store, the manifest's or the index's on the
    /// containerd store. Comparable only with ids from the same engine.
    ImageId
}
sha256_type! {
    /// The identity of a layer on top of all those below it (OCI image specification, `config.md#layer-chainid`).
    ChainId
}

impl ChainId {
    /// The chain that `layer` makes on top of `parent`; a bottom layer's chain id is its diff id.
    pub fn stacked(parent: Option<ChainId>, layer: DiffId) -> Self {
        match parent {
            None => Self(layer.0),
            Some(parent) => Self::of(format!("{parent} {layer}").as_bytes()),
        }
    }

    /// The chain ids of a stack of layers, bottom first.
    pub fn of_stack(layers: &[DiffId]) -> Vec<Self> {
        let mut chain = None;
        layers
            .iter()
            .map(|layer| {
                let next = Self::stacked(chain, *layer);
                chain = Some(next);
                next
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_prints_as_it_was_read() {
        let text = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap().short(), "0a0a0a0a0a0a");
    }

    #[test]
    fn what_is_not_a_digest_says_why() {
        let short = "sha256:abc".parse::<Digest>().unwrap_err();
        assert!(matches!(short, DigestError::Length { len: 3, .. }), "{short}");
        let upper = format!("sha256:{}", "AB".repeat(32)).parse::<Digest>().unwrap_err();
        assert!(matches!(upper, DigestError::Hex(_)), "{upper}");
        let algorithm = "md5:abc".parse::<Digest>().unwrap_err();
        assert!(matches!(algorithm, DigestError::Algorithm(_)), "{algorithm}");
    }

    #[test]
    fn the_chain_of_one_layer_is_its_diff_id_and_of_two_is_the_hash_of_both_names() {
        let (a, b) = (DiffId::of(b"a"), DiffId::of(b"b"));
        let chain = ChainId::of_stack(&[a, b]);
        assert_eq!(chain[0].to_string(), a.to_string());
        assert_eq!(chain[1], ChainId::of(format!("{a} {b}").as_bytes()));
    }
}
