//! Reads bodies, never more than we are willing to hold.

use std::time::Duration;

use reqwest::Response;
use tokio::time::timeout;

use super::unreachable;
use crate::error::Error;

/// The most that is read of a refusal.
const REFUSAL: usize = 16 << 10;

/// And for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole body. `what` names it in errors.
pub(crate) async fn read(registry: &str, response: Response, what: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let too_large = || Error::TooLarge { what: what.to_owned(), limit };
    let url = response.url().clone();
    let expected = response.content_length();
    if expected.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut response = response;
    let mut bytes = Vec::new();
    let broken = |got: usize| Error::Truncated { what: what.to_owned(), got: got as u64, expected };
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                if (bytes.len() + chunk.len()) as u64 > limit {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(None) => break,
            Err(e) if e.is_timeout() => return Err(unreachable(registry, &url, e)),
            Err(_) => return Err(broken(bytes.len())),
        }
    }
    if expected.is_some_and(|length| length != bytes.len() as u64) { Err(broken(bytes.len())) } else { Ok(bytes) }
}

/// The beginning of a refusal's body, whatever becomes of the rest: nobody is waited for byte by byte.
pub(crate) async fn read_refusal(mut response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reads = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = REFUSAL - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if bytes.len() == REFUSAL {
                break;
            }
        }
    };
    drop(timeout(PATIENCE, reads).await);
    bytes
}
