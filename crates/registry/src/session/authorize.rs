//! Answers a challenge: picks the way that we can go, and goes it.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Session;
use crate::challenge::Challenge;
use crate::credential::Credential;
use crate::error::Error;
use crate::secret::Secret;
use crate::tokens::{Grant, lifetime};

impl Session<'_> {
    /// What to send as `Authorization`; none where no challenge can be met with the credentials that there are.
    /// Bearer goes before Basic: it works without credentials too, and shows the password to fewer.
    pub(super) async fn authorize(&self, challenges: &[Challenge]) -> Result<Option<Grant>, Error> {
        let named = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(bearer) = named("bearer") {
            if let Some(token) = self.credential.as_ref().and_then(|c| c.registry_token.as_ref()) {
                return Ok(Some(Grant { authorization: header("Bearer", token.expose()), until: None }));
            }
            let asked = Instant::now();
            let token = self.token(bearer).await?;
            let until = asked.checked_add(lifetime(token.expires_in));
            return Ok(Some(Grant { authorization: header("Bearer", token.token.expose()), until }));
        }
        let password = self.credential.as_ref().filter(|credential| !credential.username.is_empty());
        Ok(named("basic").and(password).map(|credential| Grant { authorization: basic(credential), until: None }))
    }
}

/// RFC 7617.
pub(super) fn basic(credential: &Credential) -> Secret {
    let pair = format!("{}:{}", credential.username, credential.password.expose());
    header("Basic", &STANDARD.encode(pair))
}

fn header(scheme: &str, value: &str) -> Secret {
    Secret::new(format!("{scheme} {value}"))
}
