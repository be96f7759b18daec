//! Images shaped like the real thing: a GPU application's base, its two dependency caches and its runtimes.
//!
//! Everything is in the proportions of such an application: of 3.5 GB, the base has a half, Python's packages a third,
//! and the business code that changes with each deploy less than a tenth.

use layerkeeper_core::Bytes;

use crate::error::Result;
use crate::image::{Image, Layer, Pushed, random};
use crate::registry::Registry;

const PACKAGES: &str = "opt/venv/lib/python3.11/site-packages";

/// The images, each on the one before, except those that copy.
#[derive(Debug, Clone)]
pub struct Chain {
    /// CUDA and the system's libraries: four layers, 52 % of the bytes.
    pub base: Image,
    /// The base with Python's packages: two layers more, 34 %.
    pub cache_python: Image,
    /// That with Node's packages: one layer more, 8 %.
    pub cache_node: Image,
    /// That with the application: two layers more, 6 %.
    pub runtime_v1: Image,
    /// The next build of it: only the last layer differs.
    pub runtime_v2: Image,
    /// A runtime on the base that holds Python's packages in a layer of its own, as `COPY --from` a build stage makes it. The
    /// files are those of cache-python, but for the compiled ones, which hold the time of their build.
    pub copied_v1: Image,
    /// The next build of it: the same packages, compiled anew, and another last layer.
    pub copied_v2: Image,
}

/// The chain in a registry. Caches and runtimes share one repository, as they often do.
#[derive(Debug, Clone)]
pub struct PushedChain {
    /// `acme/base-images/cuda:12.1.1-cudnn8-runtime-ubuntu22.04`
    pub base: Pushed,
    /// `acme/app:cache-python`
    pub cache_python: Pushed,
    /// `acme/app:cache-node`
    pub cache_node: Pushed,
    /// `acme/app:sha-1111111`
    pub runtime_v1: Pushed,
    /// `acme/app:sha-2222222`
    pub runtime_v2: Pushed,
    /// `acme/app:sha-c111111`
    pub copied_v1: Pushed,
    /// `acme/app:sha-c222222`
    pub copied_v2: Pushed,
}

impl Chain {
    /// A chain of 3.5 MB, for tests.
    pub fn small() -> Result<Self> {
        Self::sized(Bytes(3_500_000))
    }

    /// A chain whose first runtime has about this many bytes of layers. All is made in memory, twice this size.
    pub fn sized(total: Bytes) -> Result<Self> {
        let part = |per_mille: u64| Bytes((total.0 * per_mille / 1000).max(64));
        let random =
            |directory: &str, seed, count, per_mille| Layer::random_files(directory, seed, count, part(per_mille));
        let base = Image::new()
            .layer(random("usr/lib/x86_64-linux-gnu", 1, 20, 10)?.created_by("ADD ubuntu-22.04.tar.xz / # buildkit"))
            .env("CUDA_VERSION", "12.1.1")
            .layer(
                random("usr/local/cuda-12.1/lib64", 2, 10, 160)?
                    .created_by("RUN apt-get install -y cuda-libraries-12-1"),
            )
            .layer(
                random("usr/local/cuda-12.1/targets", 3, 5, 200)?.created_by("RUN apt-get install -y libcublas-12-1"),
            )
            .layer(random("usr/lib/cudnn", 4, 4, 150)?.created_by("RUN apt-get install -y libcudnn8"))
            .label("maintainer", "acme");
        let packages = random::files(PACKAGES, 6, 40, part(300));
        let compiled = |build: u64| random::files(&format!("{PACKAGES}/__pycache__"), build, 20, part(10));
        let venv =
            |build: u64| Layer::files(packages.iter().cloned().chain(compiled(build))).map(|layer| layer.gzip(0));
        let cache_python = Image::from(&base)
            .layer(random("usr/lib/python3", 5, 10, 30)?.created_by("RUN apt-get install -y python3.11-venv"))
            .layer(venv(9)?.created_by("RUN pip install -r requirements.txt"));
        let cache_node = Image::from(&cache_python)
            .env("NODE_ENV", "production")
            .layer(random("opt/node_modules", 7, 50, 80)?.created_by("RUN npm ci --omit=dev"));
        let runtime = |build: u64| -> Result<Image> {
            let version = format!("build {build}\n");
            let mut files = random::files("srv/app", 100 + build, 30, part(50));
            files.push(("srv/app/VERSION".into(), version.into_bytes()));
            let app = Layer::files(files)?.gzip(0).created_by("COPY app /srv/app # buildkit");
            let etc = random("srv/etc", 8, 3, 10)?.created_by("COPY etc /srv/etc # buildkit");
            Ok(Image::from(&cache_node).layer(etc).layer(app).command(&["/srv/app/run"]))
        };
        let (runtime_v1, runtime_v2) = (runtime(1)?, runtime(2)?);
        let copied = |build: u64| -> Result<Image> {
            let venv = venv(200 + build)?.created_by("COPY --from=python-deps /opt/venv /opt/venv # buildkit");
            let app = random("srv/app", 210 + build, 30, 50)?.created_by("COPY app /srv/app # buildkit");
            Ok(Image::from(&base).layer(venv).layer(app))
        };
        let (copied_v1, copied_v2) = (copied(1)?, copied(2)?);
        Ok(Self { base, cache_python, cache_node, runtime_v1, runtime_v2, copied_v1, copied_v2 })
    }

    /// Pushes all of it.
    pub fn push(&self, registry: &Registry) -> Result<PushedChain> {
        Ok(PushedChain {
            base: self.base.push(registry, "acme/base-images/cuda:12.1.1-cudnn8-runtime-ubuntu22.04")?,
            cache_python: self.cache_python.push(registry, "acme/app:cache-python")?,
            cache_node: self.cache_node.push(registry, "acme/app:cache-node")?,
            runtime_v1: self.runtime_v1.push(registry, "acme/app:sha-1111111")?,
            runtime_v2: self.runtime_v2.push(registry, "acme/app:sha-2222222")?,
            copied_v1: self.copied_v1.push(registry, "acme/app:sha-c111111")?,
            copied_v2: self.copied_v2.push(registry, "acme/app:sha-c222222")?,
        })
    }
}

impl PushedChain {
    /// The kept images in the order in which they are pulled.
    pub fn kept(&self) -> [&Pushed; 3] {
        [&self.base, &self.cache_python, &self.cache_node]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_shaped_like_the_real_thing() {
        let chain = Chain::small().unwrap();
        let blobs = |image: &Image| image.layers().map(|l| l.blob().unwrap().1).collect::<Vec<_>>();
        let size = |image: &Image| image.layers().map(|l| l.blob().unwrap().0.len()).sum::<usize>();
        let (one, two) = (blobs(&chain.runtime_v1), blobs(&chain.runtime_v2));
        assert_eq!(one[..one.len() - 1], two[..two.len() - 1]);
        assert_ne!(one.last(), two.last());
        assert!(one.starts_with(&blobs(&chain.cache_node)));
        assert!(blobs(&chain.cache_node).starts_with(&blobs(&chain.cache_python)));
        let copies = [blobs(&chain.copied_v1)[4], blobs(&chain.copied_v2)[4]];
        assert!(blobs(&chain.copied_v1).starts_with(&blobs(&chain.base)));
        assert!(copies[0] != copies[1] && copies.iter().all(|blob| !blobs(&chain.cache_python).contains(blob)));
        assert!((3_400_000..4_000_000).contains(&size(&chain.runtime_v1)), "{}", size(&chain.runtime_v1));
    }
}
