//! Measures a road: what one connection gives, and what many do. What is read is thrown away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use layerkeeper_core::{Bytes, Digest, Repository};
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
    /// So much is read at most, over all of them; and, where there are several, a byte more for each. (Of whoever sends more than
    /// it was asked for, what has come with that.)
    pub bytes: Bytes,
    /// For so long at most; and, where there are several, as long again until they are connected.
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
#[derive(Debug, Clone, Default)]
struct Came {
    /// Bytes, and when they came.
    chunks: Vec<(Instant, u64)>,
    /// It had all that it asked for.
    whole: bool,
}

impl Came {
    fn bytes(&self) -> u64 {
        self.chunks.iter().map(|(_, bytes)| bytes).sum()
    }

    /// From its first bytes on it brings something; until it has all, or until the measurement ends.
    fn going(&self, end: Instant) -> Option<(Instant, Instant)> {
        let ((first, _), (last, _)) = (self.chunks.first()?, self.chunks.last()?);
        Some((*first, if self.whole { *last } else { end }))
    }

    /// What came after the first bytes, and by then.
    fn within(&self, from: Instant, until: Instant) -> u64 {
        let later = self.chunks.iter().skip(1).filter(|(at, _)| *at > from && *at <= until);
        later.map(|(_, bytes)| bytes).sum()
    }
}

/// Bytes per second of all connections together, measured from `begun` to `end`: what came while all of them were bringing
/// something, for those that share a road are slow together. Where they hardly meet, as one began much later than another, it
/// is what one gives on average, so many times as there are. Where nothing came after the first bytes, all that came, by the
/// time from the request on.
fn rate(all: &[Came], begun: Instant, end: Instant) -> f64 {
    let going: Vec<(Instant, Instant)> = all.iter().filter_map(|came| came.going(end)).collect();
    let times = || going.iter().map(|(first, last)| *last - *first);
    let per_second = |bytes: u64, time: Duration| bytes as f64 / time.as_secs_f64();
    let (first, last) = (going.iter().map(|(first, _)| *first).max(), going.iter().map(|(_, last)| *last).min());
    if let (Some(first), Some(last)) = (first, last)
        && last > first
        && times().min().is_some_and(|shortest| (last - first) * 2 >= shortest)
    {
        let together = all.iter().map(|came| came.within(first, last)).sum();
        if together > 0 {
            return per_second(together, last - first);
        }
    }
    let time: Duration = times().sum();
    let after = all.iter().filter_map(|came| Some(came.within(came.chunks.first()?.0, end))).sum::<u64>();
    match time {
        time if after > 0 && !time.is_zero() => per_second(after, time) * going.len() as f64,
        _ => {
            let last = all.iter().filter_map(|came| came.chunks.last()).map(|(at, _)| *at).max().unwrap_or(end);
            per_second(all.iter().map(Came::bytes).sum(), (last - begun).max(Duration::from_millis(1)))
        }
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
    let mut bytes = 0;
    if connections > 1 {
        // that they come up one after the other must not make them read one after the other
        bytes += connect(&blobs, probe.time).await?;
        if bytes == 0 {
            return Ok(Measured { bytes: Bytes::ZERO, rate: 0.0 });
        }
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
                left = left.saturating_sub(bytes);
                let mut came = lock(&came[lane]);
                came.chunks.push((Instant::now(), bytes));
                came.whole = left == 0;
                if came.whole {
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
    let end = Instant::now();
    let came: Vec<Came> = came.iter().map(|came| lock(came).clone()).collect();
    let read: u64 = came.iter().map(Came::bytes).sum();
    match failed {
        Some(error) if read == 0 => Err(error),
        _ => Ok(Measured { bytes: Bytes(bytes + read), rate: rate(&came, begun, end) }),
    }
}

/// Asks for a byte over each, all at once, so that there is a connection for each to whoever has the blob; this takes no longer
/// than `time`. Gives what was read.
///
/// # Errors
/// The first error, where none of them gave anything.
async fn connect(blobs: &[(u64, Blob)], time: Duration) -> Result<u64, SourceError> {
    let read = AtomicU64::new(0);
    let answers = blobs.iter().map(|(start, blob)| timeout(time, first_byte(blob, *start, &read)));
    let failed = join_all(answers).await.into_iter().flatten().find_map(Result::err);
    match (failed, read.into_inner()) {
        (Some(error), 0) => Err(error),
        (_, read) => Ok(read),
    }
}

/// An answer that is read to its end leaves its connection to the next one. Of one that is longer than was asked for, the first
/// bytes are enough.
async fn first_byte(blob: &Blob, start: u64, read: &AtomicU64) -> Result<(), SourceError> {
    let mut piece = blob.read(Some((start, 1))).await?;
    let mut came = 0;
    while came <= 1
        && let Some(chunk) = piece.chunk().await?
    {
        came += chunk.len();
        read.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        if piece.is_whole {
            break;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that each bring 1000 bytes every so many tenths of a second from some time on, ten times or fewer.
    fn lanes(of: &[(f64, f64, usize)]) -> f64 {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let lane = |(from, every, chunks): &(f64, f64, usize)| Came {
            chunks: (0..*chunks).map(|chunk| (at(from + every * chunk as f64 / 10.0), 1000)).collect(),
            whole: *chunks == 10,
        };
        rate(&of.iter().map(lane).collect::<Vec<_>>(), begun, at(20.0))
    }

    fn about(rate: f64, wanted: f64) -> bool {
        (rate / wanted - 1.0).abs() < 0.15
    }

    #[test]
    fn what_setting_up_takes_does_not_count() {
        for setup in [0.0, 5.0] {
            assert!(about(lanes(&[(setup, 1.0, 10)]), 10_000.0));
            let four: Vec<_> = (0..4).map(|lane| (setup + 0.05 * f64::from(lane), 1.0, 10)).collect();
            assert!(about(lanes(&four), 40_000.0), "{}", lanes(&four));
        }
        // one after the other, as over a long way
        let four: Vec<_> = (0..4).map(|lane| (2.0 * f64::from(lane), 1.0, 10)).collect();
        assert!(about(lanes(&four), 40_000.0), "{}", lanes(&four));
    }

    #[test]
    fn those_that_share_a_road_give_no_more_together_however_they_share_it() {
        // 10,000 bytes per second in all, a fourth to each
        let four: Vec<_> = (0..4).map(|lane| (0.1 * f64::from(lane), 4.0, 10)).collect();
        assert!(about(lanes(&four), 10_000.0), "{}", lanes(&four));
        // 4, 3, 2 and 1 tenths of it: who is done first leaves its share to the others only after that
        let uneven = [(0.0, 2.5, 10), (0.0, 3.33, 7), (0.0, 5.0, 5), (0.0, 10.0, 2)];
        assert!(about(lanes(&uneven), 10_000.0), "{}", lanes(&uneven));
    }

    #[test]
    fn a_connection_that_stands_still_is_none() {
        let one_flows = [(0.0, 1.0, 10), (0.0, 1.0, 1), (0.0, 1.0, 1), (0.0, 1.0, 1)];
        assert!(about(lanes(&one_flows), 10_000.0), "{}", lanes(&one_flows));
    }

    #[test]
    fn what_came_at_once_is_measured_from_the_request_on() {
        let begun = Instant::now();
        for whole in [true, false] {
            let came = Came { chunks: vec![(begun + Duration::from_millis(500), 5000)], whole };
            assert_eq!(rate(std::slice::from_ref(&came), begun, begun + Duration::from_secs(2)), 10_000.0);
            assert_eq!(rate(&vec![came; 4], begun, begun + Duration::from_secs(2)), 40_000.0);
        }
        assert_eq!(rate(&[Came::default()], begun, begun + Duration::from_secs(2)), 0.0);
    }
}
