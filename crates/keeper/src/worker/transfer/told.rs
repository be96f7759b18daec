//! What a relay tells of itself, in the words of the job's record.

use std::cmp::Reverse;

use layerkeeper_core::Bytes;
use layerkeeper_core::progress::PullProgress;
use layerkeeper_relay::Snapshot;
use layerkeeper_store::record::{SourceRecord, TransferRecord};

/// Into the record: connections, sources, what lay here, who was passed over.
pub(super) fn told(record: &mut TransferRecord, snapshot: &Snapshot) {
    record.connections = snapshot.speed.many.map(|(connections, _)| connections);
    let source = |(source, bytes): &(String, Bytes)| SourceRecord { source: source.clone(), bytes: bytes.0 };
    record.sources = snapshot.sources.iter().map(source).collect();
    record.resumed_bytes = snapshot.blobs.values().map(|blob| blob.resumed.0).sum();
    record.remarks.clone_from(&snapshot.remarks);
}

/// Where the bytes came from, the most of them first.
pub(super) fn sources(snapshot: &Snapshot) -> String {
    let mut sources: Vec<&(String, Bytes)> =
        snapshot.sources.iter().filter(|(_, bytes)| *bytes > Bytes::ZERO).collect();
    sources.sort_by_key(|(_, bytes)| Reverse(*bytes));
    let names: Vec<&str> = sources.iter().map(|(source, _)| source.as_str()).collect();
    if names.is_empty() { "a mirror".to_owned() } else { names.join(", ") }
}

/// The engine's stream tells what came over loopback; what came over the wire the relay knows.
pub(super) fn correct(progress: &mut PullProgress, snapshot: &Snapshot) {
    for (digest, blob) in &snapshot.blobs {
        if let Some(layer) = progress.layers.get_mut(&digest.short()) {
            layer.moved = blob.came();
            layer.spooled = blob.resumed;
            layer.resumed_at = None;
        }
    }
}
