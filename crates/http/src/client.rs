//! A small HTTP client: the CLI's over the control socket, and `notify`'s to a webhook listener somewhere.
//!
//! One connection per request, JSON in and out, problems as [`ClientError::Problem`].

mod connect;
pub mod error;
pub mod stream;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use connect::{Answer, Target};
pub use error::ClientError;
pub use stream::ProgressStream;

use crate::problem::Problem;
use crate::secret::Secret;
use crate::signature;
use crate::wire::{Accepted, DeployBody};

/// A list of 500 jobs is a few megabytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// One daemon, by the socket or by the address at which it listens.
#[derive(Debug, Clone)]
pub struct Client {
    target: Target,
    timeout: Duration,
}

impl Client {
    /// Talks over a control socket.
    pub fn control(path: impl Into<PathBuf>) -> Self {
        Self { target: Target::Unix(path.into()), timeout: Duration::from_secs(120) }
    }

    /// Talks to `http://host:port` or `https://host`; a path in the URL goes before every path asked for, as a proxy
    /// wants it. Certificates are checked against the platform's own roots.
    ///
    /// # Errors
    /// [`ClientError::Url`], or the platform's roots cannot be read.
    pub fn web(url: &str) -> Result<Self, ClientError> {
        Ok(Self { target: Target::web(url)?, timeout: Duration::from_secs(30) })
    }

    /// How long an answer may take; two minutes over the socket (a plan asks a registry), 30 seconds to a web address.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// `GET`, as JSON. See [`path`] for queries.
    ///
    /// # Errors
    /// The daemon cannot be reached, answers with a problem, or makes no sense.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.send(Method::GET, path, Bytes::new(), &[]).await?;
        read(&body)
    }

    /// `GET`, as text.
    ///
    /// # Errors
    /// As above.
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.send(Method::GET, path, Bytes::new(), &[]).await?;
        String::from_utf8(body.into()).map_err(|_| ClientError::Protocol("the answer is not UTF-8".to_owned()))
    }

    /// `POST` of JSON, answered with JSON.
    ///
    /// # Errors
    /// As above.
    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ClientError> {
        let body = self.send(Method::POST, path, write(body)?, &[]).await?;
        read(&body)
    }

    /// Signs a deploy and posts it to a webhook listener. `id` must be new for every new request, and the same again
    /// for a retry; `seconds` is the time since the Unix epoch.
    ///
    /// # Errors
    /// As above.
    pub async fn notify(
        &self,
        secret: &Secret,
        id: &str,
        seconds: i64,
        deploy: &DeployBody,
    ) -> Result<Accepted, ClientError> {
        let body = write(deploy)?;
        let headers = [
            (signature::ID, id.to_owned()),
            (signature::TIMESTAMP, seconds.to_string()),
            (signature::SIGNATURE, signature::sign(id, seconds, &body, secret)),
        ];
        let answer = self.send(Method::POST, "/v1/deploys", body, &headers).await?;
        read(&answer)
    }

    /// Follows a job: `path` is `/v1/jobs/{id}/events` over the control socket, `/v1/deploys/{id}/events` at a webhook
    /// listener.
    ///
    /// # Errors
    /// As above.
    pub async fn events(&self, path: &str) -> Result<ProgressStream, ClientError> {
        let answer = self.answer(Method::GET, path, Bytes::new(), &[]).await?;
        Ok(ProgressStream::new(answer))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[(HeaderName, String)],
    ) -> Result<Bytes, ClientError> {
        let answer = self.answer(method, path, body, headers).await?;
        self.collect(answer).await
    }

    /// The head of a successful answer; the body is still to be read.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[(HeaderName, String)],
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).header(header::ACCEPT, "*/*");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let asked = self.target.ask(request, path, Full::new(body));
        let answer = tokio::time::timeout(self.timeout, asked).await.map_err(|_| self.silent())??;
        if answer.head.status.is_success() {
            return Ok(answer);
        }
        let status = answer.head.status;
        let body = self.collect(answer).await?;
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            // a proxy in between, or not our daemon at all
            Err(_) => Err(ClientError::Protocol(format!("the server answered {status} without saying why"))),
        }
    }

    async fn collect(&self, answer: Answer) -> Result<Bytes, ClientError> {
        let (body, _connection) = answer.into_body();
        let collected = tokio::time::timeout(self.timeout, Limited::new(body, MAX_ANSWER).collect());
        match collected.await {
            Err(_) => Err(self.silent()),
            Ok(Err(cause)) => Err(ClientError::Protocol(format!("the answer broke off: {cause}"))),
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
        }
    }

    fn silent(&self) -> ClientError {
        let cause = format!("no answer within {} s", self.timeout.as_secs());
        ClientError::NotReachable { target: self.target.to_string(), cause }
    }
}

/// A path with a query, its values percent-encoded (RFC 3986): `path("/v1/plan", &[("image", "a:1")])`.
pub fn path(path: &str, query: &[(&str, &str)]) -> String {
    let mut full = path.to_owned();
    for (index, (key, value)) in query.iter().enumerate() {
        full.push(if index == 0 { '?' } else { '&' });
        full.push_str(key);
        full.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' => {
                    full.push(char::from(byte));
                }
                other => full.push_str(&format!("%{other:02X}")),
            }
        }
    }
    full
}

fn write<B: Serialize>(body: &B) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|cause| ClientError::Protocol(cause.to_string()))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|cause| ClientError::Protocol(format!("the answer is not what was expected: {cause}")))
}
