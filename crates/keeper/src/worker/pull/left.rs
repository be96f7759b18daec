//! How much is still to come.

use std::collections::HashSet;

use layerkeeper_core::Digest;
use layerkeeper_core::progress::PullProgress;
use layerkeeper_relay::Snapshot;
use layerkeeper_store::record::{EstimateRecord, LayerEstimateRecord};

/// Layer bytes that are still to come over the wire: of each layer that may have to be fetched what is not here yet, by what
/// the relay has of it or, without one, by what the engine tells. What comes twice is in no way less to come.
pub(super) fn left(expected: &EstimateRecord, progress: &PullProgress, relay: Option<&Snapshot>) -> u64 {
    let mut counted = HashSet::new();
    let wanted = expected.layers.iter().filter(|layer| matches!(&*layer.presence, "to fetch" | "unknown"));
    wanted.filter(|layer| counted.insert(&layer.digest)).map(|layer| of_layer(layer, progress, relay)).sum()
}

fn of_layer(layer: &LayerEstimateRecord, progress: &PullProgress, relay: Option<&Snapshot>) -> u64 {
    let Ok(digest) = layer.digest.parse::<Digest>() else { return layer.size };
    let told = progress.layers.get(&digest.short());
    if told.is_some_and(|told| told.already_here || told.downloaded || told.extraction_seen) {
        return 0;
    }
    let here = match relay {
        // what the engine has of it came over loopback
        Some(relay) => relay.blobs.get(&digest).map(|blob| if blob.is_ready { blob.size } else { blob.here }),
        None => told.map(|told| told.current),
    };
    layer.size.saturating_sub(here.unwrap_or_default().0)
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::Bytes;
    use layerkeeper_core::progress::LayerProgress;
    use layerkeeper_relay::BlobSnapshot;

    use super::*;

    /// Layers by name, presence and size.
    fn expected(layers: &[(&str, &str, u64)]) -> EstimateRecord {
        let layer = |(name, presence, size): &(&str, &str, u64)| LayerEstimateRecord {
            digest: Digest::of(name.as_bytes()).to_string(),
            diff_id: String::new(),
            size: *size,
            presence: (*presence).to_owned(),
            created_by: None,
            causes: Vec::new(),
        };
        EstimateRecord { layers: layers.iter().map(layer).collect(), ..EstimateRecord::default() }
    }

    fn told(layers: &[(&str, LayerProgress)]) -> PullProgress {
        let layers = layers.iter().map(|(name, layer)| (Digest::of(name.as_bytes()).short(), layer.clone())).collect();
        PullProgress { layers, ..PullProgress::default() }
    }

    #[test]
    fn what_is_here_and_what_turns_out_to_be_does_not_come() {
        let expected =
            expected(&[("a", "here", 7), ("b", "unknown", 100), ("c", "to fetch", 50), ("c", "to fetch", 50)]);
        assert_eq!(left(&expected, &PullProgress::default(), None), 150);
        let is_here = LayerProgress { already_here: true, ..LayerProgress::default() };
        let some = LayerProgress { current: Bytes(20), moved: Bytes(45), ..LayerProgress::default() };
        assert_eq!(
            left(&expected, &told(&[("b", is_here.clone()), ("c", some)]), None),
            30,
            "a try that was lost is gone"
        );
        let whole = LayerProgress { downloaded: true, ..LayerProgress::default() };
        assert_eq!(left(&expected, &told(&[("b", is_here), ("c", whole)]), None), 0);
    }

    #[test]
    fn through_the_relay_it_goes_by_what_the_relay_has() {
        let expected = expected(&[("b", "to fetch", 100), ("c", "to fetch", 50)]);
        let blob = |here: u64, is_ready: bool| BlobSnapshot {
            size: Bytes(100),
            here: Bytes(here),
            // some of it twice
            from: vec![(0, Bytes(90))],
            resumed: Bytes(10),
            is_ready,
        };
        let relay = |blob: BlobSnapshot| Snapshot { blobs: [(Digest::of(b"b"), blob)].into(), ..Snapshot::default() };
        let over_loopback = LayerProgress { current: Bytes(1), download_seen: true, ..LayerProgress::default() };
        let told = told(&[("b", over_loopback)]);
        assert_eq!(left(&expected, &told, Some(&relay(blob(60, false)))), 90);
        assert_eq!(left(&expected, &told, Some(&relay(blob(100, true)))), 50);
    }
}
