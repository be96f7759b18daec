//! A virtual environment of 1 GB: many small files, a few large ones, as PyTorch's is.

use std::ops::AddAssign;

use anyhow::Result;
use layerkeeper_core::Bytes;
use layerkeeper_testkit::image::random;
use layerkeeper_testkit::{Image, Layer, Pushed, Registry};

/// In an image, without its leading slash.
pub const PLACE: &str = "opt/venv";

/// How many files of which size; 50 of them share a folder.
const SIZES: [(usize, u64); 5] = [(9_000, 2_000), (6_000, 14_000), (1_000, 120_000), (40, 5_000_000), (5, 110_000_000)];
/// Compiled by the build, so that no two builds have the same.
const COMPILED: (usize, u64) = (4_000, 8_000);

/// A number of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub count: u64,
    pub bytes: u64,
}

/// What each of two images has of them, and what is the same in both.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    pub each: Amount,
    pub same: Amount,
}

/// In a registry.
pub struct Images {
    pub base: Pushed,
    /// On the base, with the files by a RUN.
    pub python: Pushed,
    /// On the base, with the files by a COPY.
    pub runtime: Pushed,
    pub files: Files,
}

impl AddAssign<(usize, u64)> for Amount {
    fn add_assign(&mut self, (count, size): (usize, u64)) {
        self.count += count as u64;
        self.bytes += count as u64 * size;
    }
}

impl Files {
    pub fn share(&self) -> String {
        format!("{:.0} % of the bytes", self.same.bytes as f64 / self.each.bytes as f64 * 100.0)
    }
}

pub fn described(amount: Amount) -> String {
    format!("{} files of {}", amount.count, Bytes(amount.bytes))
}

/// Makes and pushes them, one after the other: each takes more than twice its size of memory.
pub fn push(registry: &Registry) -> Result<Images> {
    let base = Image::new().layer(Layer::random(1, Bytes(200_000))?.created_by("ADD ubuntu-22.04.tar.xz / # buildkit"));
    let made = |build: u64, instruction: &str| -> Result<Image> {
        let files = SIZES.iter().enumerate().flat_map(|(at, &sizes)| files(at as u64, sizes));
        let layer = Layer::files(files.chain(self::files(100 + build, COMPILED)))?;
        Ok(Image::from(&base).layer(layer.gzip(0).created_by(instruction)))
    };
    let python = made(1, "RUN pip install -r requirements.txt")?.push(registry, "acme/cache-python:1")?;
    let copy = "COPY --from=python-deps /opt/venv /opt/venv # buildkit";
    let runtime = made(2, copy)?.push(registry, "acme/app:sha-1")?;
    let mut same = Amount::default();
    SIZES.into_iter().for_each(|sizes| same += sizes);
    let mut each = same;
    each += COMPILED;
    Ok(Images { base: base.push(registry, "acme/base:1")?, python, runtime, files: Files { each, same } })
}

/// Made as they are asked for: all at once they would be in memory once more.
fn files(kind: u64, (count, size): (usize, u64)) -> impl Iterator<Item = (String, Vec<u8>)> {
    let folders = count.div_ceil(50);
    (0..folders).flat_map(move |folder| {
        let files = count.min((folder + 1) * 50) - folder * 50;
        let name = format!("{PLACE}/lib/python3.11/site-packages/package_{kind}_{folder:03}");
        // compiled files lie in the same place in every build
        let name = if kind < 100 { name } else { format!("{PLACE}/lib/python3.11/__pycache__/{folder:03}") };
        random::files(&name, kind * 10_000 + folder as u64, files, Bytes(size * files as u64))
    })
}
