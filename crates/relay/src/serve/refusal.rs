//! Refusals, in the words of the OCI distribution specification 1.1 ("Error Codes").

use hyper::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use layerkeeper_registry::Error as SourceError;

use super::{Body, json};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Unauthorized,
    Unsupported,
    NotFound,
    NameUnknown,
    ManifestUnknown,
    BlobUnknown,
    DigestInvalid,
    /// The source behind the relay did not give it.
    BadGateway,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound | Self::NameUnknown | Self::ManifestUnknown | Self::BlobUnknown => StatusCode::NOT_FOUND,
            Self::DigestInvalid => StatusCode::BAD_REQUEST,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
        }
    }

    /// The specification's word; it has none for a gateway.
    fn word(self) -> &'static str {
        match self {
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Unsupported => "UNSUPPORTED",
            Self::NotFound => "UNSUPPORTED",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::BadGateway => "UNKNOWN",
        }
    }
}

pub(crate) fn refuse(code: Code, message: &str) -> Response<Body> {
    let body = serde_json::json!({"errors": [{"code": code.word(), "message": message}]});
    let mut response = json(code.status(), &body.to_string());
    let headers = response.headers_mut();
    match code {
        Code::Unauthorized => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"layerkeeper\""));
        }
        Code::Unsupported => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        _ => {}
    }
    response
}

/// What is no digest of ours: where it is one of another algorithm (the image specification registers sha512) it is a digest
/// of what is not there.
pub(crate) fn no_digest(text: &str, unknown: Code) -> Response<Body> {
    let is_hex = |text: &str| text.len() == 128 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match text.strip_prefix("sha512:") {
        Some(hex) if is_hex(hex) => refuse(unknown, "what is pulled has no digests but by sha256"),
        _ => refuse(Code::DigestInvalid, "a digest is sha256: and 64 lower-case hexadecimal digits"),
    }
}

/// What a source's error is to the engine: what is not there is not there, all else is a bad road.
pub(crate) fn of_source(error: &SourceError, unknown: Code) -> Response<Body> {
    match error {
        SourceError::NotFound { .. } | SourceError::Missing { .. } => refuse(unknown, &error.to_string()),
        _ => refuse(Code::BadGateway, &error.to_string()),
    }
}
