//! A blob, read in pieces: by range where its server has ranges, and straight from the storage that the registry sends to.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes as Chunk;
use layerkeeper_core::{Digest, Reference, Repository};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::Client;
use crate::credential::Credential;
use crate::error::Error;
use crate::secret::Secret;
use crate::session::Session;
use crate::transport::{Ask, Part, read_refusal, unreachable};

/// One blob at one registry. Cheap to clone; clones share what they learnt of the way to it.
#[derive(Debug, Clone)]
pub struct Blob {
    client: Client,
    reference: Arc<Reference>,
    way: Arc<Mutex<Way>>,
    worked: Arc<Mutex<Option<Secret>>>,
}

/// What was learnt of the way to a blob.
#[derive(Debug, Default)]
struct Way {
    /// Read once: a helper must not be run for each piece. The outer none: not yet.
    credential: Option<Option<Credential>>,
    /// The storage that the registry sent us to last: an address that holds for some minutes.
    storage: Option<Url>,
}

/// An answer with bytes of a blob.
#[derive(Debug)]
pub struct Piece {
    registry: String,
    response: Response,
    /// The first byte, counted from the blob's beginning.
    pub start: u64,
    /// How many bytes come, where the server said so.
    pub length: Option<u64>,
    /// How long the whole blob is, where the server said so.
    pub total: Option<u64>,
    /// The server's mark for this content, as it wrote it.
    pub etag: Option<String>,
    /// The server sends the whole blob, whatever was asked for (RFC 9110, 14.2).
    pub is_whole: bool,
}

impl Client {
    /// A blob of a repository. Nothing is asked yet.
    pub fn blob(&self, repository: &Repository, digest: Digest) -> Blob {
        let reference = Arc::new(repository.by_digest(digest));
        Blob { client: self.clone(), reference, way: Arc::default(), worked: Arc::default() }
    }
}

impl Blob {
    /// Reads `length` bytes from `start` on, or as many as the server likes to send from the blob's beginning: see
    /// [`Piece::is_whole`]. Without a range the whole blob is asked for.
    ///
    /// # Errors
    /// Any that a registry or its storage can give; [`Error::Malformed`] where a range was answered with another one.
    pub async fn read(&self, range: Option<(u64, u64)>) -> Result<Piece, Error> {
        let part = match range {
            Some((start, length)) => Part::Range(start, start + length.max(1) - 1),
            None => Part::Whole,
        };
        let storage = self.way().storage.clone();
        if let Some(url) = storage {
            // an address that has run out, or a storage that is gone, is no more than a reason to ask for another
            if let Ok(response) = self.ask_storage(url, part).await {
                return self.piece(response, part);
            }
            self.way().storage = None;
        }
        let response = match self.ask_registry(part).await {
            Err(Error::Unauthorized { .. }) if self.is_of_helper() => {
                self.way().credential = None;
                self.ask_registry(part).await?
            }
            answer => answer?,
        };
        let asked = self.client.inner.transport.endpoint(self.registry())?;
        if asked.origin() != response.url().origin() {
            self.way().storage = Some(response.url().clone());
        }
        self.piece(response, part)
    }

    /// How long it is, by HEAD; none where the registry does not say.
    ///
    /// # Errors
    /// Any that a registry can give.
    pub async fn size(&self) -> Result<Option<u64>, Error> {
        let session = self.session().await?;
        let response = session.ask(Method::HEAD, &self.path(), "*/*").await?;
        Ok(text(response.headers(), CONTENT_LENGTH.as_str()).and_then(number))
    }

    async fn ask_storage(&self, url: Url, part: Part) -> Result<Response, Error> {
        let ask = Ask { method: Method::GET, url, accept: "*/*", authorization: None, form: None, part: Some(part) };
        let response = self.client.inner.transport.send(self.registry(), ask).await?.response;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        read_refusal(response).await;
        let registry = format!("the storage behind {}", self.registry());
        Err(Error::Server { registry, status, retry_after: None, detail: Default::default() })
    }

    async fn ask_registry(&self, part: Part) -> Result<Response, Error> {
        let session = self.session().await?;
        session.ask_for(Method::GET, &self.path(), "*/*", Some(part)).await
    }

    async fn session(&self) -> Result<Session<'_>, Error> {
        let known = self.way().credential.clone();
        let credential = match known {
            Some(credential) => credential,
            None => {
                let credential = self.client.credential(self.registry()).await?;
                self.way().credential = Some(credential.clone());
                credential
            }
        };
        let inner = &self.client.inner;
        let mut session = Session::new(&inner.transport, &inner.tokens, &self.reference, credential);
        session.worked = self.worked.clone();
        Ok(session)
    }

    fn piece(&self, response: Response, part: Part) -> Result<Piece, Error> {
        let headers = response.headers();
        let told = text(headers, CONTENT_LENGTH.as_str()).and_then(number);
        let etag = text(headers, ETAG.as_str()).map(str::to_owned);
        let bad =
            |why: &str| Error::malformed(format!("{} answers a request for a part of a blob {why}", self.registry()));
        let (start, length, total, is_whole) = match (response.status(), part) {
            (StatusCode::PARTIAL_CONTENT, Part::Range(first, last)) => {
                let range = text(headers, CONTENT_RANGE.as_str()).and_then(content_range);
                let (start, end, total) = range.ok_or_else(|| bad("without a Content-Range that can be read"))?;
                if start != first || end > last {
                    return Err(bad("with another part"));
                }
                let length = end - start + 1;
                if told.is_some_and(|told| told != length) {
                    return Err(bad("with another length than its range has"));
                }
                // fewer than were asked for is allowed, also where only the range says so (RFC 9110, 15.3.7)
                (start, Some(length), total, false)
            }
            (StatusCode::PARTIAL_CONTENT, Part::Whole) => return Err(bad("that was asked for whole with a part")),
            (StatusCode::OK, _) => (0, told, told, true),
            (status, _) => return Err(bad(&format!("with status {}", status.as_u16()))),
        };
        let registry = self.registry().to_owned();
        Ok(Piece { registry, response, start, length, total, etag, is_whole })
    }

    /// The registry that it is read from, `host[:port]`.
    pub fn registry(&self) -> &str {
        self.reference.repository.registry()
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.reference.selector)
    }

    fn is_of_helper(&self) -> bool {
        matches!(&self.way().credential, Some(Some(credential)) if credential.helper.is_some())
    }

    fn way(&self) -> std::sync::MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    /// The next bytes; none at the end of the answer, which may be too early: see [`Piece::length`].
    ///
    /// # Errors
    /// [`Error::Unreachable`] where the connection broke off or fell silent.
    pub async fn chunk(&mut self) -> Result<Option<Chunk>, Error> {
        match self.response.chunk().await {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(unreachable(&self.registry, &self.response.url().clone(), error)),
        }
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(text: &str) -> Option<u64> {
    // `parse` takes a sign
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `bytes 0-99/1000` or `bytes 0-99/*` (RFC 9110, 14.4): first, last, and how long the whole is.
pub(crate) fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = if total == "*" { None } else { Some(number(total)?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        assert_eq!(content_range("bytes 0-99/1000"), Some((0, 99, Some(1000))));
        assert_eq!(content_range("bytes 5-5/*"), Some((5, 5, None)));
        for bad in
            ["bytes 9-5/10", "bytes 0-10/10", "bytes +0-9/10", "bytes */10", "0-9/10", "bytes 0-9", "bytes -/", ""]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
        assert_eq!(content_range("bytes 0-99999999999999999999/*"), None);
    }
}
