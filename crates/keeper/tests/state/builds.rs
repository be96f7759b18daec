//! What CI builds under each name, again and again.

use layerkeeper_core::ImageName;
use layerkeeper_engine::fake::{FakeImage, FakeLayer};

use super::operation::Name;

const MB: u64 = 1_000_000;

/// The whole name.
pub fn full(name: Name) -> ImageName {
    format!("ghcr.io/acme/{}", name.text()).parse().unwrap()
}

/// The nth build of a name.
pub fn build(name: Name, n: usize) -> FakeImage {
    let os = || FakeLayer::new("os", 50 * MB);
    let torch = |n: usize| FakeLayer::new(&format!("torch{n}"), 900 * MB);
    let label = format!("{name:?} build {n}");
    match name {
        Name::Kept(0) if n == 0 => FakeImage::of_layers(&label, vec![os()]),
        Name::Kept(0) => FakeImage::new(&label, &[(&format!("os{n}"), 50 * MB)]),
        Name::Kept(1) => FakeImage::of_layers(&label, vec![os(), torch(n)]),
        Name::Kept(_) => FakeImage::new(&label, &[(&format!("tool{n}"), 30 * MB)]).in_index(),
        Name::Foreign(_) => FakeImage::of_layers(&label, vec![os(), FakeLayer::new(&label, 40 * MB)]),
        Name::Version(version) => version_of(version, n),
    }
}

/// Every second build of a version has the layers of the one before. Odd versions are in an index. One version's lowest
/// layer was compressed by somebody else, and the last two versions are the same image.
fn version_of(version: u8, n: usize) -> FakeImage {
    let version = version.min(4);
    let os = match version {
        2 => FakeLayer::compressed_as("os", "zstd", 40 * MB),
        _ => FakeLayer::new("os", 50 * MB),
    };
    let own = FakeLayer::new(&format!("version {version} build {}", n / 2), (20 + u64::from(version)) * MB);
    let image = FakeImage::of_layers(
        &format!("version {version} build {n}"),
        vec![os, FakeLayer::new("torch0", 900 * MB), own],
    );
    if version % 2 == 1 { image.in_index() } else { image }
}
