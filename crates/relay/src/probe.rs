//! Measures a road: what one connection gives, and what many do. What is read is thrown away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, Repository};
use futures_util::future::join_all;
use layerkeeper_registry::{Blob, Client, Error as SourceError};
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
    /// Bytes per second of all connections together, while they have something to read: setting up a connection takes as long
    /// whatever is fetched over it, and would drown the little that is read here.
    pub rate: f64,
}

/// What came over one connection.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    bytes: u64,
    /// Since the first of them, and when the first and the last came.
    after_first: u64,
    between: Option<(Instant, Instant)>,
}

impl Came {
    fn take(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        match &mut self.between {
            Some((_, last)) => {
                self.after_first += bytes;
                *last = now;
            }
            None => self.between = Some((now, now)),
        }
    }
}

/// Bytes per second of all together: what one gives on average while it brings something, and so many times as there are.
/// Those that share a road are slow together; those that do not may begin when they like, for each is taken by its own time.
/// Where nothing came after the first bytes, by the time from the request on.
fn rate<'c>(all: impl Iterator<Item = &'c Came> + Clone, begun: Instant) -> f64 {
    let going = all.clone().filter_map(|came| Some((came.after_first, came.between?)));
    let (mut lanes, mut after, mut time) = (0, 0, Duration::ZERO);
    let mut end = begun;
    for (bytes, (first, last)) in going {
        (lanes, after, time) = (lanes + 1, after + bytes, time + (last - first));
        end = end.max(last);
    }
    match time {
        time if after > 0 && !time.is_zero() => f64::from(lanes) * after as f64 / time.as_secs_f64(),
        _ => all.map(|came| came.bytes).sum::<u64>() as f64 / (end - begun).as_secs_f64().max(1e-3),
    }
}

/// Reads parts of a blob over so many connections at once, and measures what they give together.
///
/// # Errors
/// The first error, where nothing came at all.
pub async fn probe(client: &Client, probe: &Probe) -> Result<Measured, SourceError> {
    let connections = probe.connections.max(1) as u64;
    let each = (probe.bytes.0.min(probe.size.0) / connections).max(1);
    let start = |at: u64| (at * (probe.size.0 / connections)).min(probe.size.0.saturating_sub(each));
    let blobs: Vec<(u64, Blob)> =
        (0..connections).map(|at| (start(at), client.blob(&probe.repository, probe.blob))).collect();
    if connections > 1 {
        // that they come up one after the other must not make them read one after the other
        let _ = timeout(probe.time, connect(&blobs)).await;
    }
    let came: Arc<[Mutex<Came>]> = (0..connections).map(|_| Mutex::default()).collect();
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for (lane, (start, blob)) in blobs.into_iter().enumerate() {
        let came = came.clone();
        tasks.spawn(async move {
            let mut piece = blob.read(Some((start, each))).await?;
            let mut left = each;
            while let Some(chunk) = piece.chunk().await? {
                let bytes = chunk.len() as u64;
                lock(&came[lane]).take(bytes, Instant::now());
                left = left.saturating_sub(bytes);
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
    tasks.abort_all();
    let came: Vec<Came> = came.iter().map(|came| *lock(came)).collect();
    let bytes = Bytes(came.iter().map(|came| came.bytes).sum());
    let rate = rate(came.iter(), begun);
    match failed {
        Some(error) if bytes == Bytes::ZERO => Err(error),
        _ => Ok(Measured { bytes, rate }),
    }
}

/// Asks for a byte over each, all at once, so that there is a connection for each to whoever has the blob.
async fn connect(blobs: &[(u64, Blob)]) {
    let answers = join_all(blobs.iter().map(|(start, blob)| blob.read(Some((*start, 1))))).await;
    for mut piece in answers.into_iter().flatten().filter(|piece| !piece.is_whole) {
        // one that was read to its end leaves its connection to the next
        while let Ok(Some(_)) = piece.chunk().await {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that each take so long to be set up, one a little longer than the other, and then bring 1000 bytes every
    /// tenth of a second, one after the other where they share one road.
    fn measured(connections: u64, (setup, later): (f64, f64), shared: bool) -> f64 {
        let begun = Instant::now();
        let lane = |lane: u64| {
            let mut came = Came::default();
            for chunk in 0..10 {
                let turn = if shared { chunk * connections + lane } else { chunk };
                let at = setup + later * lane as f64 + turn as f64 / 10.0;
                came.take(1000, begun + Duration::from_secs_f64(at));
            }
            came
        };
        let all: Vec<Came> = (0..connections).map(lane).collect();
        rate(all.iter(), begun)
    }

    #[test]
    fn what_setting_up_takes_does_not_count_and_a_shared_road_gives_no_more() {
        let about = |rate: f64, wanted: f64| (rate / wanted - 1.0).abs() < 0.1;
        for setup in [(0.0, 0.0), (5.0, 0.0), (0.5, 2.0)] {
            assert!(about(measured(1, setup, false), 10_000.0));
            assert!(about(measured(4, setup, false), 40_000.0), "{}", measured(4, setup, false));
        }
        for setup in [0.0, 5.0] {
            assert!(about(measured(4, (setup, 0.0), true), 10_000.0), "{}", measured(4, (setup, 0.0), true));
        }
    }

    #[test]
    fn what_came_at_once_is_measured_from_the_request_on() {
        let begun = Instant::now();
        let mut came = Came::default();
        came.take(5000, begun + Duration::from_millis(500));
        assert_eq!(rate([came].iter(), begun), 10_000.0);
        assert_eq!(rate([Came::default()].iter(), begun), 0.0);
    }
}
