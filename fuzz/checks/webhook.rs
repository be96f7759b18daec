//! A webhook is believed exactly when who sent it holds the secret and says a time near ours, whatever else the headers
//! hold; and what is asked for survives the wire. The input is a request without its first line: headers, an empty line,
//! the body. For `webhook-signature: sign` the signature is made here, for no fuzzer guesses one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use layerkeeper_core::Timestamp;
use layerkeeper_http::request;
use layerkeeper_http::secret::Secrets;
use layerkeeper_http::signature::{ID, SIGNATURE, SignatureError, TIMESTAMP, sign, verify};
use layerkeeper_http::wire::DeployBody;

/// The server's time in every check, in seconds.
const NOW: i64 = 1_800_000_000;
const TOLERANCE: i64 = 300;

/// Checks one request.
pub fn check(input: &[u8]) {
    let (headers, body) = read(input);
    let secrets = Secrets::parse(b"the new secret, 16 or more\nthe old secret, 16 or more").expect("two secrets");
    let others = Secrets::parse(b"somebody else's secret").expect("a secret");
    let headers = signed(headers, body, &secrets);
    let now = Timestamp(NOW * 1000);
    let verdict = verify(&headers, body, now, None, &secrets);
    assert_eq!(verdict.is_ok(), is_to_be_believed(&headers, body, &secrets), "{verdict:?}: {headers:?}");
    assert!(verify(&headers, body, now, None, &others).is_err(), "believed with another's secret");
    if let Ok(verified) = &verdict {
        assert_eq!(headers.get(ID).map(HeaderValue::as_bytes), Some(verified.id.as_bytes()));
        let changed = [body, b" "].concat();
        assert_eq!(verify(&headers, &changed, now, None, &secrets), Err(SignatureError::Mismatch));
        let later = Some(Timestamp((NOW + 2 * TOLERANCE + 1) * 1000));
        let judged = verify(&headers, body, now, later, &secrets);
        assert!(matches!(judged, Err(SignatureError::Skew { .. })), "a clock set back made it young again");
    }
    let head = request::check_head(&headers);
    assert!(head.as_ref().err().is_none_or(|problem| matches!(problem.status, 413 | 415)), "{head:?}");
    if let Ok(asked) = request::json::<DeployBody>(body) {
        let again = serde_json::to_vec(&asked).expect("a body is JSON");
        assert_eq!(request::json::<DeployBody>(&again).as_ref(), Ok(&asked));
        if let Ok(deploy) = request::deploy_request(&asked) {
            let printed = DeployBody {
                image: deploy.image.to_string(),
                digest: deploy.digest.map(|digest| digest.to_string()),
                overrides: deploy.over_limit.then(|| "budget".to_owned()),
            };
            assert_eq!(request::deploy_request(&printed), Ok(deploy));
        }
    }
}

fn read(input: &[u8]) -> (HeaderMap, &[u8]) {
    let mut headers = HeaderMap::new();
    let mut rest = input;
    while let Some(end) = rest.iter().position(|c| *c == b'\n') {
        let line = rest[..end].trim_ascii();
        rest = &rest[end + 1..];
        if line.is_empty() {
            return (headers, rest);
        }
        let Some(colon) = line.iter().position(|c| *c == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (headers, rest)
}

/// Puts a signature where one is asked for; between others, where they are there.
fn signed(mut headers: HeaderMap, body: &[u8], secrets: &Secrets) -> HeaderMap {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (Some(id), Some(seconds), Some(given)) = (text(&ID), text(&TIMESTAMP), text(&SIGNATURE)) else {
        return headers;
    };
    let Ok(seconds) = seconds.parse::<i64>() else { return headers };
    let mut all = secrets.iter();
    let (newest, oldest) = (all.next().expect("one"), all.next().expect("two"));
    let given = given.replace("sign-old", &sign(&id, seconds, body, oldest));
    let given = given.replace("sign", &sign(&id, seconds, body, newest));
    if let Ok(value) = HeaderValue::from_str(&given) {
        // only the first, so that a second one is still there to be refused
        if let Some(first) = headers.get_mut(SIGNATURE) {
            *first = value;
        }
    }
    headers
}

/// The rules once more: each header once, an id of visible characters without a dot, whole seconds, one of the first
/// sixteen signatures made with one of the secrets, not more than five minutes away.
fn is_to_be_believed(headers: &HeaderMap, body: &[u8], secrets: &Secrets) -> bool {
    let one = |name: &HeaderName| {
        let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
        if let [value] = values[..] { Some(value) } else { None }
    };
    let (Some(id), Some(seconds), Some(signatures)) = (one(&ID), one(&TIMESTAMP), one(&SIGNATURE)) else {
        return false;
    };
    let id_fits = (1..=256).contains(&id.len()) && id.chars().all(|c| ('!'..='~').contains(&c) && c != '.');
    let Ok(number) = seconds.parse::<i64>() else { return false };
    // what is signed is the text; with another text for the same number `sign` made another signature
    let canonical = number.to_string() == seconds;
    let of_v1 = signatures.split_ascii_whitespace().filter(|one| one.starts_with("v1,")).take(16);
    let wanted: Vec<String> = secrets.iter().map(|secret| sign(id, number, body, secret)).collect();
    let matches = of_v1.into_iter().any(|one| wanted.iter().any(|wanted| wanted == one));
    id_fits && canonical && matches && number.abs_diff(NOW) <= TOLERANCE.unsigned_abs()
}
