//! When credentials run out, where they say so themselves.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use layerkeeper_core::Timestamp;
use serde::Deserialize;

use super::Credential;
use crate::secret::Secret;

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
}

impl Credential {
    /// When they run out: the `exp` of a JSON web token (RFC 7519) in place of a token or password. None where they do not
    /// say; most passwords and access tokens do not.
    pub fn expires(&self) -> Option<Timestamp> {
        let all = [self.registry_token.as_ref(), self.identity_token.as_ref(), Some(&self.password)];
        all.into_iter().flatten().map(Secret::expose).find_map(of_token)
    }
}

/// The signature is not looked at: nobody gains by lying to us about the end of what we show to others.
fn of_token(token: &str) -> Option<Timestamp> {
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let exp = serde_json::from_slice::<Claims>(&claims).ok()?.exp?;
    // beyond the year 9999 it is no time that somebody meant
    (0.0..253_402_300_800.0).contains(&exp).then_some(Timestamp((exp * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_end_is_read_from_a_web_token_and_from_nothing_else() {
        assert_eq!(of_token(&token(r#"{"exp":1795489200,"sub":"ci"}"#)), Some(Timestamp(1_795_489_200_000)));
        assert_eq!(of_token(&token(r#"{"exp":1795489200.5}"#)), Some(Timestamp(1_795_489_200_500)));
        for other in
            [token("{}"), token(r#"{"exp":"soon"}"#), token(r#"{"exp":1e300}"#), token(r#"{"exp":-1}"#), token("no")]
        {
            assert_eq!(of_token(&other), None, "{other}");
        }
        for other in ["ghp_0123456789", "a.b", "a.b.c", "", "a.b.c.d", "..", "1.2.840"] {
            assert_eq!(of_token(other), None, "{other}");
        }
    }

    #[test]
    fn tokens_go_before_the_password() {
        let jwt = |exp: u64| Secret::new(token(&format!("{{\"exp\":{exp}}}")));
        let mut credential = Credential {
            username: "ci".into(),
            password: jwt(3),
            identity_token: Some(Secret::new("opaque")),
            registry_token: None,
            helper: None,
            server_address: "r.io".into(),
        };
        assert_eq!(credential.expires(), Some(Timestamp(3_000)), "an opaque token tells nothing");
        credential.identity_token = Some(jwt(2));
        assert_eq!(credential.expires(), Some(Timestamp(2_000)));
        credential.registry_token = Some(jwt(1));
        assert_eq!(credential.expires(), Some(Timestamp(1_000)));
    }
}
