//! What is to go wrong, and for which requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use layerkeeper_core::Bytes;

use crate::http::Head;

/// Something that goes wrong; unless told otherwise, for every request and always.
#[derive(Clone)]
pub struct Fault {
    pub(super) action: Action,
    matches: Arc<dyn Fn(&Head) -> bool + Send + Sync>,
    left: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing for a while, then as if nothing were.
    Delay(Duration),
    /// The connection ends after so many bytes of the answer's body.
    CutAfter(u64),
    /// Nothing more comes after so many bytes of the answer's body, and the connection stays.
    StallAfter(u64),
    /// So many bytes of the answer's body per second.
    Trickle(Bytes),
    /// The server is not told of the range that was asked for.
    DropRange,
    /// No answer, and the connection stays.
    Hang,
    /// The connection ends without an answer.
    Close,
    /// An answer of our own; the server is not asked.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
}

impl Fault {
    /// The request is passed on only after this time.
    pub fn delay(time: Duration) -> Self {
        Self::new(Action::Delay(time))
    }

    /// The connection ends when this much of the answer's body was sent.
    pub fn cut_after(bytes: Bytes) -> Self {
        Self::new(Action::CutAfter(bytes.0))
    }

    /// When this much of the answer's body was sent, nothing more comes, and the connection stays open.
    pub fn stall_after(bytes: Bytes) -> Self {
        Self::new(Action::StallAfter(bytes.0))
    }

    /// The answer's body comes with at most so many bytes per second.
    pub fn trickle(bytes_per_second: Bytes) -> Self {
        Self::new(Action::Trickle(bytes_per_second))
    }

    /// A request for a part is answered with the whole, as servers without ranges do.
    pub fn drop_range() -> Self {
        Self::new(Action::DropRange)
    }

    /// No answer, and the connection stays open.
    pub fn hang() -> Self {
        Self::new(Action::Hang)
    }

    /// The connection ends without an answer.
    pub fn close() -> Self {
        Self::new(Action::Close)
    }

    /// This status, and the server is not asked; see [`Fault::header`] and [`Fault::body`].
    pub fn answer(status: u16) -> Self {
        Self::new(Action::Answer { status, headers: Vec::new(), body: Vec::new() })
    }

    /// With a header, in an answer of our own.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Action::Answer { headers, .. } = &mut self.action {
            headers.push((name.into(), value.into()));
        }
        self
    }

    /// With a body, in an answer of our own.
    pub fn body(mut self, content: impl Into<Vec<u8>>) -> Self {
        if let Action::Answer { body, .. } = &mut self.action {
            *body = content.into();
        }
        self
    }

    /// Only for requests of this kind.
    pub fn when(mut self, matches: impl Fn(&Head) -> bool + Send + Sync + 'static) -> Self {
        let before = self.matches.clone();
        self.matches = Arc::new(move |head| before(head) && matches(head));
        self
    }

    /// Only for paths that hold this text.
    pub fn on_path(self, part: &str) -> Self {
        let part = part.to_owned();
        self.when(move |head| head.path().contains(&part))
    }

    /// Only for this method.
    pub fn on_method(self, method: &'static str) -> Self {
        self.when(move |head| head.method() == method)
    }

    /// Only the first time.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Only the first so many times.
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// Does this happen to this request? Counts it if so.
    pub(super) fn meets(&mut self, head: &Head) -> bool {
        if self.left == Some(0) || !(self.matches)(head) {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        true
    }

    fn new(action: Action) -> Self {
        Self { action, matches: Arc::new(|_| true), left: None }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("action", &self.action).field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_to_what_it_is_for_and_as_often_as_told() {
        let head = |path: &str| Head::parse(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        let mut fault = Fault::hang().on_method("GET").on_path("/blobs/").times(2);
        assert!(!fault.meets(&head("/v2/a/manifests/1")));
        assert!(fault.meets(&head("/v2/a/blobs/1")));
        assert!(fault.meets(&head("/v2/a/blobs/2")));
        assert!(!fault.meets(&head("/v2/a/blobs/3")));
    }
}
