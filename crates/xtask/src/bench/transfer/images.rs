//! What is pulled: an image of several layers as applications have them, its next version, and one huge layer.

use anyhow::Result;
use layerkeeper_core::Bytes;
use layerkeeper_testkit::image::random;
use layerkeeper_testkit::{Image, Layer, Pushed, Registry};

/// The layers of the application's image, compressed and about: base, runtime, libraries, models and small ones. On them
/// stands the application itself.
const LAYERS: [u64; 8] = [30, 190, 5, 110, 80, 45, 25, 1];
const APPLICATION: u64 = 14;

/// What of its content no compression makes smaller, and what is text, in turns of so many bytes: gzip takes this to a half.
const DENSE: usize = 2048;
const TEXT: usize = 4096;
const WORDS: [&str; 32] = [
    "return ", "import ", "self.", "    ", "\n", "(", ") {\n", "0x", ", ", "= ", "const ", "if ", "else ", "for ",
    "in ", "range", "None", "True", "size", "data", "_id", "float", "tensor", "name", "value", "error", "\"\"\"", "# ",
    "def ", "class ", ": ", "print",
];

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing of it is here.
    Cold,
    /// All but its last layer is here.
    Next,
    /// Nothing of it is here, and it is one layer.
    Huge,
}

/// In a registry.
pub struct Images {
    cold: Pushed,
    next: Pushed,
    huge: Pushed,
}

impl Images {
    /// Makes and pushes them; small ones are for a quick look.
    pub fn push(registry: &Registry, small: bool) -> Result<Self> {
        // with less than 100 MB to fetch, the daemon would measure nothing
        let (part, huge) = if small { (4, 100_000_000) } else { (1, 1_000_000_000) };
        let mut base = Image::new();
        for (at, size) in LAYERS.into_iter().enumerate() {
            let layer = layer(&format!("usr/lib/part-{at}"), at as u64 + 1, Bytes(size * 1_000_000 / part))?;
            base = base.layer(layer.created_by("RUN apt-get install -y libraries"));
        }
        let version = |number: u64, tag: &str| -> Result<Pushed> {
            let size = Bytes(APPLICATION * 1_000_000);
            let layer = layer("srv/app", 1_000 + number, size)?.created_by("COPY app /srv/app # buildkit");
            Ok(Image::from(&base).layer(layer).push(registry, &format!("acme/app:sha-{tag}"))?)
        };
        let (cold, next) = (version(1, "aaaaaaa")?, version(2, "bbbbbbb")?);
        drop(base);
        let layer = Layer::random_files("opt/model", 2_000, 8, Bytes(huge))?;
        let huge = Image::new().layer(layer.created_by("COPY model /opt/model # buildkit"));
        Ok(Self { cold, next, huge: huge.push(registry, "acme/app:sha-ccccccc")? })
    }

    /// This one.
    pub fn of(&self, kind: Kind) -> &Pushed {
        match kind {
            Kind::Cold => &self.cold,
            Kind::Next => &self.next,
            Kind::Huge => &self.huge,
        }
    }

    /// What of it is not here when its round begins.
    pub fn missing(&self, kind: Kind) -> Bytes {
        match kind {
            Kind::Next => self.next.layers.last().map(|layer| layer.size).unwrap_or_default(),
            Kind::Cold | Kind::Huge => self.of(kind).bytes_to_fetch(),
        }
    }

    /// In a table.
    pub fn named(&self, kind: Kind) -> String {
        let (missing, layers) = (self.missing(kind), self.of(kind).layers.len());
        match kind {
            Kind::Cold => format!("cold, {layers} layers, {missing}"),
            Kind::Next => format!("next version, {missing}"),
            Kind::Huge => format!("one layer, {missing}"),
        }
    }
}

/// Files of about this size together when they are compressed.
fn layer(directory: &str, seed: u64, compressed: Bytes) -> Result<Layer> {
    let unpacked = compressed.0 as f64 / 0.515;
    // a few large files and many small ones
    let (large, small) = ((unpacked * 0.6) as u64, (unpacked * 0.4) as u64);
    let few = random::files(&format!("{directory}/lib"), seed, (large / 8_000_000) as usize, Bytes(large));
    let many = random::files(&format!("{directory}/src"), seed + 500, (small / 40_000) as usize, Bytes(small));
    let files = few.into_iter().chain(many);
    Ok(Layer::files(files.map(|(name, bytes)| (name, loosened(bytes))))?)
}

/// Puts text over a part of the bytes, which choose its words.
fn loosened(mut bytes: Vec<u8>) -> Vec<u8> {
    for turn in bytes.chunks_mut(DENSE + TEXT) {
        let start = DENSE.min(turn.len());
        let (seed, text) = turn.split_at_mut(start);
        let mut words = seed.iter().cycle().map(|byte| WORDS[usize::from(*byte) % WORDS.len()].as_bytes());
        let mut at = 0;
        while at < text.len() {
            let Some(word) = words.next() else { break };
            let length = word.len().min(text.len() - at);
            text[at..at + length].copy_from_slice(&word[..length]);
            at += length;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_about_as_large_as_it_is_to_be() {
        let layer = layer("a", 1, Bytes(3_000_000)).unwrap();
        let size = layer.blob().unwrap().0.len();
        assert!((2_500_000..3_500_000).contains(&size), "{size}");
        assert!(layer.unpacked().0 > 5_000_000);
    }
}
