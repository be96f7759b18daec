//! `GET` and `HEAD /v2/NAME/blobs/DIGEST`: from the spool, once it is whole and verified.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes as Chunk;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, IF_RANGE, RANGE,
};
use hyper::{Response, StatusCode};
use layerkeeper_core::Digest;
use tokio::sync::oneshot;

use super::range::{Asked, asked};
use super::refusal::{Code, no_digest, of_source, refuse};
use super::{Body, Counter, empty};
use crate::desk::{Ask, Message};
use crate::fetching::Ready;
use crate::spool::{BLOCK, read_block};

pub(super) async fn answer(counter: &Arc<Counter>, digest: &str, headers: &HeaderMap, head: bool) -> Response<Body> {
    let digest = match digest.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) if digest.starts_with("uploads/") => return refuse(Code::NotFound, "the relay is for pulls only"),
        Err(_) => return no_digest(digest, Code::BlobUnknown),
    };
    let size = match size(counter, digest).await {
        Ok(size) => size,
        Err(refusal) => return refusal,
    };
    // of a HEAD nothing is a part, and no answer has a validator that If-Range could match (RFC 9110, 14.2 and 13.1.5)
    let range = headers.get(RANGE).filter(|_| !head && !headers.contains_key(IF_RANGE));
    let range = match asked(range.and_then(|value| value.to_str().ok()), size) {
        Asked::Whole => 0..size,
        Asked::Part(range) => range,
        Asked::Beyond => return beyond(size),
    };
    if head {
        return found(digest, size, 0..size, empty());
    }
    let (answer, answered) = oneshot::channel();
    let message = Message::Ask(Ask { digest, size, answer });
    if counter.messages.send(message).await.is_err() {
        return refuse(Code::BadGateway, "the relay is closing");
    }
    match answered.await {
        Ok(Ok(ready)) => {
            let body = body(counter.clone(), digest, ready, range.clone());
            found(digest, size, range, body)
        }
        Ok(Err(error)) => refuse(Code::BadGateway, &error.to_string()),
        Err(_) => refuse(Code::BadGateway, "the relay is closing"),
    }
}

/// By the manifest, else by the origin's word.
async fn size(counter: &Counter, digest: Digest) -> Result<u64, Response<Body>> {
    if let Some(size) = counter.blobs.get(&digest) {
        return Ok(size.0);
    }
    match counter.client.blob(&counter.origin, digest).size().await {
        Ok(Some(size)) => Ok(size),
        Ok(None) => Err(refuse(Code::BadGateway, "the registry does not say how long this blob is")),
        Err(error) => Err(of_source(&error, Code::BlobUnknown)),
    }
}

fn found(digest: Digest, size: u64, range: Range<u64>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let whole = range == (0..size);
    if !whole {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(value) = HeaderValue::from_str(&digest.to_string()) {
        headers.insert("docker-content-digest", value);
    }
    let shown = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
    if let (false, Ok(value)) = (whole, HeaderValue::from_str(&shown)) {
        headers.insert(CONTENT_RANGE, value);
    }
    response
}

fn beyond(size: u64) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// The bytes, read block by block while they are sent; tells the desk when the blob's last one is.
fn body(counter: Arc<Counter>, digest: Digest, ready: Ready, range: Range<u64>) -> Body {
    let blocks = stream::unfold(range.start, move |at| {
        let (counter, file, end, size) = (counter.clone(), ready.file.clone(), range.end, ready.size);
        async move {
            if at >= end {
                return None;
            }
            let length = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let read = tokio::task::spawn_blocking(move || {
                let mut block = Vec::new();
                read_block(&file, at, length, &mut block).map(|()| block)
            });
            let block = read.await.map_err(std::io::Error::other).and_then(|read| read);
            let next = at + length as u64;
            if next == size && block.is_ok() {
                drop(counter.messages.send(Message::Served(digest)).await);
            }
            // after an error the connection ends, and the engine knows that something is missing
            let next = if block.is_ok() { next } else { end };
            Some((block.map(|block| Frame::data(Chunk::from(block))), next))
        }
    });
    StreamBody::new(blocks).boxed_unsync()
}
