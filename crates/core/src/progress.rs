//! The engine's pull stream, read as data and folded into a state per layer.
//!
//! What each store prints, and what it leaves out, differs: statuses of the containerd store are polled every 100 ms,
//! so any of them can be missing, and shared leading layers print nothing at all.

use std::collections::BTreeMap;

use crate::bytes::Bytes;
use crate::digest::Digest;

/// One line of a pull stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// About one layer, named by the first twelve digits of its blob's digest.
    Layer {
        /// Twelve hexadecimal digits.
        id: String,
        /// What became of it.
        step: LayerStep,
    },
    /// `Digest: sha256:…`: what the reference resolved to.
    Digest(Digest),
    /// `Status: …`: the pull succeeded. A stream that ends without one did not.
    Done(String),
    /// Anything else.
    Note(String),
}

/// What the stream says of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerStep {
    /// `Pulling fs layer`, `Waiting`.
    Announced,
    /// `Downloading`, with the bytes so far and in all.
    Downloading {
        /// Bytes so far.
        current: u64,
        /// Bytes in all; 0 where the server did not say.
        total: u64,
    },
    /// `Verifying Checksum`.
    Verifying,
    /// `Download complete`.
    Downloaded,
    /// `Extracting`.
    Extracting {
        /// Bytes of the compressed blob so far.
        current: u64,
        /// Bytes of the compressed blob in all; 0 where it counts something else.
        total: u64,
    },
    /// `Pull complete`.
    Complete,
    /// `Already exists`.
    AlreadyExists,
    /// `Retrying in N seconds`: the engine starts this layer anew.
    Retrying,
    /// Anything else.
    Other(String),
}

/// What the stream has said of one layer so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerProgress {
    /// Bytes that moved, over all of the engine's own tries.
    pub moved: Bytes,
    /// Bytes of the current try.
    pub current: Bytes,
    /// Where the current try began: more than zero when the engine resumed.
    pub resumed_at: Option<Bytes>,
    /// Bytes that lay in the relay's spool from an attempt that was cut, and moved then.
    pub spooled: Bytes,
    /// The blob's size, where the stream said.
    pub total: Option<Bytes>,
    /// Bytes extracted.
    pub extracted: Bytes,
    /// The engine began this layer anew: the total may be that of the rest alone (the classic store's is).
    pub restarted: bool,
    /// A status was seen that only a download leads to.
    pub download_seen: bool,
    /// The download finished.
    pub downloaded: bool,
    /// `Already exists` was seen.
    pub already_here: bool,
    /// Extraction began or finished.
    pub extraction_seen: bool,
    /// `Pull complete` was seen.
    pub complete: bool,
}

/// A whole pull so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// By the first twelve digits of the blob's digest.
    pub layers: BTreeMap<String, LayerProgress>,
    /// What the reference resolved to, once the engine has said it.
    pub digest: Option<Digest>,
    /// The closing `Status:` line, once it is there.
    pub done: Option<String>,
}

impl PullProgress {
    /// Takes in one line; true when something moved (bytes came or were extracted, or a layer changed its state).
    pub fn apply(&mut self, event: &PullEvent) -> bool {
        match event {
            PullEvent::Layer { id, step } => {
                let layer = self.layers.entry(id.clone()).or_default();
                let before = layer.clone();
                layer.apply(step);
                *layer != before
            }
            PullEvent::Digest(digest) => {
                self.digest = Some(*digest);
                true
            }
            PullEvent::Done(status) => {
                self.done = Some(status.clone());
                true
            }
            PullEvent::Note(_) => false,
        }
    }

    /// Layer bytes that moved, whatever became of them.
    pub fn moved(&self) -> Bytes {
        self.layers.values().map(|layer| layer.moved).sum()
    }
}

impl LayerProgress {
    fn apply(&mut self, step: &LayerStep) {
        match step {
            LayerStep::Announced | LayerStep::Other(_) => {}
            LayerStep::Downloading { current, total } => {
                self.download_seen = true;
                let current = Bytes(*current);
                self.restarted |= current < self.current;
                if self.resumed_at.is_none() || current < self.current {
                    // the first report of a try comes when some bytes are already here; a whole new try starts at zero
                    self.resumed_at = Some(current);
                }
                self.moved += current.saturating_sub(self.current);
                self.current = current;
                if *total > 0 {
                    self.restarted |= self.total.is_some_and(|before| before.0 != *total);
                    self.total = Some(Bytes(*total));
                }
            }
            LayerStep::Verifying => self.download_seen = true,
            LayerStep::Downloaded => {
                self.download_seen = true;
                self.downloaded = true;
                if let Some(total) = self.total {
                    self.moved += total.saturating_sub(self.current);
                    self.current = total;
                }
            }
            LayerStep::Extracting { current, .. } => {
                self.extraction_seen = true;
                self.extracted = self.extracted.max(Bytes(*current));
            }
            LayerStep::Complete => {
                self.complete = true;
                self.extraction_seen = true;
            }
            LayerStep::AlreadyExists => self.already_here = true,
            LayerStep::Retrying => {
                self.restarted = true;
                self.current = Bytes::ZERO;
            }
        }
    }

    /// How long the blob is by a download that came to its end in one go; none where the stream did not say so.
    pub fn counted(&self) -> Option<Bytes> {
        self.total.filter(|_| self.downloaded && !self.restarted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(step: LayerStep) -> PullEvent {
        PullEvent::Layer { id: "aaaaaaaaaaaa".to_owned(), step }
    }

    #[test]
    fn a_finished_download_has_moved_its_whole_size() {
        let mut progress = PullProgress::default();
        progress.apply(&layer(LayerStep::Announced));
        progress.apply(&layer(LayerStep::Downloading { current: 10, total: 100 }));
        assert!(progress.apply(&layer(LayerStep::Downloading { current: 70, total: 100 })));
        assert!(!progress.apply(&layer(LayerStep::Downloading { current: 70, total: 100 })), "nothing moved");
        progress.apply(&layer(LayerStep::Downloaded));
        assert_eq!(progress.moved(), Bytes(100));
    }

    #[test]
    fn the_engines_own_second_try_counts_what_moved_twice() {
        let mut progress = PullProgress::default();
        progress.apply(&layer(LayerStep::Downloading { current: 60, total: 100 }));
        progress.apply(&layer(LayerStep::Retrying));
        progress.apply(&layer(LayerStep::Downloading { current: 5, total: 100 }));
        progress.apply(&layer(LayerStep::Downloaded));
        assert_eq!(progress.moved(), Bytes(160));
    }
}
