//! Measures a road: what one connection gives, and what many do. What is read is thrown away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, Repository};
use layerkeeper_registry::{Client, Error as SourceError};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// What is to be read for a measurement.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Where.
    pub repository: Repository,
    /// A blob that is there.
    pub blob: Digest,
    /// How long it is.
    pub size: Bytes,
    /// So many connections at once.
    pub connections: usize,
    /// So much is read at most, over all of them.
    pub bytes: Bytes,
    /// For so long at most.
    pub time: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// What came.
    pub bytes: Bytes,
    /// In which time, from the first request on.
    pub took: Duration,
}

impl Measured {
    /// Bytes per second.
    pub fn rate(&self) -> f64 {
        self.bytes.0 as f64 / self.took.as_secs_f64().max(1e-3)
    }
}

/// Reads parts of a blob over so many connections at once, and measures what they give together.
///
/// # Errors
/// The first error, where nothing came at all.
pub async fn probe(client: &Client, probe: &Probe) -> Result<Measured, SourceError> {
    let connections = probe.connections.max(1) as u64;
    let each = (probe.bytes.0.min(probe.size.0) / connections).max(1);
    let came = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for at in 0..connections {
        let blob = client.blob(&probe.repository, probe.blob);
        let came = came.clone();
        let start = (at * (probe.size.0 / connections)).min(probe.size.0.saturating_sub(each));
        tasks.spawn(async move {
            let mut piece = blob.read(Some((start, each))).await?;
            let mut left = each;
            while let Some(chunk) = piece.chunk().await? {
                came.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                left = left.saturating_sub(chunk.len() as u64);
                if left == 0 {
                    break;
                }
            }
            Ok::<_, SourceError>(())
        });
    }
    let mut failed = None;
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                failed = Some(error);
            }
        }
    };
    // what has come by then is what is measured
    let _ = timeout(probe.time, all).await;
    let measured = Measured { bytes: Bytes(came.load(Ordering::Relaxed)), took: begun.elapsed() };
    tasks.abort_all();
    match failed {
        Some(error) if measured.bytes == Bytes::ZERO => Err(error),
        _ => Ok(measured),
    }
}
