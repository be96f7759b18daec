//! How fast the engine unpacks, read off its stream: from the first word of a layer's extraction to its last.

use std::collections::HashMap;
use std::time::Duration;

use layerkeeper_core::progress::{LayerStep, PullEvent, PullProgress};
use tokio::time::Instant;

/// With less than this unpacked, a rate says little.
const TELLING: u64 = 8_000_000;

/// Adds up what was unpacked, and how long it took.
#[derive(Debug, Default)]
pub(super) struct Unpacking {
    begun: HashMap<String, Instant>,
    bytes: u64,
    took: Duration,
}

impl Unpacking {
    /// Hears a line; `progress` has it already.
    pub fn hear(&mut self, event: &PullEvent, progress: &PullProgress) {
        let PullEvent::Layer { id, step } = event else { return };
        match step {
            LayerStep::Extracting { .. } => {
                self.begun.entry(id.clone()).or_insert_with(Instant::now);
            }
            LayerStep::Complete => {
                let size = progress.layers.get(id).and_then(|layer| layer.total);
                if let (Some(begun), Some(size)) = (self.begun.remove(id), size) {
                    self.bytes += size.0;
                    self.took += begun.elapsed();
                }
            }
            _ => {}
        }
    }

    /// Compressed bytes per second.
    pub fn rate(&self) -> Option<f64> {
        (self.bytes >= TELLING && !self.took.is_zero()).then(|| self.bytes as f64 / self.took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_what_was_unpacked_while_it_was_unpacked() {
        let (mut unpacking, mut progress) = (Unpacking::default(), PullProgress::default());
        let mut hear = async |unpacking: &mut Unpacking, step, pause| {
            let event = PullEvent::Layer { id: "aaaaaaaaaaaa".to_owned(), step };
            progress.apply(&event);
            unpacking.hear(&event, &progress);
            tokio::time::sleep(Duration::from_secs(pause)).await;
        };
        hear(&mut unpacking, LayerStep::Downloading { current: 1, total: 20_000_000 }, 60).await;
        hear(&mut unpacking, LayerStep::Downloaded, 1).await;
        hear(&mut unpacking, LayerStep::Extracting { current: 1, total: 20_000_000 }, 1).await;
        hear(&mut unpacking, LayerStep::Extracting { current: 2, total: 20_000_000 }, 1).await;
        assert_eq!(unpacking.rate(), None);
        hear(&mut unpacking, LayerStep::Complete, 0).await;
        assert_eq!(unpacking.rate(), Some(10e6));
    }
}
