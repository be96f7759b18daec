//! One line of a pull stream, read as data. Pure, so that it can be fuzzed.
//!
//! Shape (Docker Engine API, `POST /images/create`; moby's `jsonmessage.JSONMessage`):
//! `{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"6b5e3f4a1c22"}`, or
//! `{"errorDetail":{"message":"…"},"error":"…"}`.

use layerkeeper_core::progress::{LayerStep, PullEvent};
use serde::Deserialize;

use crate::EngineError;
use crate::classify::classify;

/// Reads one line as the engine sends it.
///
/// # Errors
/// [`EngineError::Malformed`] when it is not a JSON object of the shape above; when the line carries an error, that
/// error, classified.
pub fn parse_pull_line(line: &[u8]) -> Result<PullEvent, EngineError> {
    let wire: Wire =
        serde_json::from_slice(line).map_err(|e| EngineError::Malformed(format!("a line of a pull: {e}")))?;
    wire.read()
}

/// A line's fields, those that count.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Wire {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) progress_detail: Option<Progress>,
    pub(crate) error_detail: Option<Detail>,
    pub(crate) error: Option<String>,
}

/// `progressDetail`; empty (`{}`) where there is nothing to count, and -1 for a total that is not known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) current: Option<i64>,
    pub(crate) total: Option<i64>,
}

/// `errorDetail`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Detail {
    pub(crate) message: Option<String>,
}

impl Wire {
    /// What the line says.
    pub(crate) fn read(self) -> Result<PullEvent, EngineError> {
        if self.error_detail.is_some() || self.error.is_some() {
            let message = self.error_detail.and_then(|detail| detail.message).or(self.error).unwrap_or_default();
            return Err(classify(None, if message.is_empty() { "an error without a message" } else { &message }));
        }
        let status = self.status.unwrap_or_default();
        if let Some(text) = status.strip_prefix("Digest: ") {
            return Ok(text.trim().parse().map_or_else(|_| PullEvent::Note(status.clone()), PullEvent::Digest));
        }
        if let Some(text) = status.strip_prefix("Status: ") {
            return Ok(PullEvent::Done(text.to_owned()));
        }
        match self.id {
            // this line's id is the tag, and a tag may look like a layer
            Some(id) if is_layer(&id) && !status.starts_with("Pulling from ") => {
                let step = step(&status, &self.progress_detail.unwrap_or_default());
                Ok(PullEvent::Layer { id, step })
            }
            Some(id) => Ok(PullEvent::Note(format!("{id}: {status}"))),
            None => Ok(PullEvent::Note(status)),
        }
    }
}

/// The first twelve digits of a blob's digest.
fn is_layer(id: &str) -> bool {
    id.len() == 12 && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn step(status: &str, progress: &Progress) -> LayerStep {
    let count = |number: Option<i64>| number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let (current, total) = (count(progress.current), count(progress.total));
    match status {
        "Pulling fs layer" | "Waiting" => LayerStep::Announced,
        "Downloading" => LayerStep::Downloading { current, total },
        "Verifying Checksum" => LayerStep::Verifying,
        "Download complete" => LayerStep::Downloaded,
        // the containerd store of 28 and later counts seconds here, and then gives no total
        "Extracting" => LayerStep::Extracting { current, total },
        "Pull complete" => LayerStep::Complete,
        "Already exists" => LayerStep::AlreadyExists,
        _ if status.starts_with("Retrying in ") => LayerStep::Retrying,
        _ => LayerStep::Other(status.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::Digest;

    use super::*;

    fn layer(step: LayerStep) -> PullEvent {
        PullEvent::Layer { id: "6b5e3f4a1c22".to_owned(), step }
    }

    #[test]
    fn lines_are_read_as_the_engine_means_them() {
        let digest = Digest::of(b"x");
        for (line, wanted) in [
            (r#"{"status":"Pulling from a/b","id":"v1"}"#.to_owned(), PullEvent::Note("v1: Pulling from a/b".to_owned())),
            (
                r#"{"status":"Pulling from a/b","id":"0123456789ab"}"#.to_owned(),
                PullEvent::Note("0123456789ab: Pulling from a/b".to_owned()),
            ),
            (
                r#"{"status":"Pulling fs layer","progressDetail":{},"id":"6b5e3f4a1c22"}"#.to_owned(),
                layer(LayerStep::Announced),
            ),
            (
                r#"{"status":"Downloading","progressDetail":{"current":5,"total":9},"progress":"[>","id":"6b5e3f4a1c22"}"#
                    .to_owned(),
                layer(LayerStep::Downloading { current: 5, total: 9 }),
            ),
            (
                r#"{"status":"Downloading","progressDetail":{"current":5,"total":-1},"id":"6b5e3f4a1c22"}"#.to_owned(),
                layer(LayerStep::Downloading { current: 5, total: 0 }),
            ),
            (
                r#"{"status":"Extracting","progressDetail":{"current":3,"units":"s"},"id":"6b5e3f4a1c22"}"#.to_owned(),
                layer(LayerStep::Extracting { current: 3, total: 0 }),
            ),
            (r#"{"status":"Retrying in 5 seconds","id":"6b5e3f4a1c22"}"#.to_owned(), layer(LayerStep::Retrying)),
            (r#"{"status":"Already exists","id":"6b5e3f4a1c22"}"#.to_owned(), layer(LayerStep::AlreadyExists)),
            (r#"{"status":"Sitting","id":"6b5e3f4a1c22"}"#.to_owned(), layer(LayerStep::Other("Sitting".to_owned()))),
            (format!(r#"{{"status":"Digest: {digest}"}}"#), PullEvent::Digest(digest)),
            (
                r#"{"status":"Status: Image is up to date for a/b:v1"}"#.to_owned(),
                PullEvent::Done("Image is up to date for a/b:v1".to_owned()),
            ),
            ("{}\r\n".to_owned(), PullEvent::Note(String::new())),
        ] {
            assert_eq!(parse_pull_line(line.as_bytes()), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn an_error_inside_the_stream_is_an_error() {
        let line = br#"{"errorDetail":{"message":"lease does not exist: not found"},"error":"lease does not exist: not found"}"#;
        assert!(matches!(parse_pull_line(line), Err(EngineError::Vanished(_))));
        assert!(matches!(parse_pull_line(br#"{"error":"manifest unknown"}"#), Err(EngineError::NotFound(_))));
        assert!(matches!(parse_pull_line(br#"{"errorDetail":{}}"#), Err(EngineError::Other(_))));
        assert!(matches!(parse_pull_line(b"<html>"), Err(EngineError::Malformed(_))));
        assert!(matches!(parse_pull_line(b"[1]"), Err(EngineError::Malformed(_))));
    }
}
