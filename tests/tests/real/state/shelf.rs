//! What CI has pushed to the real registry: the fake's builds, each with as many layers, and content of its own in each.

use std::collections::{BTreeMap, HashMap};

use layerkeeper_core::{Bytes, DiffId, Digest, ImageName, Reference};
use layerkeeper_engine::fake::FakeLayer;
use layerkeeper_testkit::{Auth, Image, Index, Layer, Registry};

use super::builds::build;
use super::operation::{FOREIGN, KEPT, Name, VERSIONS};
use super::snapshot::Labels;

/// So much smaller than on the fake is all that moves.
pub const SMALLER: u64 = 1000;

/// A registry, and what is in it.
pub struct Shelf {
    registry: Registry,
    /// The digest of every build of a name.
    built: HashMap<Name, Vec<Digest>>,
    /// Each content, made once, and the fake's first blob of it: another one was compressed by somebody else.
    layers: BTreeMap<DiffId, (Digest, Layer)>,
    pub labels: Labels,
}

impl Shelf {
    pub fn new() -> Self {
        let registry = Registry::start(Auth::Open).unwrap();
        Self { registry, built: HashMap::new(), layers: BTreeMap::new(), labels: Labels::default() }
    }

    pub fn host(&self) -> String {
        self.registry.host()
    }

    /// The whole name.
    pub fn full(&self, name: Name) -> ImageName {
        format!("{}/acme/{}", self.host(), name.text()).parse().unwrap()
    }

    /// The digests that this tag has shown, oldest first.
    pub fn builds(&self, name: Name) -> &[Digest] {
        self.built.get(&name).map(Vec::as_slice).unwrap_or_default()
    }

    /// All that was ever pushed, by its digest.
    pub fn by_digest(&self) -> impl Iterator<Item = Reference> {
        let built = names().flat_map(|name| self.builds(name).iter().map(move |digest| (name, *digest)));
        built.map(|(name, digest)| self.full(name).repository.by_digest(digest))
    }

    /// Pushes the next build of that name.
    pub fn build(&mut self, name: Name) {
        let fake = build(name, self.builds(name).len());
        let mut image = Image::new().label("build", &fake.label);
        for layer in &fake.layers {
            let (first, content) = self.layers.entry(layer.diff_id).or_insert_with(|| (layer.blob, content(layer)));
            image = image.layer(if *first == layer.blob { content.clone() } else { content.clone().gzip(6) });
        }
        let tag = format!("acme/{}", name.text());
        let pushed = match fake.indexed {
            true => Index::of([image]).push(&self.registry, &tag).unwrap().remove(0),
            false => image.push(&self.registry, &tag).unwrap(),
        };
        self.labels.add(&fake.label, pushed.digest, pushed.manifest.digest, pushed.config.digest);
        self.built.entry(name).or_default().push(pushed.digest);
    }
}

/// All names that something may happen to.
pub fn names() -> impl Iterator<Item = Name> {
    let kept = (0..KEPT.len()).map(Name::Kept);
    kept.chain((0..VERSIONS).map(Name::Version)).chain((0..FOREIGN).map(Name::Foreign))
}

/// The same content for the same layer, in a thousandth of its size; nothing makes it smaller.
fn content(layer: &FakeLayer) -> Layer {
    let seed = layer.diff_id.as_bytes().iter().take(7).fold(0u64, |seed, byte| seed * 256 + u64::from(*byte));
    Layer::random(seed, Bytes(layer.size.0 / SMALLER)).unwrap()
}
