//! Images shaped like the real chain, in megabytes instead of gigabytes: base, cache-python on it, cache-node on that,
//! and a runtime whose last layer is the team's own code.

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Image, Layer, Pushed, Registry, Result};

/// A layer whose content belongs to this test (a number of its own), on this engine, as its nth. Whoever adds tens to the
/// engine's number leaves as many of the tests' numbers after its own free.
pub fn layer(test: u64, engine: u64, n: u64, size: Bytes) -> Layer {
    Layer::random(50_000_000 + test * 1000 + engine * 100 + n, size).expect("a layer")
}

/// A chain whose content is its own, by its seed.
#[derive(Debug, Clone)]
pub struct Chain {
    seed: u64,
    /// The CUDA base.
    pub base: Image,
    /// PyTorch on the base.
    pub python: Image,
    /// npm packages on that.
    pub node: Image,
}

const MB: u64 = 1_000_000;

impl Chain {
    /// Makes base, cache-python and cache-node; nothing is pushed yet. `scale` 1 makes about 11 MB in all.
    pub fn new(seed: u64, scale: u64) -> Result<Self> {
        let layer = |n: u64, megabytes: u64| Layer::random(seed * 100 + n, Bytes(megabytes * MB * scale));
        let base = Image::new()
            .layer(layer(1, 1)?.created_by("ADD ubuntu-22.04.tar /"))
            .empty("ENV CUDA_VERSION=12.1.1")
            .layer(layer(2, 2)?.created_by("RUN apt-get install -y libcudnn8"));
        let python = Image::from(&base)
            .layer(layer(3, 5)?.created_by("RUN pip install torch"))
            .empty("ENV PATH=/opt/venv/bin:$PATH");
        let node = Image::from(&python).layer(layer(4, 2)?.created_by("RUN npm ci"));
        Ok(Self { seed, base, python, node })
    }

    /// The runtime of that version: all of cache-node, and a last layer of its own.
    pub fn runtime(&self, version: u64, size: Bytes) -> Result<Image> {
        let own = Layer::random(self.seed * 100 + 50 + version, size)?;
        Ok(Image::from(&self.node).layer(own.created_by("COPY . /app")).empty("CMD [\"/app/serve\"]"))
    }

    /// Pushes the kept images as `acme/base:1`, `acme/cache-python:1` and `acme/cache-node:1`.
    pub fn push_kept(&self, registry: &Registry) -> Result<[Pushed; 3]> {
        Ok([
            self.base.push(registry, "acme/base:1")?,
            self.python.push(registry, "acme/cache-python:1")?,
            self.node.push(registry, "acme/cache-node:1")?,
        ])
    }
}
