//! A manifest or index byte for byte as its registry has it.

use layerkeeper_core::{Bytes, Digest, Reference, Selector};

use super::{Client, within};
use crate::error::Error;
use crate::session::Session;

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// As they came; checked against `digest`.
    pub bytes: Vec<u8>,
    /// As the registry names it, without parameters; may be empty.
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
}

impl Client {
    /// The manifest or index behind a reference, for somebody who serves it on.
    ///
    /// # Errors
    /// Any [`Error`] but those that speak of what is in it.
    pub async fn document(&self, reference: &Reference) -> Result<Document, Error> {
        let question = async {
            let session = self.session(reference).await?;
            match read(&session).await {
                Err(error) => read(&self.anew(&session, error).await?).await,
                document => document,
            }
        };
        within(self.inner.image_timeout, reference, question).await
    }
}

async fn read(session: &Session<'_>) -> Result<Document, Error> {
    let mut moved = Bytes::ZERO;
    let (digest, raw) = match &session.reference.selector {
        Selector::Digest(digest) => (*digest, None),
        Selector::Tag(_) => {
            let (resolved, raw) = session.resolve().await?;
            (resolved.digest, raw)
        }
    };
    let raw = match raw {
        Some(raw) => raw,
        None => session.manifest(digest, &mut moved).await?,
    };
    Ok(Document { bytes: raw.bytes, media_type: raw.media_type, digest })
}
