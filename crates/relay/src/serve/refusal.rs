//! Refusals, in the words of the OCI distribution specification 1.1 ("Error Codes").

use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
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
    if code == Code::Unauthorized {
        let challenge = HeaderValue::from_static("Basic realm=\"layerkeeper\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// What a source's error is to the engine: what is not there is not there, all else is a bad road.
pub(crate) fn of_source(error: &SourceError, unknown: Code) -> Response<Body> {
    match error {
        SourceError::NotFound { .. } | SourceError::Missing { .. } => refuse(unknown, &error.to_string()),
        _ => refuse(Code::BadGateway, &error.to_string()),
    }
}
