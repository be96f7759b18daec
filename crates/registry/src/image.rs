//! Puts an image together from its manifest and its config, and picks it out of an index.

use layerkeeper_core::instruction::without_values;
use layerkeeper_core::{Bytes, Descriptor, Digest, Platform, Reference, manifest::ManifestLayer};

use crate::error::{Error, NotAnImage, printable};
use crate::media_type::{self, Kind};
use crate::{platform, wire};

const LONGEST_INSTRUCTION: usize = 300;
/// The largest layer that we believe in, 1 TiB. With the most layers that a manifest may list, no sum can overflow.
const LARGEST: u64 = 1 << 40;

/// The manifest that an engine of this platform takes out of an index. Attestations, artifacts and platforms that
/// cannot run are passed over; among equals the first wins, as in the engine.
pub(crate) fn choose(reference: &Reference, entries: &[wire::Entry], engine: &Platform) -> Result<Descriptor, Error> {
    if !entries.is_empty()
        && (entries.iter().any(|entry| media_type::is_build_cache(&entry.media_type))
            || entries.iter().all(|entry| media_type::is_layer(&entry.media_type)))
    {
        return Err(Error::not_an_image(reference, NotAnImage::BuildCache));
    }
    let images: Vec<&wire::Entry> = entries.iter().filter(|entry| may_be_image(entry)).collect();
    let named = |entry: &wire::Entry| entry.platform.as_ref().and_then(platform::of);
    let fits = images.iter().enumerate().filter_map(|(at, entry)| Some((platform::fit(engine, &named(entry)?)?, at)));
    let chosen = fits.min().map(|(_, at)| images[at]);
    // an entry may leave its platform out; the config then says it, and is checked
    let chosen = chosen.or_else(|| images.iter().copied().find(|entry| named(entry).is_none()));
    let Some(chosen) = chosen else {
        let mut available: Vec<Platform> = images.iter().filter_map(|entry| named(entry)).collect();
        available.sort();
        available.dedup();
        return Err(no_platform(reference, engine, available));
    };
    descriptor(&chosen.digest, chosen.size, "the index")
}

fn may_be_image(entry: &wire::Entry) -> bool {
    let attestation = entry.annotations.as_ref().is_some_and(|a| a.reference_type.is_some());
    let unknown = entry.platform.as_ref().is_some_and(|p| p.os == "unknown" || p.architecture == "unknown");
    let manifest = entry.media_type.is_empty() || media_type::kind(&entry.media_type) == Some(Kind::Manifest);
    manifest && !attestation && !unknown
}

/// What a manifest lists: its config, and its layers from the bottom up.
pub(crate) fn listed(
    reference: &Reference,
    document: wire::Document,
) -> Result<(Descriptor, Vec<wire::Descriptor>), Error> {
    let (config, layers) = match document {
        wire::Document::Manifest { config, layers } => (config, layers),
        wire::Document::Schema1 => return Err(Error::not_an_image(reference, NotAnImage::Schema1)),
        wire::Document::Index(_) => {
            return Err(Error::malformed(format!("{reference}: an index stands where a manifest should")));
        }
    };
    media_type::image_config(&config.media_type).map_err(|kind| Error::not_an_image(reference, kind))?;
    Ok((descriptor(&config.digest, config.size, "the manifest")?, layers))
}

/// The platform that a config names; the engine's own where it names none, as old images do. What cannot run on the
/// engine is an error.
pub(crate) fn platform_of(reference: &Reference, config: &wire::Config, engine: &Platform) -> Result<Platform, Error> {
    let (os, architecture, variant) = (config.os.clone(), config.architecture.clone(), config.variant.clone());
    let Some(named) = platform::of(&wire::Platform { os, architecture, variant }) else { return Ok(engine.clone()) };
    if platform::fit(engine, &named).is_none() {
        return Err(no_platform(reference, engine, vec![named]));
    }
    Ok(named)
}

/// A manifest's layers with what the config knows of them, bottom first.
pub(crate) fn layers(
    reference: &Reference,
    layers: &[wire::Descriptor],
    config: &wire::Config,
) -> Result<Vec<ManifestLayer>, Error> {
    let diff_ids = config.rootfs.diff_ids.as_deref().unwrap_or_default();
    if diff_ids.len() != layers.len() {
        return Err(Error::malformed(format!(
            "{reference}: its manifest lists {} layers and its config {}",
            layers.len(),
            diff_ids.len()
        )));
    }
    let instructions = instructions(config, layers.len());
    let stacked = layers.iter().zip(diff_ids).zip(instructions);
    stacked
        .map(|((layer, diff_id), created_by)| {
            let compression =
                media_type::compression(&layer.media_type).map_err(|kind| Error::not_an_image(reference, kind))?;
            let diff_id = diff_id.parse().map_err(|e| Error::malformed(format!("{reference}: its config: {e}")))?;
            let blob = descriptor(&layer.digest, layer.size, "the manifest")?;
            Ok(ManifestLayer { blob, compression, diff_id, created_by })
        })
        .collect()
}

/// A descriptor as the core takes it; `whose` names the document that it stands in.
pub(crate) fn descriptor(digest: &str, size: u64, whose: &str) -> Result<Descriptor, Error> {
    let digest: Digest = digest.parse().map_err(|e| Error::malformed(format!("{whose}: {e}")))?;
    if size > LARGEST {
        return Err(Error::malformed(format!(
            "{whose} says that {} has {size} bytes; nothing is larger than {LARGEST}",
            digest.short()
        )));
    }
    Ok(Descriptor { digest, size: Bytes(size) })
}

/// The instruction behind each layer. History lists also those that made none; where the rest does not line up with
/// the layers, nothing is said of any.
fn instructions(config: &wire::Config, layers: usize) -> Vec<Option<String>> {
    let history = config.history.as_deref().unwrap_or_default();
    let made: Vec<&wire::History> = history.iter().filter(|entry| !entry.empty_layer).collect();
    if made.len() != layers {
        return vec![None; layers];
    }
    made.into_iter()
        .map(|entry| entry.created_by.as_deref().map(written))
        .map(|text| text.filter(|text| !text.is_empty()))
        .collect()
}

/// What is kept of an instruction: its build arguments' values are not.
fn written(created_by: &str) -> String {
    let (text, before) = without_values(created_by.trim());
    printable(&text, before + LONGEST_INSTRUCTION)
}

fn no_platform(reference: &Reference, engine: &Platform, available: Vec<Platform>) -> Error {
    Error::NoPlatform { reference: Box::new(reference.clone()), wanted: Box::new(engine.clone()), available }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn config(history: &str) -> wire::Config {
        let text = format!(r#"{{"os":"linux","architecture":"amd64","rootfs":{{}},"history":{history}}}"#);
        wire::config(text.as_bytes(), "it").unwrap()
    }

    fn entries(text: &str) -> Vec<wire::Entry> {
        serde_json::from_str(text).unwrap()
    }

    fn amd64() -> Platform {
        Platform { os: "linux".into(), architecture: "amd64".into(), variant: None }
    }

    #[test]
    fn instructions_line_up_with_layers_or_are_left_out() {
        let both = r#"[{"created_by":"ADD a"},{"created_by":"ENV x","empty_layer":true},{"created_by":"RUN b\n\tc"}]"#;
        assert_eq!(instructions(&config(both), 2), [Some("ADD a".into()), Some("RUN b  c".into())]);
        assert_eq!(instructions(&config(both), 3), [None, None, None]);
        assert_eq!(instructions(&config("null"), 1), [None]);
        let long = format!(r#"[{{"created_by":"{}"}}]"#, "x".repeat(1000));
        assert_eq!(instructions(&config(&long), 1)[0].as_ref().map(|text| text.chars().count()), Some(300));
        let secret = r#"[{"created_by":"RUN |1 TOKEN=ghp_1234 /bin/sh -c make # buildkit"}]"#;
        let made = instructions(&config(secret), 1).remove(0).unwrap();
        assert!(made.starts_with("RUN |1 TOKEN=") && made.ends_with(" /bin/sh -c make # buildkit"), "{made}");
        assert!(!made.contains("ghp_1234"), "{made}");
        let bash =
            r#"[{"created_by":"RUN |1 EXTRA=--index-url https://u:ghp_1234@r.io /bin/bash -o pipefail -c make"}]"#;
        let made = instructions(&config(bash), 1).remove(0).unwrap();
        assert!(made.ends_with(" /bin/bash -o pipefail -c make") && !made.contains("ghp_1234"), "{made}");
    }

    #[test]
    fn an_entry_without_a_platform_is_the_last_resort() {
        let reference = "r.io/a:t".parse().unwrap();
        let given = entries(&format!(
            r#"[{{"digest":"{DIGEST}","size":1}},{{"digest":"{DIGEST}","size":2,"platform":{{"os":"linux","architecture":"amd64"}}}}]"#
        ));
        assert_eq!(choose(&reference, &given, &amd64()).unwrap().size, Bytes(2));
        assert_eq!(choose(&reference, &given[..1], &amd64()).unwrap().size, Bytes(1));
        assert!(matches!(choose(&reference, &[], &amd64()), Err(Error::NoPlatform { .. })));
    }

    #[test]
    fn an_attestation_is_known_by_its_annotation_and_by_its_platform() {
        let reference = "r.io/a:t".parse().unwrap();
        let annotated = format!(
            r#"[{{"digest":"{DIGEST}","size":1,"platform":{{"os":"linux","architecture":"amd64"}},
                 "annotations":{{"vnd.docker.reference.type":"attestation-manifest"}}}}]"#
        );
        let unknown =
            format!(r#"[{{"digest":"{DIGEST}","size":1,"platform":{{"os":"unknown","architecture":"unknown"}}}}]"#);
        for given in [annotated, unknown] {
            let error = choose(&reference, &entries(&given), &amd64()).unwrap_err();
            assert!(matches!(&error, Error::NoPlatform { available, .. } if available.is_empty()), "{error}");
        }
    }

    #[test]
    fn a_config_without_a_platform_is_taken_for_the_engines() {
        let reference = "r.io/a:t".parse().unwrap();
        let mut bare = config("[]");
        assert!(platform_of(&reference, &bare, &Platform { architecture: "arm64".into(), ..amd64() }).is_err());
        (bare.os, bare.architecture) = Default::default();
        assert_eq!(platform_of(&reference, &bare, &amd64()).unwrap(), amd64());
    }
}
