//! Standard Webhooks signatures: who holds the secret sent exactly this body, just now.
//!
//! Specification: `github.com/standard-webhooks/standard-webhooks`, `spec/standard-webhooks.md`, "Webhook metadata" and
//! "Signature scheme". The signature is HMAC-SHA256 over `id.timestamp.body`; a sender that rotates its secret sends
//! several, separated by spaces. Everything here is pure.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use layerkeeper_core::Timestamp;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::secret::{Secret, Secrets};

/// How far a request's time may be from ours, either way.
pub const TOLERANCE: Duration = layerkeeper_store::WEBHOOK_TOLERANCE;

/// The unique id of a request; the same again is a retry.
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// When it was sent, in seconds since the Unix epoch.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// One or more `v1,<base64>`, separated by spaces.
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// More signatures than any rotation needs are not looked at.
const MAX_SIGNATURES: usize = 16;
const MAX_ID: usize = 256;

/// A request whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its `webhook-id`.
    pub id: String,
    /// Its `webhook-timestamp`.
    pub sent: Timestamp,
}

/// Why a request is not believed. The texts go to the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is not there.
    #[error("the header {0} is missing; sign requests as Standard Webhooks says")]
    Missing(HeaderName),
    /// A header is there twice, so that it is unclear which one was signed.
    #[error("the header {0} stands there more than once")]
    Repeated(HeaderName),
    /// The id breaks the grammar.
    #[error("webhook-id must be 1 to 256 visible ASCII characters other than \".\"")]
    Id,
    /// The timestamp is no number of seconds.
    #[error("webhook-timestamp must be whole seconds since the Unix epoch")]
    Timestamp,
    /// No signature of the one version that we know.
    #[error("webhook-signature holds no \"v1,\" signature")]
    NoV1,
    /// None of the signatures matches.
    #[error("no signature matches: wrong secret, or the body was changed after it was signed")]
    Mismatch,
    /// The signature holds, but the request was not sent just now.
    #[error(
        "webhook-timestamp {sent} is more than {} seconds away from this server's time, {server_seconds} ({server}); \
         set the sender's clock, or sign every try anew", TOLERANCE.as_secs(), server_seconds = server.seconds()
    )]
    Skew {
        /// What the sender said, in seconds.
        sent: i64,
        /// What it is judged against.
        server: Timestamp,
    },
}

/// Believes a request or says why not.
///
/// `newest` is the newest time of any request ever accepted: a clock that was set back must not make old requests young
/// again, so a request is judged against the later of both.
pub fn verify(
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    newest: Option<Timestamp>,
    secrets: &Secrets,
) -> Result<Verified, SignatureError> {
    let id = single(headers, &ID)?.ok_or(SignatureError::Id)?;
    // a dot would make it unclear where the id ends in what is signed
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|c| c.is_ascii_graphic() && c != b'.') {
        return Err(SignatureError::Id);
    }
    let timestamp = single(headers, &TIMESTAMP)?.ok_or(SignatureError::Timestamp)?;
    let seconds = seconds(timestamp).ok_or(SignatureError::Timestamp)?;
    let signatures = single(headers, &SIGNATURE)?.ok_or(SignatureError::NoV1)?;
    if !any_matches(signatures, id, timestamp, body, secrets)? {
        return Err(SignatureError::Mismatch);
    }
    let server = newest.map_or(now, |newest| newest.max(now));
    let sent = Timestamp(seconds.saturating_mul(1000));
    if server - sent > TOLERANCE || sent - server > TOLERANCE {
        return Err(SignatureError::Skew { sent: seconds, server });
    }
    Ok(Verified { id: id.to_owned(), sent })
}

/// The value of `webhook-signature` for a request. `seconds` since the Unix epoch is `webhook-timestamp`.
pub fn sign(id: &str, seconds: i64, body: &[u8], secret: &Secret) -> String {
    format!("v1,{}", STANDARD.encode(mac(id, &seconds.to_string(), body, secret)))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| SignatureError::Missing(name.clone()))?;
    match values.next() {
        Some(_) => Err(SignatureError::Repeated(name.clone())),
        None => Ok(value.to_str().ok()),
    }
}

/// Digits only: `+1`, ` 1` and `1.0` were signed by nobody who follows the specification.
fn seconds(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) { None } else { text.parse().ok() }
}

fn any_matches(
    signatures: &str,
    id: &str,
    timestamp: &str,
    body: &[u8],
    secrets: &Secrets,
) -> Result<bool, SignatureError> {
    let given: Vec<Vec<u8>> = signatures
        .split_ascii_whitespace()
        .filter_map(|one| one.strip_prefix("v1,"))
        .take(MAX_SIGNATURES)
        .map(|encoded| STANDARD.decode(encoded).unwrap_or_default())
        .collect();
    if given.is_empty() {
        return Err(SignatureError::NoV1);
    }
    let mut matched = Choice::from(0);
    for secret in secrets.iter() {
        let wanted = mac(id, timestamp, body, secret);
        for given in &given {
            // never ends early: neither the place of the first wrong byte nor which secret matched shows in the time
            matched |= wanted[..].ct_eq(given);
        }
    }
    Ok(matched.into())
}

fn mac(id: &str, timestamp: &str, body: &[u8], secret: &Secret) -> [u8; 32] {
    // HMAC takes keys of any length, so this never fails; a zero key signs for nobody, for secrets are never empty
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.key()) else { return [0; 32] };
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
