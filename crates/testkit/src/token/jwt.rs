//! Tokens as distribution takes them: JWTs signed with ES256 whose certificate (`x5c`) it trusts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::Serialize;
use serde_json::json;

use super::TokenServer;
use crate::error::{Error, Result};

/// distribution takes a token for this long after its `exp`, to allow for clocks that differ.
const LEEWAY: u64 = 60;

/// One entry of a token's `access` claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Grant {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) actions: Vec<String>,
}

/// A key with its self-signed certificate.
#[derive(Debug)]
pub(super) struct Signer {
    key: EcdsaKeyPair,
    pem: String,
    der: Vec<u8>,
}

impl Signer {
    pub(super) fn new() -> Result<Self> {
        let failed = |e: rcgen::Error| Error::failed("making a certificate", e);
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let params = rcgen::CertificateParams::new(vec!["testkit".into()]).map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let signing =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &SystemRandom::new());
        let signing = signing.map_err(|e| Error::failed("reading the key", e))?;
        Ok(Self { key: signing, pem: certificate.pem(), der: certificate.der().to_vec() })
    }

    /// The certificate, as the registry's `rootcertbundle` wants it.
    pub(super) fn certificate(&self) -> &str {
        &self.pem
    }

    /// A token that the registry takes for `lifetime` from now on.
    pub(super) fn token(&self, subject: &str, access: &[Grant], lifetime: Duration) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&self.der)]});
        let claims = json!({
            "iss": TokenServer::ISSUER,
            "sub": subject,
            "aud": TokenServer::SERVICE,
            "nbf": now - 600,
            "iat": now - 600,
            "exp": now + lifetime.as_secs() - LEEWAY,
            "access": access,
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        match self.key.sign(&SystemRandom::new(), signed.as_bytes()) {
            Ok(signature) => format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)),
            // no randomness: a token that nobody takes
            Err(_) => signed,
        }
    }
}
