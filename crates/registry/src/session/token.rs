//! Fetches a bearer token from the token server that a challenge names.
//!
//! Sources: `docs.docker.com/registry/spec/auth/token` (GET) and `…/auth/oauth` (POST with a refresh token).

use reqwest::Method;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::Session;
use super::authorize::basic;
use crate::challenge::Challenge;
use crate::error::Error;
use crate::secret::Secret;
use crate::transport::{self, Ask};

const LONGEST_ANSWER: u64 = 1 << 20;
const CLIENT_ID: &str = "layerkeeper";

/// What the token server granted.
pub(super) struct Token {
    pub(super) token: Secret,
    /// Seconds.
    pub(super) expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl Session<'_> {
    pub(super) async fn token(&self, challenge: &Challenge) -> Result<Token, Error> {
        let registry = self.registry();
        let ask = self.token_request(challenge)?;
        let sent = ask.authorization.clone();
        let answer = self.transport.send(registry, ask).await?;
        let response = self.judge(answer.response, sent.as_ref()).await.map_err(|error| match error {
            // 404 speaks of the token server's address, not of the image
            Error::NotFound { detail, .. } => {
                Error::Server { registry: registry.to_owned(), status: 404, retry_after: None, detail }
            }
            other => other,
        })?;
        let what = format!("the answer of {registry}'s token server");
        let bytes = transport::read(registry, response, &what, LONGEST_ANSWER).await?;
        parse(&bytes).ok_or_else(|| Error::malformed(format!("{what} holds no token")))
    }

    fn token_request(&self, challenge: &Challenge) -> Result<Ask, Error> {
        let bad = |why: &str| Error::malformed(format!("{} asks for a token {why}", self.registry()));
        let realm = challenge.param("realm").ok_or_else(|| bad("without naming the server (realm)"))?;
        let mut url = Url::parse(realm).map_err(|_| bad("from what is no address"))?;
        if !self.transport.may_ask_for_token(self.registry(), &url) {
            return Err(bad("over plain HTTP, which is refused"));
        }
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(bad("from an address without a host"));
        }
        let service = challenge.param("service").unwrap_or_default();
        let own = format!("repository:{}:pull", self.reference.repository.path());
        let scope = challenge.param("scope").filter(|scope| !scope.is_empty()).unwrap_or(&own);
        let accept = "application/json";
        if let Some(refresh) = self.credential.as_ref().and_then(|c| c.identity_token.as_ref()) {
            let form = Serializer::new(String::new())
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service)
                .append_pair("client_id", CLIENT_ID)
                .append_pair("scope", scope)
                .append_pair("refresh_token", refresh.expose())
                .finish();
            return Ok(Ask {
                method: Method::POST,
                url,
                accept,
                authorization: None,
                form: Some(Secret::new(form)),
                part: None,
            });
        }
        if !service.is_empty() {
            url.query_pairs_mut().append_pair("service", service);
        }
        url.query_pairs_mut().append_pair("scope", scope);
        let credential = self.credential.as_ref().filter(|credential| !credential.username.is_empty());
        if let Some(credential) = credential {
            url.query_pairs_mut().append_pair("account", &credential.username);
        }
        Ok(Ask { method: Method::GET, url, accept, authorization: credential.map(basic), form: None, part: None })
    }
}

fn parse(bytes: &[u8]) -> Option<Token> {
    let body: Body = serde_json::from_slice(bytes).ok()?;
    let given = |token: &String| !token.is_empty();
    let token = body.token.filter(given).or(body.access_token.filter(given))?;
    // a number by the specification; some servers quote it
    let expires_in = body.expires_in.and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()));
    Some(Token { token: Secret::new(token), expires_in })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<(String, Option<u64>)> {
        parse(body.as_bytes()).map(|token| (token.token.expose().to_owned(), token.expires_in))
    }

    #[test]
    fn tokens_are_read_in_the_forms_that_servers_send() {
        assert_eq!(read(r#"{"token":"a","expires_in":300}"#), Some(("a".into(), Some(300))));
        assert_eq!(read(r#"{"access_token":"b","expires_in":"60"}"#), Some(("b".into(), Some(60))));
        assert_eq!(read(r#"{"token":"","access_token":"b","expires_in":-1}"#), Some(("b".into(), None)));
        assert_eq!(read(r#"{"token":""}"#), None);
        assert_eq!(read("<html>"), None);
    }
}
