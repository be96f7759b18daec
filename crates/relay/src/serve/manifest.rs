//! `GET` and `HEAD /v2/NAME/manifests/REFERENCE`: byte for byte what the origin has.

use std::sync::{Arc, PoisonError};

use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use layerkeeper_core::{Digest, Reference, Repository};
use layerkeeper_registry::{Document, Error as SourceError};

use super::refusal::{Code, no_digest, of_source, refuse};
use super::{Body, Counter, empty, full};

pub(super) async fn answer(counter: &Counter, reference: &str, head: bool) -> Response<Body> {
    let document = match reference.parse::<Digest>() {
        Ok(digest) => by_digest(counter, digest).await,
        Err(_) if reference.contains(':') => return no_digest(reference, Code::ManifestUnknown),
        Err(_) => by_tag(counter, reference).await,
    };
    let document = match document {
        Ok(Some(document)) => document,
        Ok(None) => return refuse(Code::ManifestUnknown, "this is no tag"),
        Err(error) => return of_source(&error, Code::ManifestUnknown),
    };
    let body = if head { empty() } else { full(document.bytes.clone()) };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(document.bytes.len()));
    // hostile until shown otherwise: what cannot stand in a header is left out
    if let Ok(media_type) = HeaderValue::from_str(&document.media_type) {
        headers.insert(CONTENT_TYPE, media_type);
    }
    if let Ok(digest) = HeaderValue::from_str(&document.digest.to_string()) {
        headers.insert("docker-content-digest", digest);
    }
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

/// From the first source that has it: its digest is its proof.
async fn by_digest(counter: &Counter, digest: Digest) -> Result<Option<Arc<Document>>, SourceError> {
    let known = || counter.documents.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(document) = known().get(&digest).cloned() {
        return Ok(Some(document));
    }
    let mut first = None;
    for repository in &counter.repositories {
        match counter.client.document(&repository.by_digest(digest)).await {
            Ok(document) => {
                let document = Arc::new(document);
                known().insert(digest, document.clone());
                return Ok(Some(document));
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(None), Err)
}

/// Only the origin says what a tag stands for.
async fn by_tag(counter: &Counter, tag: &str) -> Result<Option<Arc<Document>>, SourceError> {
    let Some(reference) = tagged(&counter.origin, tag) else { return Ok(None) };
    let document = Arc::new(counter.client.document(&reference).await?);
    let mut known = counter.documents.lock().unwrap_or_else(PoisonError::into_inner);
    known.insert(document.digest, document.clone());
    Ok(Some(document))
}

fn tagged(repository: &Repository, tag: &str) -> Option<Reference> {
    format!("{repository}:{tag}").parse::<Reference>().ok()
}
