//! A job's progress, read from server-sent events (WHATWG HTML, "Server-sent events").

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use layerkeeper_keeper::Progress;

use super::ClientError;
use super::connect::{Answer, Connection};

/// The server says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// Events are small; whoever sends more without an end is not our daemon.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// What a job is doing, until it has come to its end.
pub struct ProgressStream {
    body: Incoming,
    _connection: Option<Connection>,
    lines: Lines,
}

/// Bytes so far, and the data of the event that is still coming.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
    data: String,
}

impl ProgressStream {
    pub(super) fn new(answer: Answer) -> Self {
        let (body, connection) = answer.into_body();
        Self { body, _connection: connection, lines: Lines::default() }
    }

    /// The next state; none after the end. The last one is final ([`Progress::is_final`]), unless the daemon stopped.
    ///
    /// # Errors
    /// The connection broke off, or what came is no progress.
    pub async fn next(&mut self) -> Result<Option<Progress>, ClientError> {
        loop {
            if let Some(data) = self.lines.event() {
                let progress = serde_json::from_str(&data)
                    .map_err(|cause| ClientError::Protocol(format!("an event is no progress: {cause}")))?;
                return Ok(Some(progress));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame())
                .await
                .map_err(|_| ClientError::Protocol("the daemon fell silent".to_owned()))?;
            match frame {
                None => return Ok(None),
                Some(Err(cause)) => return Err(ClientError::Protocol(format!("the events broke off: {cause}"))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.lines.buffer.extend_from_slice(&bytes);
                    }
                    if self.lines.buffer.len() + self.lines.data.len() > MAX_EVENT {
                        return Err(ClientError::Protocol("an event without an end".to_owned()));
                    }
                }
            }
        }
    }
}

impl Lines {
    /// The data of the next whole event, if it is here. Comments and other fields are skipped.
    fn event(&mut self) -> Option<String> {
        while let Some(end) = self.buffer.iter().position(|c| *c == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if !self.data.is_empty() {
                    return Some(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_whatever_the_cuts() {
        let sent =
            ": still here\n\nevent: progress\ndata: {\"a\":\ndata: 1}\r\n\r\nid: 7\ndata:x\n\ndata: unfinished\n";
        for cut in 0..=sent.len() {
            let (first, second) = sent.as_bytes().split_at(cut);
            let mut lines = Lines::default();
            let mut events = Vec::new();
            for part in [first, second] {
                lines.buffer.extend_from_slice(part);
                events.extend(std::iter::from_fn(|| lines.event()));
            }
            assert_eq!(events, ["{\"a\":\n1}", "x"], "cut at {cut}");
        }
    }
}
