//! Requests in: a body within its limits, as JSON of the right shape, about an image.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use layerkeeper_core::{Digest, ImageName, ReferenceError};
use layerkeeper_keeper::DeployRequest;
use serde::de::DeserializeOwned;

use crate::problem::{Kind, Problem};
use crate::wire::DeployBody;

/// A larger body is refused.
pub const MAX_BODY: usize = 64 * 1024;

/// What the head alone can tell: too large, or not JSON.
pub fn check_head(headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::new(Kind::NotJson, "send the header Content-Type: application/json"))
    }
}

/// The whole body, within its size and time.
pub async fn read_body(body: Body, time: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(time, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(Problem::new(Kind::TooSlow, format!("the body did not arrive within {} s", time.as_secs()))),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Kind::Malformed, "the body broke off")),
    }
}

/// The body as a JSON object; an unknown key is an error that names it.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would also take an array of the fields in their order, which nobody means
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::new(Kind::Malformed, "the body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|cause| Problem::new(Kind::Malformed, format!("the body: {cause}")))
}

/// The image asked for.
pub fn deploy_request(body: &DeployBody) -> Result<DeployRequest, Problem> {
    let image = image(&body.image)?;
    let digest: Option<Digest> = body
        .digest
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|cause| Problem::new(Kind::NotAReference, format!("digest: {cause}")))?;
    let over_limit = match body.overrides.as_deref() {
        None => false,
        Some("budget") => true,
        Some(other) => {
            let detail =
                format!("override: {other:?} is not known; \"budget\" lets this deploy move more than download_limit");
            return Err(Problem::new(Kind::Malformed, detail));
        }
    };
    Ok(DeployRequest { image, digest, over_limit })
}

/// A name with a tag. A digest has a field of its own.
fn image(text: &str) -> Result<ImageName, Problem> {
    let wrong = |cause: String| Problem::new(Kind::NotAReference, format!("image: {cause}"));
    let Some((name, digest)) = text.split_once('@') else {
        return text.parse().map_err(|cause: ReferenceError| wrong(cause.to_string()));
    };
    // what is wrong with the name itself is told first, but for a tag that is not there
    let tag = match name.parse::<ImageName>() {
        Ok(_) => "",
        Err(ReferenceError::NoTag(_)) => ":TAG",
        Err(cause) => return Err(wrong(cause.to_string())),
    };
    let name = format!("{name}{tag}");
    Err(wrong(format!("a digest does not belong here; write \"image\": {name:?}, \"digest\": {digest:?}")))
}

fn too_large() -> Problem {
    Problem::new(Kind::TooLarge, format!("a body may have {MAX_BODY} bytes"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_an_object_with_known_keys_once_each_is_a_deploy() {
        let read = |text: &str| json::<DeployBody>(text.as_bytes()).map_err(|p| p.detail);
        assert!(read(r#" {"image":"a:1"}"#).is_ok());
        assert_eq!(read(r#"{"image":"a:1","digest":null}"#).unwrap().digest, None);
        for (bad, word) in [
            (r#"["a:1"]"#, "not a JSON object"),
            ("", "not a JSON object"),
            (r#"{"image":"a:1","tag":"x"}"#, "unknown field `tag`"),
            (r#"{"image":"a:1","image":"b:1"}"#, "duplicate field `image`"),
            (r#"{"image":7}"#, "invalid type"),
            (r#"{"digest":"x"}"#, "missing field `image`"),
            (r#"{"image":"a:1"} x"#, "trailing characters"),
            (r#"{"image":"a:1""#, "EOF"),
        ] {
            let detail = read(bad).unwrap_err();
            assert!(detail.contains(word), "{bad}: {detail}");
        }
    }

    #[test]
    fn the_head_alone_can_refuse() {
        let check = |kind: &'static str, length: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
            check_head(&headers).map_err(|p| p.status)
        };
        assert_eq!(check("application/json", "65536"), Ok(()));
        assert_eq!(check("Application/JSON; charset=utf-8", "2"), Ok(()));
        assert_eq!(check("application/json", "65537"), Err(413));
        assert_eq!(check("text/plain", "2"), Err(415));
        assert_eq!(check_head(&HeaderMap::new()).unwrap_err().status, 415);
    }

    #[test]
    fn what_is_not_an_image_is_unprocessable_and_says_why() {
        let read = |image: &str, digest: Option<&str>| {
            deploy_request(&DeployBody { image: image.into(), digest: digest.map(Into::into), overrides: None })
        };
        assert!(read("ghcr.io/acme/app:sha-1", None).is_ok());
        for (image, digest, word) in [
            ("ghcr.io/Acme/app:1", None, "lower-case"),
            ("ghcr.io/acme/app", None, "no tag"),
            (
                "ghcr.io/acme/app@sha256:12",
                None,
                r#"does not belong here; write "image": "ghcr.io/acme/app:TAG", "digest": "sha256:12""#,
            ),
            ("acme/app:1@sha256:12", None, r#"write "image": "acme/app:1", "digest": "sha256:12""#),
            ("ghcr.io/Acme/app@sha256:12", None, "lower-case"),
            ("ghcr.io/acme/app:1", Some("sha256:abc"), "3 characters"),
            ("ghcr.io/acme/app:1", Some(""), "does not start with"),
        ] {
            let problem = read(image, digest).unwrap_err();
            assert_eq!(problem.status, 422);
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
    }

    #[test]
    fn a_deploy_may_say_that_it_may_move_more_and_nothing_else() {
        let read = |text: &str| deploy_request(&json::<DeployBody>(text.as_bytes()).unwrap()).map(|d| d.over_limit);
        assert_eq!(read(r#"{"image":"a:1"}"#), Ok(false));
        assert_eq!(read(r#"{"image":"a:1","override":"budget"}"#), Ok(true));
        for other in ["Budget", "", "disk"] {
            let problem = read(&format!(r#"{{"image":"a:1","override":"{other}"}}"#)).unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains("\"budget\""), "{}", problem.detail);
        }
        assert!(json::<DeployBody>(br#"{"image":"a:1","overrides":"budget"}"#).is_err(), "the key has one spelling");
    }
}
