//! From what an engine says to an [`EngineError`]: by its words first, by the HTTP status where the words tell nothing.
//!
//! The engine has no machine-readable codes for what goes wrong in a pull: the registry's, the network's, the disk's and
//! its own troubles all come as text, inside a stream that began with 200. The words below are from Docker Engine
//! 20.10, 26.1, 28 and 29 with both image stores; the order matters, for one message often holds several of them
//! (`failed commit on ref …: no space left on device`). Words that could be a part of an image's name carry the space or the
//! colon that a name cannot have.

use crate::EngineError;

type Make = fn(String) -> EngineError;
type Row = (Make, &'static [&'static str]);

const NO_SPACE: Row = (EngineError::NoSpace, &["no space left on device", "disk quota exceeded"]);

const BAD_CONTENT: Row = (
    EngineError::BadContent,
    &[
        "filesystem layer verification failed",
        "image verification failed",
        "manifest verification failed",
        "unexpected commit digest",
        "unexpected commit size",
        "failed size validation",
        "digest mismatch",
        "does not match digest",
        "mismatched digest",
        "wrong diff id calculated",
        "mismatched image rootfs",
        "invalid tar header",
        "gzip: invalid",
        "flate: corrupt",
        "magic number mismatch",
        "layers from manifest don't match image configuration",
    ],
);

const VANISHED: Row = (
    EngineError::Vanished,
    &["lease does not exist", "failed commit on ref", "failed to get reader from content store", "parent snapshot "],
);

/// What the engine wraps around whatever went wrong while it unpacked a layer, once all of its bytes were here. These
/// words say nothing of the cause.
const UNPACKING: &[&str] = &["error processing tar file", "failed to register layer", "failed to extract layer"];

/// The rows for unpacking. No registry has a part in it, and messages quote paths out of the image. Whatever is not
/// named here is the engine's own trouble.
const UNPACKING_WORDS: &[Row] =
    &[NO_SPACE, BAD_CONTENT, (EngineError::BadContent, &["unexpected eof"]), VANISHED, (EngineError::Other, &[""])];

/// The rows for everything else. The first that has one of its words in the message wins.
const WORDS: &[Row] = &[
    NO_SPACE,
    (EngineError::TooManyRequests, &["toomanyrequests: ", "too many requests", "rate limit"]),
    BAD_CONTENT,
    VANISHED,
    // the engine's own way to containerd, not the registry
    (EngineError::Other, &["dial unix", "containerd.sock"]),
    (
        EngineError::Denied,
        &[
            "unauthorized: ",
            "401 unauthorized",
            "403 forbidden",
            "access denied",
            "denied: ",
            "no basic auth credentials",
            "authentication required",
            "authorization failed",
            "insufficient_scope",
        ],
    ),
    (
        EngineError::RegistryUnreachable,
        &[
            "connection refused",
            "connection reset",
            "i/o timeout",
            "no such host",
            "server misbehaving",
            "temporary failure in name resolution",
            "network is unreachable",
            "no route to host",
            "handshake timeout",
            "client.timeout exceeded",
            "context deadline exceeded",
            "timeout awaiting response headers",
            "proxyconnect",
            "x509: ",
            "tls: ",
            "server gave http response to https client",
            "http: server closed idle connection",
            "unexpected eof",
            "broken pipe",
            "unexpected http status: 5",
            "unexpected status code 5",
            "500 internal server error",
            "502 bad gateway",
            "503 service unavailable",
            "504 gateway timeout",
        ],
    ),
    // in mid-pull: the manifest is there, and a part that it lists is not
    (EngineError::BlobMissing, &["unknown blob", "blob unknown", "could not fetch content descriptor"]),
    (
        EngineError::NotFound,
        &[
            "manifest unknown",
            "name unknown",
            "repository name not known",
            "no such image",
            "no such container",
            "not found",
        ],
    ),
];

/// Sorts what the engine said. `status` is the HTTP status of its answer; none for an error inside a stream.
pub fn classify(status: Option<u16>, message: &str) -> EngineError {
    // a file system's `permission denied: …` is not a registry's `denied: …`
    let text = message.to_lowercase().replace("permission denied", "not permitted");
    if status == Some(409) {
        return EngineError::Conflict(message.to_owned());
    }
    // `content digest sha256:…: not found` and `lease "…": not found` speak of the engine's own store
    if text.contains("not found") && (text.contains("content digest") || text.contains("lease ")) {
        return EngineError::Vanished(message.to_owned());
    }
    let unpacking = UNPACKING.iter().any(|word| text.contains(word));
    for (make, words) in if unpacking { UNPACKING_WORDS } else { WORDS } {
        if words.iter().any(|word| text.contains(word)) {
            return make(message.to_owned());
        }
    }
    match registry_status(&text).or(status) {
        Some(404) => EngineError::NotFound(message.to_owned()),
        Some(401 | 403) => EngineError::Denied(message.to_owned()),
        Some(429) => EngineError::TooManyRequests(message.to_owned()),
        // the engine's own 500 says nothing; one that it quotes is the registry's
        Some(500..) if registry_status(&text).is_some() => EngineError::RegistryUnreachable(message.to_owned()),
        _ if text.ends_with(": eof") => EngineError::RegistryUnreachable(message.to_owned()),
        _ => EngineError::Other(message.to_owned()),
    }
}

/// The registry's status where the engine quotes one (`unexpected status from HEAD request to https://…: 429 …`); the
/// words after it are the registry's own.
fn registry_status(text: &str) -> Option<u16> {
    let (_, rest) = text
        .split_once("unexpected ")
        .filter(|(_, rest)| ["status ", "http status"].iter().any(|word| rest.starts_with(word)))?;
    let numbers = rest.split(": ").filter_map(|part| part.split(' ').next()?.parse().ok());
    numbers.filter(|status| (400..600).contains(status)).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: &EngineError) -> &'static str {
        match error {
            EngineError::NotFound(_) => "not found",
            EngineError::BlobMissing(_) => "blob",
            EngineError::Conflict(_) => "conflict",
            EngineError::Denied(_) => "denied",
            EngineError::TooManyRequests(_) => "too many",
            EngineError::RegistryUnreachable(_) => "registry",
            EngineError::NoSpace(_) => "space",
            EngineError::BadContent(_) => "content",
            EngineError::Vanished(_) => "vanished",
            EngineError::Other(_) => "other",
            _ => "unexpected",
        }
    }

    /// Status, message and what it is understood as.
    const WORDS: &[(Option<u16>, &str, &str)] = &[
        (
            None,
            "failed to register layer: Error processing tar file(exit status 1): write /a: no space left on device",
            "space",
        ),
        (None, "failed commit on ref \"layer-sha256:00\": write /x/data: no space left on device", "space"),
        (None, "toomanyrequests: You have reached your pull rate limit.", "too many"),
        (Some(500), "toomanyrequests: retry-after: 880µs, allowed: 44000/minute", "too many"),
        (
            None,
            "failed to copy: httpReadSeeker: failed open: unexpected status code https://r/v2/a/blobs/sha256:0: 429 Too Many Requests",
            "too many",
        ),
        (None, "filesystem layer verification failed for digest sha256:00", "content"),
        (
            None,
            "failed commit on ref \"layer-sha256:00\": unexpected commit digest sha256:11, expected sha256:00: failed precondition",
            "content",
        ),
        (
            None,
            "failed commit on ref \"layer-sha256:00\": \"layer-sha256:00\" failed size validation: 1 != 2: failed precondition",
            "content",
        ),
        (
            None,
            "failed to register layer: Error processing tar file(exit status 1): archive/tar: invalid tar header",
            "content",
        ),
        (
            None,
            "failed to register layer: Error processing tar file(exit status 1): open /bin/[: permission denied",
            "other",
        ),
        (
            None,
            "failed to register layer: Error processing tar file(exit status 1): open /srv/denied: x: permission denied: unknown",
            "other",
        ),
        (None, "failed to register layer: Error processing tar file(exit status 1): unexpected EOF", "content"),
        (None, "failed to register layer: lchown /srv/connection refused: operation not permitted", "other"),
        (None, "open /var/lib/docker/tmp/GetImageBlob1: permission denied: unknown", "other"),
        (
            None,
            "failed to prepare extraction snapshot \"extract-1-Rb sha256:00\": parent snapshot sha256:11 does not exist: not found",
            "vanished",
        ),
        (None, "failed to extract layer sha256:00: wrong diff id calculated on extraction \"sha256:11\"", "content"),
        (
            None,
            "failed commit on ref \"layer-sha256:00\": commit failed: rename: no such file or directory",
            "vanished",
        ),
        (None, "lease does not exist: not found", "vanished"),
        (None, "unable to lease content: lease does not exist: not found", "vanished"),
        (None, "lease \"moby-image-123\": not found", "vanished"),
        (None, "failed to get reader from content store: content digest sha256:00: not found", "vanished"),
        (None, "content digest sha256:00: not found", "vanished"),
        (Some(404), "manifest for 127.0.0.1:5000/a:b not found: manifest unknown: manifest unknown", "not found"),
        (Some(404), "failed to resolve reference \"127.0.0.1:5000/a:b\": 127.0.0.1:5000/a:b: not found", "not found"),
        (
            Some(404),
            "pull access denied for acme/x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            "denied",
        ),
        (Some(500), "Head \"https://ghcr.io/v2/a/manifests/b\": unauthorized: authentication required", "denied"),
        (Some(500), "Head \"http://127.0.0.1:5000/v2/a/manifests/b\": no basic auth credentials", "denied"),
        (
            Some(500),
            "failed to resolve reference \"r/a:b\": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
            "denied",
        ),
        (
            Some(500),
            "failed to resolve reference \"r/a:b\": unexpected status from HEAD request to http://r/v2/a/manifests/b: 401 Unauthorized",
            "denied",
        ),
        (Some(500), "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", "registry"),
        (
            Some(500),
            "Get \"https://r.invalid/v2/\": dial tcp: lookup r.invalid on 127.0.0.53:53: no such host",
            "registry",
        ),
        (
            Some(500),
            "Get \"https://r/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            "registry",
        ),
        (Some(500), "Get \"https://r/v2/\": x509: certificate signed by unknown authority", "registry"),
        (Some(500), "Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client", "registry"),
        (
            None,
            "error pulling image configuration: download failed after attempts=6: dial tcp 10.0.0.1:443: i/o timeout",
            "registry",
        ),
        (
            None,
            "failed to copy: httpReadSeeker: failed open: failed to do request: Get \"http://r/v2/\": EOF",
            "registry",
        ),
        (None, "unexpected EOF", "registry"),
        (Some(500), "received unexpected HTTP status: 500 Internal Server Error", "registry"),
        (
            Some(500),
            "connection error: desc = \"transport: error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused\"",
            "other",
        ),
        (
            Some(409),
            "conflict: unable to remove repository reference \"a:b\" (must force) - container 12 is using its referenced image 34",
            "conflict",
        ),
        (Some(404), "No such image: a:b", "not found"),
        (Some(404), "", "not found"),
        (None, "unknown blob", "blob"),
        (None, "blob unknown to registry", "blob"),
        (
            None,
            "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:00 (application/vnd.oci.image.layer.v1.tar+gzip) from remote: not found",
            "blob",
        ),
        (
            Some(500),
            "failed to resolve reference \"r/a:b\": unexpected status from HEAD request to http://r/v2/a/manifests/b: 429 Slow Down",
            "too many",
        ),
        (Some(500), "received unexpected HTTP status: 529 Overloaded", "registry"),
        (
            Some(500),
            "failed to resolve reference \"r/a:b\": unexpected status from HEAD request to http://r/v2/a/manifests/b: 403 No",
            "denied",
        ),
        (Some(500), "something else", "other"),
        (Some(404), "manifest for r/tls:v401 not found: manifest unknown: manifest unknown", "not found"),
        (Some(400), "invalid reference format", "other"),
    ];

    #[test]
    fn the_engines_words_are_understood() {
        for (status, message, wanted) in WORDS {
            assert_eq!(kind(&classify(*status, message)), *wanted, "{status:?} {message}");
        }
    }

    #[test]
    fn the_message_is_kept_as_it_came() {
        assert_eq!(
            classify(None, "No Space Left On Device"),
            EngineError::NoSpace("No Space Left On Device".to_owned())
        );
    }
}
