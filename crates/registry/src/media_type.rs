//! The media types that stand for images, and those that stand for something else.
//!
//! Sources: OCI image specification `media-types.md`; Docker image manifest v2 schemas 1 and 2; moby's
//! `distribution/pull_v2.go` for what Docker takes for an image's config.

use layerkeeper_core::Compression;

use crate::error::NotAnImage;

/// What we accept when asking for a manifest. Schema 1 is left out: a registry that has nothing else says so.
pub(crate) const ACCEPT_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

const BUILD_CACHE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// What a manifest's media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Index,
    Manifest,
    Schema1,
}

/// What kind of manifest has this type, if any has.
pub(crate) fn kind(media_type: &str) -> Option<Kind> {
    Some(match media_type {
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
            Kind::Index
        }
        "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
            Kind::Manifest
        }
        "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Kind::Schema1,
        _ => return None,
    })
}

/// Is a config of this type an image's? Docker takes some odd ones, from old clients and broken registries.
pub(crate) fn image_config(media_type: &str) -> Result<(), NotAnImage> {
    match media_type {
        "application/vnd.oci.image.config.v1+json"
        | "application/vnd.docker.container.image.v1+json"
        | "application/octet-stream"
        | "application/json"
        | "text/html"
        | "" => Ok(()),
        BUILD_CACHE => Err(NotAnImage::BuildCache),
        other => Err(NotAnImage::Artifact(crate::error::printable(other, 100))),
    }
}

/// Does an index with this entry hold a build cache (`--cache-to type=registry,image-manifest=false`)?
pub(crate) fn is_build_cache(media_type: &str) -> bool {
    media_type == BUILD_CACHE
}

/// Is this a layer's type?
pub(crate) fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

/// How a layer of this type is compressed. A type that says nothing is taken for gzip, as Docker does.
pub(crate) fn compression(media_type: &str) -> Result<Compression, NotAnImage> {
    if media_type.contains("nondistributable") || media_type.contains("rootfs.foreign") {
        return Err(NotAnImage::ForeignLayers);
    }
    if matches!(media_type, "" | "application/octet-stream") {
        return Ok(Compression::Gzip);
    }
    if is_layer(media_type) {
        let suffix = media_type.rsplit(['.', '+']).next().unwrap_or_default();
        return match suffix {
            "gzip" => Ok(Compression::Gzip),
            "zstd" => Ok(Compression::Zstd),
            "tar" => Ok(Compression::None),
            _ => Err(NotAnImage::Artifact(crate::error::printable(media_type, 100))),
        };
    }
    Err(NotAnImage::Artifact(crate::error::printable(media_type, 100)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_compressed_as_their_type_says() {
        for (media_type, wanted) in [
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
            ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::Zstd),
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/octet-stream", Compression::Gzip),
            ("", Compression::Gzip),
        ] {
            assert_eq!(compression(media_type), Ok(wanted), "{media_type}");
        }
    }

    #[test]
    fn what_docker_cannot_pull_as_a_layer_is_no_layer() {
        for foreign in [
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        ] {
            assert_eq!(compression(foreign), Err(NotAnImage::ForeignLayers));
        }
        for other in ["application/vnd.in-toto+json", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"] {
            assert_eq!(compression(other), Err(NotAnImage::Artifact(other.to_owned())));
        }
    }

    #[test]
    fn a_build_cache_is_known_by_its_config() {
        assert_eq!(image_config(BUILD_CACHE), Err(NotAnImage::BuildCache));
        assert!(image_config("application/vnd.cncf.helm.config.v1+json").is_err());
        assert_eq!(image_config("application/vnd.docker.container.image.v1+json"), Ok(()));
    }
}
