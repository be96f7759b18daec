//! The JSON of manifests and configs, as far as it is needed. Unknown keys are ignored, lists are bounded.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, de::DeserializeOwned};

use crate::error::Error;
use crate::media_type::{self, Kind};

/// The most layers, index entries or diff ids of one document.
const MOST: usize = 4096;
/// History also lists instructions that made no layer.
const MOST_HISTORY: usize = 2 * MOST;

/// What stands behind a manifest's address.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Vec<Entry>),
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
    Schema1,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    // not flattened: serde would keep every unknown key of a hostile document in memory
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    pub(crate) annotations: Option<Annotations>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Annotations {
    /// buildx writes `attestation-manifest` here.
    #[serde(default, rename = "vnd.docker.reference.type")]
    pub(crate) reference_type: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
    pub(crate) rootfs: RootFs,
    #[serde(default, deserialize_with = "history")]
    pub(crate) history: Option<Vec<History>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, deserialize_with = "bounded")]
    pub(crate) diff_ids: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct History {
    #[serde(default)]
    pub(crate) created_by: Option<String>,
    #[serde(default)]
    pub(crate) empty_layer: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Any {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "bounded")]
    layers: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "bounded")]
    manifests: Option<Vec<Entry>>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

/// Reads a manifest or an index; `content_type` counts only where the document itself does not say what it is.
pub(crate) fn document(bytes: &[u8], content_type: &str, what: &str) -> Result<Document, Error> {
    let any: Any = json(bytes, what)?;
    let named = any.media_type.as_deref().and_then(media_type::kind);
    let kind = named.or_else(|| media_type::kind(content_type));
    if kind == Some(Kind::Schema1) || any.fs_layers.is_some() || any.schema_version == Some(1) {
        return Ok(Document::Schema1);
    }
    match (kind, any.manifests, any.config, any.layers) {
        (Some(Kind::Index) | None, Some(manifests), None, None) => Ok(Document::Index(manifests)),
        (Some(Kind::Manifest) | None, None, Some(config), layers) => {
            Ok(Document::Manifest { config, layers: layers.unwrap_or_default() })
        }
        // a document that can be read in two ways is read differently by different engines (CVE-2021-41190)
        (_, Some(_), _, _) => Err(Error::malformed(format!("{what} is both an index and a manifest"))),
        _ => Err(Error::malformed(format!("{what} is neither an index nor an image manifest"))),
    }
}

/// Reads an image's config.
pub(crate) fn config(bytes: &[u8], what: &str) -> Result<Config, Error> {
    json(bytes, what)
}

fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::malformed(format!("{what} cannot be read: {e}")))
}

fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Vec<T>>, D::Error> {
    from.deserialize_any(List { most: MOST, of: PhantomData })
}

fn history<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<History>>, D::Error> {
    from.deserialize_any(List { most: MOST_HISTORY, of: PhantomData })
}

/// A list or null, refused while it is being read once it is longer than `most`.
struct List<T> {
    most: usize,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} entries", self.most)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = from.next_element()? {
            if list.len() == self.most {
                return Err(A::Error::custom(format_args!("a list has more than {} entries", self.most)));
            }
            list.push(entry);
        }
        Ok(Some(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Document, Error> {
        document(text.as_bytes(), "", "it")
    }

    const CONFIG: &str = r#""config":{"digest":"sha256:x","size":1}"#;

    #[test]
    fn a_document_is_what_it_says_or_what_it_looks_like() {
        assert!(matches!(read(r#"{"schemaVersion":2,"manifests":[]}"#), Ok(Document::Index(_))));
        assert!(matches!(read(&format!("{{{CONFIG},\"layers\":[]}}")), Ok(Document::Manifest { .. })));
        assert!(matches!(read(r#"{"schemaVersion":1,"fsLayers":[]}"#), Ok(Document::Schema1)));
        let jws = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        assert!(matches!(document(b"{}", jws, "it"), Ok(Document::Schema1)));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let both = format!("{{{CONFIG},\"manifests\":[]}}");
        assert!(read(&both).unwrap_err().to_string().contains("both an index and a manifest"));
        let lie = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#;
        assert!(read(lie).is_err());
        assert!(read("{}").unwrap_err().to_string().contains("neither"));
    }

    #[test]
    fn hostile_numbers_and_lists_are_refused() {
        assert!(read(r#"{"config":{"digest":"x","size":-1}}"#).is_err());
        assert!(read(r#"{"config":{"digest":"x","size":1e300}}"#).is_err());
        let flood = format!("{{\"manifests\":[{}{{}}]}}", r#"{"digest":"x","size":1},"#.repeat(MOST + 1));
        assert!(read(&flood).unwrap_err().to_string().contains("more than 4096"));
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert!(read(&deep).is_err());
        let history = format!(r#"{{"rootfs":{{}},"history":[{}{{}}]}}"#, "{},".repeat(100_000));
        assert!(config(history.as_bytes(), "it").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = document(&bytes, "", "it");
            let _ = config(&bytes, "it");
        }
    }
}
