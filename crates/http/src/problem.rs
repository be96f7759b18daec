//! Errors as RFC 9457 problem documents: `{"type","title","status","detail"}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use layerkeeper_keeper::Refusal;
use serde::{Deserialize, Serialize};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// How long to wait where nothing better is known.
const RETRY_SECONDS: u64 = 30;

/// A refusal, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:layerkeeper:problem:` and a stable word to branch on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status, once more.
    pub status: u16,
    /// What happened this time, and what to do.
    #[serde(default)]
    pub detail: String,
    /// Not before so many seconds; also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// The methods that this path has, for the header `Allow`.
    #[serde(skip)]
    pub allow: Option<String>,
}

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request breaks its grammar.
    Malformed,
    /// 401: the sender did not show that it has the secret.
    NotAuthenticated,
    /// 403: the policy does not allow this image.
    OutsidePolicy,
    /// 404: no such thing, or none that the caller may know of.
    NotFound,
    /// 405: the path has other methods.
    MethodNotAllowed,
    /// 408: the sender was too slow.
    TooSlow,
    /// 409: the id came before with another body.
    IdReused,
    /// 413: the body is too large.
    TooLarge,
    /// 415: not JSON.
    NotJson,
    /// 421: the Host header is not ours.
    ForeignHost,
    /// 422: not an image reference.
    NotAReference,
    /// 429: too many jobs wait.
    QueueFull,
    /// 429: too many requests, or too many followers.
    TooFast,
    /// 500: our fault.
    Internal,
    /// 503: engine or registry did not answer.
    Unavailable,
    /// 503: the disk is full.
    NotStored,
    /// 503: shutting down.
    Stopping,
}

/// Who reads a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody: no raw causes.
    Public,
    /// Somebody on this host.
    Operator,
}

impl Kind {
    /// Status, stable word, title.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Malformed => (S::BAD_REQUEST, "malformed", "The request is malformed"),
            Self::NotAuthenticated => (S::UNAUTHORIZED, "not-authenticated", "The signature is missing or wrong"),
            Self::OutsidePolicy => (S::FORBIDDEN, "outside-policy", "The policy does not allow this image"),
            Self::NotFound => (S::NOT_FOUND, "not-found", "There is no such thing here"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method-not-allowed", "This path has other methods"),
            Self::TooSlow => (S::REQUEST_TIMEOUT, "too-slow", "The request took too long to arrive"),
            Self::IdReused => (S::CONFLICT, "id-reused", "The id was used before with another body"),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::NotJson => (S::UNSUPPORTED_MEDIA_TYPE, "not-json", "The body must be JSON"),
            Self::ForeignHost => (S::MISDIRECTED_REQUEST, "foreign-host", "This listener does not have that name"),
            Self::NotAReference => (S::UNPROCESSABLE_ENTITY, "not-a-reference", "This is not an image reference"),
            Self::QueueFull => (S::TOO_MANY_REQUESTS, "queue-full", "The queue is full"),
            Self::TooFast => (S::TOO_MANY_REQUESTS, "too-fast", "Too many requests"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here"),
            Self::Unavailable => (S::SERVICE_UNAVAILABLE, "unavailable", "Engine or registry do not answer"),
            Self::NotStored => (S::SERVICE_UNAVAILABLE, "not-stored", "The request cannot be stored now"),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping", "The daemon is shutting down"),
        }
    }
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, word, title) = kind.row();
        Self {
            kind: format!("urn:layerkeeper:problem:{word}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            retry_after_seconds: None,
            allow: None,
        }
    }

    /// The same, with the time to wait.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// 404 for a path that leads nowhere.
    pub fn no_such_path() -> Self {
        Self::new(Kind::NotFound, "there is nothing at this path")
    }

    /// 405.
    pub fn method_not_allowed(allow: &str) -> Self {
        Self { allow: Some(allow.to_owned()), ..Self::new(Kind::MethodNotAllowed, format!("use {allow}")) }
    }

    /// Is it of this kind?
    pub fn is(&self, kind: Kind) -> bool {
        self.kind.strip_prefix("urn:layerkeeper:problem:") == Some(kind.row().1)
    }

    /// The keeper's refusal, in words fit for who reads it.
    pub fn of_refusal(refusal: &Refusal, audience: Audience) -> Self {
        let open = |fixed: &str, raw: &str| match audience {
            Audience::Public => fixed.to_owned(),
            Audience::Operator => raw.to_owned(),
        };
        match refusal {
            Refusal::Policy(reason) => Self::new(Kind::OutsidePolicy, reason),
            Refusal::IdReused => Self::new(Kind::IdReused, refusal.to_string()),
            Refusal::QueueFull => Self::new(Kind::QueueFull, refusal.to_string()).retry_after(RETRY_SECONDS),
            Refusal::Stopping => Self::new(Kind::Stopping, refusal.to_string()).retry_after(RETRY_SECONDS),
            Refusal::NotFound(reason) => Self::new(Kind::NotFound, open("not found", reason)),
            Refusal::Unavailable(reason) => {
                Self::new(Kind::Unavailable, open("try again later", reason)).retry_after(RETRY_SECONDS)
            }
            Refusal::NotStored(_) => {
                let raw = refusal.to_string();
                let public = "nothing was taken; the cause, such as a full disk, is in the server's log";
                Self::new(Kind::NotStored, open(public, &raw)).retry_after(RETRY_SECONDS)
            }
            Refusal::Store(_) => {
                let raw = refusal.to_string();
                Self::new(Kind::Internal, open("the request was not taken; its cause is in the log", &raw))
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 11.6.1: a 401 names its scheme
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("StandardWebhooks"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_json_of_its_own_type_with_the_headers_that_are_due() {
        let full = Problem::of_refusal(&Refusal::QueueFull, Audience::Public).into_response();
        assert_eq!(full.status(), 429);
        assert_eq!(full.headers()["content-type"], "application/problem+json");
        assert_eq!(full.headers()["retry-after"], "30");
        assert_eq!(Problem::method_not_allowed("POST").into_response().headers()["allow"], "POST");
        let unknown = Problem::new(Kind::NotAuthenticated, "").into_response();
        assert_eq!(unknown.headers()["www-authenticate"], "StandardWebhooks");
    }

    #[test]
    fn a_problem_survives_the_wire() {
        let problem = Problem::new(Kind::Stopping, "soon").retry_after(7);
        let text = serde_json::to_string(&problem).unwrap();
        assert!(text.contains(r#""type":"urn:layerkeeper:problem:stopping""#), "{text}");
        let read: Problem = serde_json::from_str(&text).unwrap();
        assert_eq!(read, problem);
        assert!(read.is(Kind::Stopping) && !read.is(Kind::Unavailable));
    }

    #[test]
    fn the_public_never_sees_a_raw_cause() {
        for refusal in [
            Refusal::Store("disk I/O error at /var/lib/x".into()),
            Refusal::NotStored("no room at /var/lib/x".into()),
            Refusal::Unavailable("dial unix /run/x".into()),
            Refusal::NotFound("/x".into()),
        ] {
            let public = Problem::of_refusal(&refusal, Audience::Public);
            assert!(!public.detail.contains('/'), "{public:?}");
            assert!(Problem::of_refusal(&refusal, Audience::Operator).detail.contains('/'));
        }
    }
}
