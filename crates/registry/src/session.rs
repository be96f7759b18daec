//! Questions about one reference, asked with whatever the registry wants to see first.

mod authorize;
mod documents;
mod token;

use std::sync::{Arc, Mutex, PoisonError};

use layerkeeper_core::Reference;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};

pub(crate) use documents::Raw;

use crate::challenge::{self, Challenge};
use crate::credential::{Credential, Login};
use crate::error::{Detail, Error};
use crate::secret::Secret;
use crate::tokens::{Key, Tokens};
use crate::transport::{self, Ask, Part, Transport};

/// One reference, with the credentials that config.json or its helper has for its registry at this moment.
pub(crate) struct Session<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) tokens: &'a Tokens,
    pub(crate) reference: &'a Reference,
    pub(crate) credential: Option<Credential>,
    /// What a helper gave, in the form that this registry took. Nobody else gets to see it, and it ends with the question, or
    /// with the blob that is read in pieces.
    pub(crate) worked: Arc<Mutex<Option<Secret>>>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        transport: &'a Transport,
        tokens: &'a Tokens,
        reference: &'a Reference,
        credential: Option<Credential>,
    ) -> Self {
        Self { transport, tokens, reference, credential, worked: Arc::default() }
    }
}

impl Session<'_> {
    /// Asks `/v2/REPOSITORY/PATH` and gives every answer that is a success.
    pub(crate) async fn ask(&self, method: Method, path: &str, accept: &'static str) -> Result<Response, Error> {
        self.ask_for(method, path, accept, None).await
    }

    /// The same for a part of a blob.
    pub(crate) async fn ask_for(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        part: Option<Part>,
    ) -> Result<Response, Error> {
        let repository = &self.reference.repository;
        let url = self.transport.endpoint(self.registry())?.join(&format!("{}/{path}", repository.path()));
        let url = url.map_err(|e| Error::malformed(format!("{} cannot be asked for: {e}", self.reference)))?;
        let key =
            Key { repository: repository.clone(), credential: self.credential.as_ref().map(Credential::fingerprint) };
        let worked = || self.worked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut authorization = self.tokens.get(&key).or_else(|| worked().clone());
        let mut fresh = false;
        loop {
            let ask = Ask {
                method: method.clone(),
                url: url.clone(),
                accept,
                authorization: authorization.clone(),
                form: None,
                part,
            };
            let answer = self.transport.send(self.registry(), ask).await?;
            let response = answer.response;
            tracing::debug!(registry = self.registry(), %method, path, status = response.status().as_u16(), "registry answered");
            // the storage behind a registry has no say in where our credentials go, nor in what they are worth
            let refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if !answer.same_origin && refused {
                return Err(Error::Server {
                    registry: format!("the storage behind {}", self.registry()),
                    status: response.status().as_u16(),
                    retry_after: None,
                    detail: Detail::default(),
                });
            }
            if response.status() != StatusCode::UNAUTHORIZED {
                return self.judge(response, authorization.as_ref()).await;
            }
            self.tokens.forget(&key);
            *worked() = None;
            let challenges = challenges(response.headers());
            if fresh || challenges.is_empty() {
                return self.judge(response, authorization.as_ref()).await;
            }
            let Some(grant) = self.authorize(&challenges).await? else {
                return self.judge(response, authorization.as_ref()).await;
            };
            authorization = Some(grant.authorization.clone());
            // without an end it is the credentials themselves
            if grant.until.is_none() && self.credential.as_ref().is_some_and(|c| c.helper.is_some()) {
                *worked() = Some(grant.authorization);
            } else {
                self.tokens.put(key.clone(), grant);
            }
            // a connection whose answer was read to the end can be used again
            transport::read_refusal(response).await;
            fresh = true;
        }
    }

    pub(crate) fn registry(&self) -> &str {
        self.reference.repository.registry()
    }

    /// A success as it is, anything else as the error that it means.
    async fn judge(&self, response: Response, sent: Option<&Secret>) -> Result<Response, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = transport::wait(&response);
        let body = transport::read_refusal(response).await;
        let token = sent.map(|header| header.expose().split_once(' ').map_or(header.expose(), |(_, token)| token));
        let detail = Detail::read(&body, self.credential.iter().flat_map(Credential::secrets).chain(token));
        let (registry, repository) = (self.registry().to_owned(), self.reference.repository.path().to_owned());
        let login = Login::of(self.credential.as_ref());
        Err(match status {
            StatusCode::NOT_FOUND => Error::NotFound { reference: Box::new(self.reference.clone()), detail },
            StatusCode::UNAUTHORIZED => Error::Unauthorized { registry, repository, login, detail },
            StatusCode::FORBIDDEN => Error::Forbidden { registry, repository, login, detail },
            StatusCode::TOO_MANY_REQUESTS => Error::TooManyRequests { registry, retry_after, detail },
            _ => Error::Server { registry, status: status.as_u16(), retry_after, detail },
        })
    }
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().take(8);
    values.flat_map(|value| challenge::parse(&String::from_utf8_lossy(value.as_bytes()))).collect()
}
