//! What can be learnt of a registry without asking for an image: that it answers, what time it has, and where our
//! credentials for it come from.

use std::time::{SystemTime, UNIX_EPOCH};

use layerkeeper_core::Timestamp;
use reqwest::Method;
use reqwest::header::DATE;

use super::Client;
use crate::credential::Source;
use crate::error::Error;
use crate::transport::{Answer, Ask, read_refusal};

/// A registry's answer to somebody whom it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its clock, to the second, where it told (`Date`).
    pub date: Option<Timestamp>,
    /// When we asked, by our clock.
    pub asked: Timestamp,
    /// When its answer was here, by our clock.
    pub answered: Timestamp,
}

impl Client {
    /// Asks a registry (`ghcr.io`) for nothing but its attention, `GET /v2/` without credentials. A refusal is an answer.
    ///
    /// # Errors
    /// [`Error::Unreachable`], or what makes no address or no HTTP.
    pub async fn probe(&self, registry: &str) -> Result<Probe, Error> {
        let url = self.inner.transport.endpoint(registry)?;
        let ask = Ask { method: Method::GET, url, accept: "*/*", authorization: None, form: None, part: None };
        let asked = now();
        let sent = tokio::time::timeout(self.inner.resolve_timeout, self.inner.transport.send(registry, ask)).await;
        let Answer { response, same_origin } = sent.unwrap_or_else(|_| {
            let cause = format!("no answer within {} s", self.inner.resolve_timeout.as_secs_f64());
            Err(Error::Unreachable { registry: registry.to_owned(), cause })
        })?;
        let answered = now();
        // another host's clock says nothing of this one's
        let date = response.headers().get(DATE).filter(|_| same_origin);
        let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok()).map(since_epoch);
        read_refusal(response).await;
        Ok(Probe { date, asked, answered })
    }

    /// Where the credentials for a registry come from. No helper is run.
    ///
    /// # Errors
    /// [`Error::Credentials`] where the file cannot be used.
    pub fn source(&self, registry: &str) -> Result<Source, Error> {
        self.inner.docker_config.source(registry)
    }
}

fn now() -> Timestamp {
    since_epoch(SystemTime::now())
}

fn since_epoch(at: SystemTime) -> Timestamp {
    let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
}
