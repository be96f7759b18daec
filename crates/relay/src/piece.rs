//! One request for a part of a blob, written into the spool while it comes.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use layerkeeper_registry::{Blob, Error as SourceError};
use tokio::time::Instant;

use crate::error::RelayError;
use crate::limit::Limit;
use crate::spool::{BLOCK, at, write_block};
use crate::underway::Pass;

/// So little is read from a cache whether it has it or not: to ask again would cost as much.
const TINY: u64 = 64 << 10;

/// What is to be fetched.
#[derive(Debug)]
pub(crate) struct Order {
    /// From where.
    pub blob: Blob,
    /// How long the whole blob is.
    pub size: u64,
    /// Which bytes of it.
    pub range: Range<u64>,
    /// The server has no ranges: the whole is asked for, and what lies before the range is read and dropped.
    pub whole: bool,
    /// The server is a pull-through cache: see [`Trouble::Filling`].
    pub cache: bool,
    pub file: Arc<std::fs::File>,
    /// What was written is taken down here.
    pub pieces: Arc<std::fs::File>,
    pub path: PathBuf,
    pub limit: Arc<Limit>,
    /// Counts bytes as they come.
    pub came: Vec<Arc<AtomicU64>>,
    /// Says when it is to end early.
    pub pass: Pass,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub range: Range<u64>,
    /// So many bytes from the range's start on are in the spool.
    pub landed: u64,
    /// Of those.
    pub crc: u32,
    /// How many bytes came over the wire, also those that were dropped.
    pub came: u64,
    pub etag: Option<String>,
    pub took: Duration,
    pub trouble: Option<Trouble>,
}

/// Why a piece is not whole.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The source did not give it.
    Source(SourceError),
    /// The source breaks its word, as a sentence says.
    Lie(String),
    /// The source sends the whole blob instead of a part.
    NoRanges,
    /// A cache does the same: it has only begun to fetch the blob for itself. What it sends meanwhile it fetches from the origin
    /// once more, for this request alone, so it is not read.
    Filling,
    /// It was cut, since others are many times as fast.
    Slow,
    /// It cannot be written down.
    Spool(RelayError),
}

/// Fetches it, or as much as comes.
pub(crate) async fn fetch(order: Order) -> Fetched {
    let begun = Instant::now();
    let range = order.range.clone();
    let mut fetched = Fetched { range, landed: 0, crc: 0, came: 0, etag: None, took: Duration::ZERO, trouble: None };
    fetched.trouble = receive(&order, &mut fetched).await.err();
    fetched.took = begun.elapsed();
    fetched
}

async fn receive(order: &Order, fetched: &mut Fetched) -> Result<(), Trouble> {
    let wanted = order.range.end - order.range.start;
    // a cache shows by its answer to a range whether it has the blob
    let all = order.range == (0..order.size) && !(order.cache && order.size > TINY);
    let asked = if order.whole || all { None } else { Some((order.range.start, wanted)) };
    let mut piece = order.blob.read(asked).await.map_err(Trouble::Source)?;
    fetched.etag = piece.etag.clone();
    if piece.is_whole && asked.is_some() {
        return Err(if order.cache { Trouble::Filling } else { Trouble::NoRanges });
    }
    if let Some(total) = piece.total.filter(|total| *total != order.size) {
        return Err(Trouble::Lie(format!(
            "says that the blob has {total} bytes, and the manifest says {}",
            order.size
        )));
    }
    // a server may send less than it was asked for, as long as it says so
    let promised = piece.length.filter(|_| !piece.is_whole).unwrap_or(wanted);
    let mut skip = order.range.start - piece.start;
    let mut crc = crc32fast::Hasher::new();
    let mut block = BytesMut::with_capacity(BLOCK);
    let ended = loop {
        let chunk = tokio::select! {
            () = order.pass.cut.cancelled() => break Some(Trouble::Slow),
            chunk = piece.chunk() => chunk,
        };
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break None,
            Err(error) => break Some(Trouble::Source(error)),
        };
        order.limit.take(chunk.len()).await;
        fetched.came += chunk.len() as u64;
        for count in &order.came {
            count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        let dropped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        skip -= dropped as u64;
        let room = wanted - fetched.landed - block.len() as u64;
        let rest = &chunk[dropped..];
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
        block.extend_from_slice(&rest[..taken]);
        if block.len() >= BLOCK {
            block = write(order, fetched, &mut crc, block).await?;
        }
        if taken < rest.len() && !piece.is_whole {
            break None;
        }
        if fetched.landed + block.len() as u64 == wanted && (piece.is_whole && order.range.end < order.size) {
            break None;
        }
    };
    // what came before the end, early or not, is good
    write(order, fetched, &mut crc, block).await?;
    fetched.crc = crc.finalize();
    match ended {
        _ if fetched.landed == wanted.min(promised) => Ok(()),
        Some(trouble) => Err(trouble),
        None => Err(Trouble::Lie(format!("ends a part of {promised} bytes after {}", fetched.landed))),
    }
}

/// Writes a block at its place, off the runtime's threads, and gives it back empty.
async fn write(
    order: &Order,
    fetched: &mut Fetched,
    crc: &mut crc32fast::Hasher,
    block: BytesMut,
) -> Result<BytesMut, Trouble> {
    if block.is_empty() {
        return Ok(block);
    }
    let (file, pieces) = (order.file.clone(), order.pieces.clone());
    let place = order.range.start + fetched.landed;
    let written =
        tokio::task::spawn_blocking(move || write_block(&file, &pieces, place, &block).map(|sum| (sum, block)));
    let (sum, mut block) = match written.await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return Err(Trouble::Spool(at(&order.path, error))),
        Err(error) => return Err(Trouble::Spool(at(&order.path, std::io::Error::other(error)))),
    };
    crc.combine(&sum);
    fetched.landed += block.len() as u64;
    block.clear();
    Ok(block)
}
