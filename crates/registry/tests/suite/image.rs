//! What stands behind a reference: an image, one of several, or no image at all.

use layerkeeper_core::{Bytes, Compression, DiffId, Digest};
use layerkeeper_registry::{Error, Fetched, NotAnImage};
use serde_json::{Value, json};

use crate::shelf::{BUILD_CACHE, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Shelf};
use crate::stub::Stub;
use crate::{Ground, amd64, reference};

async fn read(shelf: Shelf) -> Result<Fetched, Error> {
    let stub = Stub::start(move |request| shelf.answer(request)).await;
    Ground::new().client.image(&reference(&stub.host(), "v1"), &amd64()).await
}

async fn kind(shelf: Shelf) -> NotAnImage {
    match read(shelf).await {
        Err(Error::NotAnImage { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

/// What buildx adds for provenance.
fn attestation(shelf: &mut Shelf) -> Value {
    let mut entry = shelf.image("unknown", &["application/vnd.in-toto+json"], &[]).entry("unknown", "unknown");
    entry["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    entry
}

#[tokio::test]
async fn an_image_is_read_out_of_an_index_past_its_attestations() {
    let mut shelf = Shelf::default();
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let arm = shelf.image("arm64", &[OCI_LAYER], &[]);
    let amd = shelf.image("amd64", &[OCI_LAYER, zstd, "application/vnd.oci.image.layer.v1.tar"], &[]);
    let attestation = attestation(&mut shelf);
    let index = shelf.index(&[attestation, arm.entry("linux", "arm64"), amd.entry("linux", "amd64")], &["v1"]);
    let Fetched { image, moved } = read(shelf).await.unwrap();

    assert_eq!((image.resolved, image.index_size), (index.digest, Some(Bytes(index.size))));
    assert_eq!((image.manifest.digest, image.manifest.size), (amd.digest, Bytes(amd.size)));
    assert_eq!(image.platform, amd64());
    assert_eq!(moved, image.metadata_bytes());
    let compressions: Vec<_> = image.layers.iter().map(|layer| layer.compression).collect();
    assert_eq!(compressions, [Compression::Gzip, Compression::Zstd, Compression::None]);
    let second = &image.layers[1];
    assert_eq!((second.blob.digest, second.blob.size), (Digest::of(b"layer 1"), Bytes(101)));
    assert_eq!(second.diff_id, DiffId::of(b"diff 1"));
    assert_eq!(second.created_by.as_deref(), Some("RUN step 1"));
}

#[tokio::test]
async fn docker_media_types_are_read_too() {
    let mut shelf = Shelf::default();
    let diff_id = DiffId::of(b"d").to_string();
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": [diff_id] } });
    let config =
        shelf.blob("application/vnd.docker.container.image.v1+json", config.to_string().into_bytes()).descriptor();
    let layer = json!({
        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": Digest::of(b"l").to_string(), "size": 1,
    });
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let document = json!({ "schemaVersion": 2, "mediaType": docker, "config": config, "layers": [layer] });
    let manifest = shelf.manifest(docker, &document, &[]);
    let list = json!({ "schemaVersion": 2, "manifests": [manifest.entry("linux", "amd64")] });
    shelf.manifest("application/vnd.docker.distribution.manifest.list.v2+json", &list, &["v1"]);
    let image = read(shelf).await.unwrap().image;
    assert_eq!((image.layers[0].compression, &image.layers[0].created_by), (Compression::Gzip, &None));
}

#[tokio::test]
async fn a_missing_platform_names_those_that_are_there() {
    let mut shelf = Shelf::default();
    let arm = shelf.image("arm64", &[OCI_LAYER], &[]);
    let attestation = attestation(&mut shelf);
    shelf.index(&[arm.entry("linux", "s390x"), attestation, arm.entry("linux", "arm64")], &["v1"]);
    let error = read(shelf).await.unwrap_err();
    assert!(matches!(error, Error::NoPlatform { .. }), "{error}");
    assert!(error.to_string().ends_with("no image for linux/amd64; it has linux/arm64, linux/s390x"), "{error}");

    let mut shelf = Shelf::default();
    shelf.image("arm64", &[OCI_LAYER], &["v1"]);
    let error = read(shelf).await.unwrap_err();
    assert!(error.to_string().ends_with("no image for linux/amd64; it has linux/arm64"), "{error}");
}

#[tokio::test]
async fn a_build_cache_is_called_one_in_both_its_forms() {
    let mut shelf = Shelf::default();
    shelf.image_of(BUILD_CACHE, &json!({ "layers": [] }), &[OCI_LAYER], &["v1"]);
    assert_eq!(kind(shelf).await, NotAnImage::BuildCache);

    let mut shelf = Shelf::default();
    let layer = shelf.blob(OCI_LAYER, b"layer".to_vec()).descriptor();
    let config = shelf.blob(BUILD_CACHE, b"{}".to_vec()).descriptor();
    shelf.index(&[layer, config], &["v1"]);
    let error = read(shelf).await.unwrap_err();
    assert!(error.to_string().contains("this is a build cache, not an image"), "{error}");
}

#[tokio::test]
async fn other_things_are_no_images() {
    let helm = "application/vnd.cncf.helm.config.v1+json";
    let mut shelf = Shelf::default();
    shelf.image_of(helm, &json!({}), &["application/vnd.cncf.helm.chart.content.v1.tar+gzip"], &["v1"]);
    assert_eq!(kind(shelf).await, NotAnImage::Artifact(helm.into()));

    // an attestation asked for by name has an image's config and a statement for a layer
    let mut shelf = Shelf::default();
    shelf.image("amd64", &["application/vnd.in-toto+json"], &["v1"]);
    assert_eq!(kind(shelf).await, NotAnImage::Artifact("application/vnd.in-toto+json".into()));

    let mut shelf = Shelf::default();
    shelf.image("amd64", &["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"], &["v1"]);
    assert_eq!(kind(shelf).await, NotAnImage::ForeignLayers);

    let mut shelf = Shelf::default();
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    shelf.manifest(signed, &json!({ "schemaVersion": 1, "fsLayers": [] }), &["v1"]);
    assert_eq!(kind(shelf).await, NotAnImage::Schema1);
}

#[tokio::test]
async fn a_config_that_does_not_fit_its_manifest_is_refused() {
    let mut shelf = Shelf::default();
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": [] } });
    shelf.image_of(OCI_CONFIG, &config, &[OCI_LAYER], &["v1"]);
    let error = read(shelf).await.unwrap_err();
    assert!(error.to_string().ends_with("lists 1 layers and its config 0"), "{error}");

    let mut shelf = Shelf::default();
    let config = json!({ "rootfs": { "diff_ids": ["sha512:abc"] } });
    shelf.image_of(OCI_CONFIG, &config, &[OCI_LAYER], &["v1"]);
    assert!(matches!(read(shelf).await, Err(Error::Malformed { .. })));
}

#[tokio::test]
async fn a_layer_of_more_than_a_tebibyte_or_of_less_than_nothing_is_malformed() {
    let diff_ids = [Digest::of(b"diff").to_string()];
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": diff_ids } });
    let sizes =
        [(json!(1u64 << 40), true), (json!((1u64 << 40) + 1), false), (json!(u64::MAX), false), (json!(-1), false)];
    for (size, good) in sizes {
        let mut shelf = Shelf::default();
        let config = shelf.blob(OCI_CONFIG, config.to_string().into_bytes());
        let layer = json!({ "mediaType": OCI_LAYER, "digest": Digest::of(b"x").to_string(), "size": size });
        let manifest = json!({ "schemaVersion": 2, "config": config.descriptor(), "layers": [layer] });
        shelf.manifest(OCI_MANIFEST, &manifest, &["v1"]);
        match read(shelf).await {
            Ok(fetched) => assert!(good && fetched.image.layer_bytes() == Bytes(1 << 40), "{size}"),
            Err(error) => assert!(!good && matches!(error, Error::Malformed { .. }), "{size}: {error}"),
        }
    }
}

#[tokio::test]
async fn an_index_inside_an_index_is_refused() {
    let mut shelf = Shelf::default();
    let inner = shelf.index(&[], &[]);
    let mut entry = inner.entry("linux", "amd64");
    entry["mediaType"] = OCI_MANIFEST.into();
    shelf.index(&[entry], &["v1"]);
    let error = read(shelf).await.unwrap_err();
    assert!(error.to_string().contains("an index stands where a manifest should"), "{error}");
}
