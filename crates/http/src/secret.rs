//! The secret that CI and this host share. Never shown, not even by `Debug`.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::error::SecretError;

/// A shorter secret is refused.
pub const MIN_SECRET_BYTES: usize = 16;

/// Padding may be left out, as some generators do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One secret: the key of the HMAC.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The secrets that are accepted now: one, or two during a rotation.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    first: Secret,
    second: Option<Secret>,
}

impl Secret {
    /// The HMAC key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.0
    }

    /// Reads one line: raw bytes, or `whsec_` and base64 (Standard Webhooks, "Signature scheme").
    fn parse(line: &[u8], number: usize) -> Result<Self, SecretError> {
        let key = match line.strip_prefix(b"whsec_") {
            Some(encoded) => BASE64.decode(encoded).map_err(|_| SecretError::Base64 { line: number })?,
            None => line.to_vec(),
        };
        if key.len() < MIN_SECRET_BYTES {
            return Err(SecretError::TooShort { line: number, bytes: key.len() });
        }
        Ok(Self(key))
    }
}

impl Secrets {
    /// Reads a secret file: one line, or two during a rotation, the new secret first. White space around a line and
    /// empty lines do not count.
    pub fn parse(file: &[u8]) -> Result<Self, SecretError> {
        let lines: Vec<(usize, &[u8])> = file
            .split(|c| *c == b'\n')
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim_ascii()))
            .filter(|(_, line)| !line.is_empty())
            .collect();
        match lines[..] {
            [] => Err(SecretError::Empty),
            [(n, first)] => Ok(Self { first: Secret::parse(first, n)?, second: None }),
            [(n, first), (m, second)] => {
                Ok(Self { first: Secret::parse(first, n)?, second: Some(Secret::parse(second, m)?) })
            }
            _ => Err(SecretError::TooManyLines(lines.len())),
        }
    }

    /// The one to sign with: the first line.
    pub fn newest(&self) -> &Secret {
        &self.first
    }

    /// All that are accepted.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.first).chain(self.second.as_ref())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} of them)", self.iter().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(file: &str) -> Vec<Vec<u8>> {
        Secrets::parse(file.as_bytes()).unwrap().iter().map(|s| s.key().to_vec()).collect()
    }

    #[test]
    fn a_secret_is_raw_or_base64_and_white_space_around_it_does_not_count() {
        assert_eq!(keys("0123456789abcdef\n"), [b"0123456789abcdef".to_vec()]);
        assert_eq!(keys("\r\n  0123456789abcdef\r\n\n"), [b"0123456789abcdef".to_vec()]);
        assert_eq!(keys("whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n"), [b"0123456789abcdef".to_vec()]);
        assert_eq!(keys("whsec_MDEyMzQ1Njc4OWFiY2RlZg"), [b"0123456789abcdef".to_vec()]);
        assert_eq!(keys("new-new-new-new-new\nold-old-old-old-old\n").len(), 2);
    }

    #[test]
    fn an_unfit_secret_says_why_without_showing_it() {
        let error = |file: &str| Secrets::parse(file.as_bytes()).unwrap_err();
        assert_eq!(error(" \n\n"), SecretError::Empty);
        assert_eq!(error("hunter2\n"), SecretError::TooShort { line: 1, bytes: 7 });
        assert_eq!(error("0123456789abcdef\nwhsec_aGk="), SecretError::TooShort { line: 2, bytes: 2 });
        assert_eq!(error("whsec_no base64!"), SecretError::Base64 { line: 1 });
        assert_eq!(error("0123456789abcdef\n0123456789abcdeg\n0123456789abcdeh"), SecretError::TooManyLines(3));
        assert!(!error("hunter2").to_string().contains("hunter2"));
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let secrets = Secrets::parse(b"0123456789abcdef").unwrap();
        assert_eq!(format!("{secrets:?} {:?}", secrets.newest()), "Secrets(1 of them) Secret(…)");
    }
}
