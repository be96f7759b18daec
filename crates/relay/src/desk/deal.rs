//! Hands out work: which piece of which blob is fetched next, how long it is, and from where.

use layerkeeper_core::Digest;
use tokio::time::Instant;

use super::cache::Turn;
use super::{Desk, Ended};
use crate::error::RelayError;
use crate::fetching::Fetching;
use crate::piece::{Order, fetch};

/// A piece is as long as one connection brings in about this time: short enough that the last one is not waited for long.
const PIECE_TIME: f64 = 2.0;
const LEAST_PIECE: u64 = 512 << 10;
const MOST_PIECE: u64 = 16 << 20;
/// A blob of no more than this is asked for whole.
const SMALL: u64 = 1 << 20;

impl Desk {
    /// Sends somebody for each piece that there is a connection for.
    pub(super) fn deal(&mut self) -> Result<(), RelayError> {
        let now = Instant::now();
        while self.underway.len() < self.climb.target() {
            match self.next_order(now)? {
                Some((blob, source, order)) => {
                    let pass = order.pass.number;
                    self.tasks.spawn(async move { Ended::Piece { pass, blob, source, fetched: fetch(order).await } });
                }
                None => {
                    self.tick.idle = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next piece of the first blob that wants one.
    fn next_order(&mut self, now: Instant) -> Result<Option<(Digest, usize, Order)>, RelayError> {
        let count = self.sources.iter().count();
        for at in 0..self.blobs.len() {
            if !self.blobs[at].wants() {
                continue;
            }
            let barred = self.blobs[at].barred(count);
            let chosen = match self.turn(at, &barred, now) {
                Turn::Wait => continue,
                Turn::Cache(cache) => Some(cache),
                Turn::Elsewhere => self.sources.choose(&barred, now),
            };
            let Some(source) = chosen else {
                if self.sources.is_hopeless(&barred) && self.blobs[at].asked == 0 {
                    let reasons = self.sources.reasons(&barred);
                    return Err(RelayError::NoSource { blob: self.blobs[at].digest.to_string(), reasons });
                }
                continue;
            };
            if !self.sources.get(source).ranges && self.blobs[at].asked > 0 {
                // others were sent for parts, in vain; when they are back, one reads all that is missing
                continue;
            }
            return Ok(self.order(at, source, now).map(|order| (self.blobs[at].digest, source, order)));
        }
        Ok(None)
    }

    fn order(&mut self, at: usize, source: usize, now: Instant) -> Option<Order> {
        let whole = !self.sources.get(source).ranges;
        let length = match self.sources.get(source) {
            _ if whole => u64::MAX,
            new if new.is_unmeasured() => self.piece_length(&self.blobs[at]).min(2 * LEAST_PIECE),
            _ => self.piece_length(&self.blobs[at]),
        };
        let repository = self.sources.get(source).repository.clone();
        let (client, came) = (self.client.clone(), self.tick.came.clone());
        let blob = &mut self.blobs[at];
        let range = blob.gaps.take(length)?;
        self.sources.sent(source);
        blob.asked += 1;
        blob.whole |= whole;
        let digest = blob.digest;
        let reader = blob.readers.entry(source).or_insert_with(|| client.blob(&repository, digest)).clone();
        let pass = self.underway.begin((digest, source), !whole, now);
        Some(Order {
            blob: reader,
            size: blob.size,
            range,
            whole,
            cache: self.sources.get(source).cache,
            file: blob.spooled.file.clone(),
            pieces: blob.spooled.pieces.clone(),
            path: blob.spooled.path().to_owned(),
            limit: self.limit.clone(),
            came: vec![came, blob.came.entry(source).or_default().clone(), pass.came.clone()],
            pass,
        })
    }

    /// Small ones whole; else what a connection brings in [`PIECE_TIME`], and towards the end so little that all
    /// connections end together.
    fn piece_length(&self, blob: &Fetching) -> u64 {
        if blob.size <= SMALL {
            return SMALL;
        }
        let usual = self.sources.best_rate().map_or(2 * LEAST_PIECE, |rate| (rate * PIECE_TIME) as u64);
        let fair = blob.gaps.missing() / (2 * self.climb.target() as u64).max(1);
        usual.clamp(LEAST_PIECE, MOST_PIECE).min(fair.max(LEAST_PIECE))
    }
}
