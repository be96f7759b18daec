//! What an engine made itself, taken out of it without its pushing it: it would then know under which blobs it did.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::Engine;
use crate::error::{Doing, Error, Result};
use crate::image::Layer;
use crate::scratch::Scratch;

impl Engine {
    /// The layers of an image as `docker save` gives them, bottom first.
    pub fn saved_layers(&self, image: &str) -> Result<Vec<Layer>> {
        let scratch = Scratch::new("save")?;
        let path = scratch.path().join("image.tar");
        self.run_docker(["save", "--output", &path.display().to_string(), image])?;
        let doing = || format!("reading {image} as saved");
        let mut files: HashMap<String, Vec<u8>> = HashMap::new();
        for entry in tar::Archive::new(File::open(&path).doing(doing)?).entries().doing(doing)? {
            let mut entry = entry.doing(doing)?;
            let name = entry.path().doing(doing)?.display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).doing(doing)?;
            files.insert(name, content);
        }
        let missing = |what: &str| Error::failed(doing(), format!("no {what}"));
        let manifest = files.get("manifest.json").ok_or_else(|| missing("manifest.json"))?;
        let manifest: Value = serde_json::from_slice(manifest).map_err(|error| Error::failed(doing(), error))?;
        let names = manifest[0]["Layers"].as_array().ok_or_else(|| missing("layers"))?;
        let layer = |name: &Value| {
            let tar = name.as_str().and_then(|name| files.get(name)).ok_or_else(|| missing(&name.to_string()))?;
            Ok(Layer::tar(unpacked(tar).doing(doing)?))
        };
        names.iter().map(layer).collect()
    }
}

/// The containerd store saves the blobs that it has.
fn unpacked(blob: &[u8]) -> std::io::Result<Vec<u8>> {
    if !blob.starts_with(&[0x1f, 0x8b]) {
        return Ok(blob.to_vec());
    }
    let mut tar = Vec::new();
    GzDecoder::new(blob).read_to_end(&mut tar)?;
    Ok(tar)
}
