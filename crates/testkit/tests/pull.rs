//! Each engine pulls what we pushed, and the registry's access log counts the very bytes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use layerkeeper_core::{Bytes, Compression};
use layerkeeper_testkit::{Agent, Auth, BuildCache, Engine, EngineKind, Engines, Image, Index, Layer, Media, Registry};

fn layer(seed: u64) -> Layer {
    Layer::random(seed, Bytes(300_000)).unwrap()
}

/// Pulls it and gives the bytes of layers that moved, by the registry's word.
fn pulled(engine: &Engine, registry: &Registry, pushed: &layerkeeper_testkit::Pushed) -> Bytes {
    let mark = registry.mark();
    engine.run_docker(["pull", "--quiet", &pushed.reference()]).unwrap();
    registry.bytes_of_layers(mark, &pushed.layer_digests(), Agent::Engine)
}

#[test]
fn each_engine_is_what_it_says() {
    for engine in Engines::all() {
        let version = engine.version().unwrap();
        let info = engine.run_docker(["info", "--format", "{{.Driver}} {{.DriverStatus}} {{.DockerRootDir}}"]).unwrap();
        let (wanted, driver) = match engine.kind() {
            EngineKind::A => ("20.10.", "overlay2"),
            EngineKind::B => ("26.1.", "overlay2"),
            EngineKind::C => ("26.1.", "overlayfs [[driver-type io.containerd.snapshotter.v1]]"),
        };
        assert!(version.starts_with(wanted), "{:?} is {version}", engine.kind());
        assert!(info.starts_with(driver), "{:?} has {info}", engine.kind());
        assert!(info.trim_end().ends_with(engine.data_root().to_str().unwrap()), "{info}");
        assert!(std::fs::read_dir(engine.data_root()).unwrap().count() > 3);
    }
}

#[test]
fn the_access_log_counts_the_bytes_of_every_pull() {
    let registry = Registry::start(Auth::Open).unwrap();
    let base = Image::new().layer(layer(1)).layer(layer(2)).env("STAGE", "base");
    let one = Image::from(&base).layer(layer(3)).push(&registry, "acme/app:sha-1").unwrap();
    let two = Image::from(&base).layer(layer(4)).media(Media::Docker).push(&registry, "acme/app:sha-2").unwrap();
    let twice = Image::new().layer(layer(5)).layer(layer(6)).layer(layer(5)).push(&registry, "acme/twice:1").unwrap();
    assert_eq!(twice.layer_bytes() - twice.bytes_to_fetch(), twice.layers[0].size);
    for engine in Engines::all() {
        assert_eq!(pulled(engine, &registry, &one), one.layer_bytes(), "{:?}", engine.kind());
        assert_eq!(pulled(engine, &registry, &two), two.layers[2].size, "{:?}", engine.kind());
        assert_eq!(pulled(engine, &registry, &twice), twice.bytes_to_fetch(), "{:?}", engine.kind());
        let format = "{{range .RootFS.Layers}}{{.}} {{end}}";
        let layers = engine.run_docker(["inspect", "--format", format, &one.reference()]).unwrap();
        let wanted: Vec<_> = one.diff_ids().iter().map(ToString::to_string).collect();
        assert_eq!(layers.split_whitespace().collect::<Vec<_>>(), wanted);
        engine.run_docker(["create", "--name", "held", &two.reference()]).unwrap();
        engine.run_docker(["rm", "held"]).unwrap();
    }
}

#[test]
fn an_index_gives_each_engine_its_platform_and_no_attestation() {
    let registry = Registry::start(Auth::Open).unwrap();
    let image = |seed| Image::new().layer(layer(seed));
    let all =
        Index::of([image(11).architecture("arm64"), image(12)]).attested().push(&registry, "acme/multi:1").unwrap();
    assert_ne!(all[1].digest, all[1].manifest.digest);
    for engine in Engines::all() {
        assert_eq!(pulled(engine, &registry, &all[1]), all[1].layer_bytes(), "{:?}", engine.kind());
        let format = "{{index .RepoDigests 0}}";
        let digest = engine.run_docker(["inspect", "--format", format, &all[1].reference()]).unwrap();
        assert_eq!(digest.trim(), all[1].by_digest().to_string());
    }
}

#[test]
fn zstd_layers_build_caches_and_corrupt_blobs_fail_where_they_do_in_the_field() {
    let registry = Registry::start(Auth::Open).unwrap();
    let zstd = Image::new().layer(layer(21)).layer(layer(22).zstd()).push(&registry, "acme/zstd:1").unwrap();
    assert_eq!(zstd.layers[1].compression, Compression::Zstd);
    let corrupt = Image::new().layer(layer(23)).push(&registry, "acme/corrupt:1").unwrap();
    registry.corrupt_blob(corrupt.layers[0].blob).unwrap();
    BuildCache::Index.push(&registry, "acme/cache:index", &[layer(24)]).unwrap();
    BuildCache::Manifest.push(&registry, "acme/cache:manifest", &[layer(25)]).unwrap();
    for engine in Engines::all() {
        let pull = |reference: &str| engine.run_docker(["pull", "--quiet", reference]);
        assert_eq!(pull(&zstd.reference()).is_ok(), engine.kind() != EngineKind::A, "{:?}", engine.kind());
        assert!(pull(&corrupt.reference()).is_err(), "{:?}", engine.kind());
        for cache in ["acme/cache:index", "acme/cache:manifest"] {
            assert!(pull(&format!("{}/{cache}", registry.host())).is_err(), "{:?} {cache}", engine.kind());
        }
    }
}
