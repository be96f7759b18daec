//! Who follows a job sees its latest state; whoever is slow skips states, nobody is waited for.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use layerkeeper_core::progress::PullProgress;
use layerkeeper_core::{Bytes, JobId, JobState};
use layerkeeper_relay::{BlobSnapshot, Snapshot};
use layerkeeper_store::record::SourceRecord;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What a running job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// In the queue.
    Waiting,
    /// Looking at engine and registry.
    Observing,
    /// Refreshing the kept images.
    Keeping,
    /// Pulling its own image.
    Pulling,
    /// Checking what came and making the name.
    Verifying,
    /// Removing old tags.
    Pruning,
    /// Over.
    Done,
}

/// One layer of the pull in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerLine {
    /// The first twelve digits of the blob's digest.
    pub id: String,
    /// `waiting`, `downloading`, `downloaded`, `extracting`, `complete` or `reused`.
    pub status: String,
    /// Bytes so far.
    pub current: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
    /// Through the relay: from whom its bytes came so far, the most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<SourceRecord>,
}

/// A job's state of the moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// `queued`, `running`, `succeeded`, `failed`, `refused`, `superseded`.
    pub state: String,
    /// What it is doing.
    pub phase: Phase,
    /// The image being pulled, when one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerLine>,
    /// Layer bytes moved so far in this pull.
    pub moved_bytes: u64,
    /// How fast they come now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// At that rate what is still to come takes so long; unpacking goes on after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// The job that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
}

impl Progress {
    /// A job in this state of which nothing more is known.
    pub fn of_state(state: JobState) -> Self {
        Self {
            state: state.as_str().to_owned(),
            phase: match state {
                JobState::Queued => Phase::Waiting,
                JobState::Running => Phase::Observing,
                _ => Phase::Done,
            },
            image: None,
            layers: Vec::new(),
            moved_bytes: 0,
            bytes_per_second: None,
            seconds_left: None,
            superseded_by: None,
        }
    }

    /// Will nothing follow?
    pub fn is_final(&self) -> bool {
        self.phase == Phase::Done
    }

    /// A job in the middle of a pull; what the relay has of a layer counts before the engine has heard of it.
    pub fn pulling(image: String, pull: &PullProgress, relay: Option<&Snapshot>) -> Self {
        let layers: Vec<LayerLine> = pull
            .layers
            .iter()
            .map(|(id, layer)| {
                let status = match () {
                    () if layer.complete => "complete",
                    () if layer.extraction_seen => "extracting",
                    () if layer.downloaded => "downloaded",
                    () if layer.download_seen => "downloading",
                    () if layer.already_here => "reused",
                    () => "waiting",
                };
                let current = if status == "extracting" { layer.extracted } else { layer.current };
                LayerLine {
                    id: id.clone(),
                    status: status.to_owned(),
                    current: current.0,
                    total: layer.total.map(|t| t.0),
                    from: Vec::new(),
                }
            })
            .collect();
        let progress = Self { phase: Phase::Pulling, image: Some(image), layers, ..Self::of_state(JobState::Running) };
        match relay {
            None => Self { moved_bytes: pull.moved().0, ..progress },
            Some(relay) => progress.relayed(relay),
        }
    }

    /// At this pace, with so much still to come.
    #[must_use]
    pub fn at_pace(mut self, bytes_per_second: Option<f64>, left: Option<u64>) -> Self {
        self.bytes_per_second = bytes_per_second.map(|rate| rate as u64);
        let rate = bytes_per_second.filter(|rate| *rate >= 1.0);
        self.seconds_left = rate.zip(left).map(|(rate, left)| (left as f64 / rate).ceil() as u64);
        self
    }

    fn relayed(mut self, relay: &Snapshot) -> Self {
        for (digest, blob) in &relay.blobs {
            let Some(line) = self.layers.iter_mut().find(|line| line.id == digest.short()) else { continue };
            if !blob.is_ready {
                line.status = "downloading".to_owned();
                (line.current, line.total) = (blob.here.0, Some(blob.size.0));
            }
            line.from = from(blob, &relay.sources);
        }
        self.moved_bytes = relay.came().0;
        self
    }
}

/// From whom a blob came, the most first.
fn from(blob: &BlobSnapshot, sources: &[(String, Bytes)]) -> Vec<SourceRecord> {
    let source = |(at, bytes): &(usize, Bytes)| {
        let (source, _) = sources.get(*at).filter(|_| *bytes > Bytes::ZERO)?;
        Some(SourceRecord { source: source.clone(), bytes: bytes.0 })
    };
    let mut from: Vec<SourceRecord> = blob.from.iter().filter_map(source).collect();
    from.sort_by_key(|source| Reverse(source.bytes));
    from
}

/// The latest state of the running job and of every job that somebody follows.
#[derive(Debug, Default)]
pub struct Follow {
    jobs: Mutex<HashMap<JobId, watch::Sender<Progress>>>,
}

impl Follow {
    /// Follows a job; the first value is the latest that was published, else `known`, and the last one is final
    /// ([`Progress::is_final`]).
    pub fn subscribe(&self, id: &JobId, known: Progress) -> watch::Receiver<Progress> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, sender| sender.receiver_count() > 0 || sender.borrow().state == JobState::Running.as_str());
        jobs.entry(id.clone()).or_insert_with(|| watch::Sender::new(known)).subscribe()
    }

    /// Tells the followers of a job, and keeps what a later one will want to see.
    pub fn publish(&self, id: &JobId, progress: Progress) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let is_final = progress.is_final();
        match jobs.get(id) {
            Some(sender) => drop(sender.send_replace(progress)),
            None if is_final => {}
            None => drop(jobs.insert(id.clone(), watch::Sender::new(progress))),
        }
        if is_final {
            jobs.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::Digest;
    use layerkeeper_core::progress::LayerProgress;

    use super::*;

    fn running(moved_bytes: u64) -> Progress {
        Progress { moved_bytes, ..Progress::of_state(JobState::Running) }
    }

    #[test]
    fn a_layer_of_a_relay_says_from_whom_it_comes() {
        let digest = Digest::of(b"a layer");
        let mut pull = PullProgress::default();
        pull.layers.insert(digest.short(), LayerProgress::default());
        let blob = BlobSnapshot {
            size: Bytes(300),
            here: Bytes(214),
            from: vec![(0, Bytes(14)), (1, Bytes(200)), (2, Bytes::ZERO)],
            resumed: Bytes::ZERO,
            is_ready: false,
        };
        let sources = ["ghcr.io", "mirror.lan", "slow.lan"].map(|name| (name.to_owned(), Bytes::ZERO)).to_vec();
        let relay = Snapshot { blobs: [(digest, blob)].into(), sources, ..Snapshot::default() };
        let progress = Progress::pulling("an image".to_owned(), &pull, Some(&relay));
        let gave = |source: &str, bytes| SourceRecord { source: source.to_owned(), bytes };
        assert_eq!(progress.layers[0].from, [gave("mirror.lan", 200), gave("ghcr.io", 14)]);
        assert_eq!((progress.layers[0].current, progress.moved_bytes), (214, 214));
        assert!(Progress::pulling("an image".to_owned(), &pull, None).layers[0].from.is_empty());
    }

    #[test]
    fn who_comes_late_sees_how_far_the_job_is() {
        let (follow, id) = (Follow::default(), JobId::from_bits([1; 16]));
        follow.publish(&id, running(7));
        follow.subscribe(&JobId::from_bits([2; 16]), running(0));
        let receiver = follow.subscribe(&id, running(0));
        assert_eq!(receiver.borrow().moved_bytes, 7);
        follow.publish(&id, Progress::of_state(JobState::Succeeded));
        assert!(receiver.borrow().is_final());
        assert!(follow.jobs.lock().unwrap().keys().all(|other| *other != id), "nothing is kept of a job that is over");
    }
}
