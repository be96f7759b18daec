//! Whatever a registry sends: what is taken for an image is what the documents say, read a second time by other means.
//! The input is an index, a manifest and a config, or the last two, with a line of `====` between them.

use layerkeeper_core::{Compression, ImageManifest, Platform, Reference};
use layerkeeper_registry::fuzz::image;
use serde_json::Value;

const LONGEST_INSTRUCTION: usize = 300;
const MOST_LAYERS: usize = 4096;

/// Checks one set of documents.
pub fn check(input: &[u8]) {
    let documents = split(input);
    let Ok(reference) = "registry.example.net/acme/app:sha-1".parse::<Reference>() else { return };
    for (architecture, variant) in [("amd64", None), ("arm64", None), ("arm", Some("v7"))] {
        let variant = variant.map(str::to_owned);
        let engine = Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant };
        match image(&reference, &engine, &documents) {
            Ok(image) => agrees(&image, &documents),
            Err(error) => {
                let text = error.to_string();
                assert!(!text.is_empty() && !text.contains('\n'), "not one line: {text:?}");
            }
        }
    }
}

fn split(input: &[u8]) -> Vec<&[u8]> {
    const LINE: &[u8] = b"\n====\n";
    let mut documents = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(LINE.len()).position(|window| window == LINE) {
        documents.push(&rest[..at]);
        rest = &rest[at + LINE.len()..];
    }
    documents.push(rest);
    documents
}

fn agrees(image: &ImageManifest, documents: &[&[u8]]) {
    let of_index = usize::from(image.index_size.is_some());
    // what nobody needs is not looked at closely, such as a number out of range under an unknown key
    let read = |at: usize| serde_json::from_slice::<Value>(documents[at]).ok();
    let (Some(manifest), Some(config)) = (read(of_index), read(of_index + 1)) else { return };
    if of_index == 1 {
        let Some(index) = read(0) else { return };
        let entries = index["manifests"].as_array().expect("an index lists manifests");
        let digest = image.manifest.digest.to_string();
        let chosen = entries.iter().filter(|entry| entry["digest"] == *digest);
        assert!(chosen.into_iter().any(|entry| entry["size"] == image.manifest.size.0), "not of this index");
    }
    assert_eq!(manifest["config"]["digest"], *image.config.digest.to_string());
    assert_eq!(manifest["config"]["size"], image.config.size.0);
    let none = Vec::new();
    let layers = manifest["layers"].as_array().unwrap_or(&none);
    assert!(layers.len() <= MOST_LAYERS);
    assert_eq!(image.layers.len(), layers.len());
    for (at, (layer, listed)) in image.layers.iter().zip(layers).enumerate() {
        assert_eq!(listed["digest"], *layer.blob.digest.to_string());
        assert_eq!(listed["size"], layer.blob.size.0);
        assert_eq!(config["rootfs"]["diff_ids"][at], *layer.diff_id.to_string());
        let kind = listed["mediaType"].as_str().unwrap_or_default();
        assert_eq!(kind.ends_with("zstd"), layer.compression == Compression::Zstd, "{kind}");
        assert!(!kind.contains("nondistributable") && !kind.contains("foreign"), "{kind}");
        if let Some(text) = &layer.created_by {
            assert!(text.chars().count() <= LONGEST_INSTRUCTION && !text.chars().any(char::is_control), "{text:?}");
        }
    }
    let sum = layers.iter().filter_map(|layer| layer["size"].as_u64()).fold(0, u64::saturating_add);
    assert_eq!(image.layer_bytes().0, sum);
    assert_eq!(image.diff_ids().len(), layers.len());
    assert!(image.is_known_as(image.resolved) && image.is_known_as(image.manifest.digest));
    assert_eq!(image.platform.os, "linux", "the engine is");
}
