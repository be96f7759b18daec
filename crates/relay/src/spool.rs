//! The spool: pieces of blobs on disk, until the engine has the image that they are for. A pull that was cut goes on with
//! what lies here.
//!
//! Two files per blob, named after its digest: `HEX.blob` has each byte at its place, `HEX.pieces` a record per block that
//! was written: start, length and CRC-32. Nothing is synced: after a power cut a record whose bytes are not on disk
//! is found out by its CRC, and only that piece is fetched again. The digest has the last word on the whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use layerkeeper_core::{Bytes, Digest};
use rustix::buffer::spare_capacity;

use crate::error::RelayError;

const BLOB: &str = "blob";
const PIECES: &str = "pieces";

/// Start and length as 64 bits, CRC-32 as 32, all little-endian.
const RECORD: usize = 20;

/// So much is read at once.
pub(crate) const BLOCK: usize = 256 << 10;

/// The folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: Arc<PathBuf>,
}

/// What lies in the spool of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Of what.
    pub digest: Digest,
    /// Bytes on disk.
    pub bytes: Bytes,
    /// When it was last written to.
    pub changed: SystemTime,
}

/// One blob's files, open.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) file: Arc<File>,
    pub(crate) pieces: Arc<File>,
    path: PathBuf,
}

/// A piece that lies in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) range: Range<u64>,
    pub(crate) crc: u32,
}

impl Spool {
    /// The spool in this folder, which is made when something is written.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir: Arc::new(dir) }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens what there is of a blob of this size; gives the pieces of it that are good. Blocks.
    pub(crate) fn open(&self, digest: Digest, size: u64) -> Result<(Spooled, Vec<Piece>), RelayError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&*self.dir).map_err(|e| at(&self.dir, e))?;
        let path = self.path(digest, BLOB);
        let file = open(&path, false).map_err(|e| at(&path, e))?;
        let good = self.good(&file, digest, size).map_err(|e| at(&path, e))?;
        file.set_len(size).map_err(|e| at(&path, e))?;
        // what is not good is not recorded any more
        let listed = self.path(digest, PIECES);
        let mut pieces = open(&listed, true).map_err(|e| at(&listed, e))?;
        pieces.set_len(0).map_err(|e| at(&listed, e))?;
        let records: Vec<u8> = good.iter().flat_map(record).collect();
        pieces.write_all(&records).map_err(|e| at(&listed, e))?;
        Ok((Spooled { file: Arc::new(file), pieces: Arc::new(pieces), path }, good))
    }

    fn good(&self, file: &File, digest: Digest, size: u64) -> io::Result<Vec<Piece>> {
        let records = match fs::read(self.path(digest, PIECES)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            records => records?,
        };
        let mut good = Vec::new();
        for piece in records.chunks_exact(RECORD).filter_map(read_record) {
            if piece.range.end <= size && crc_of(file, &piece.range).is_ok_and(|crc| crc == piece.crc) {
                good.push(piece);
            }
        }
        Ok(good)
    }

    /// Removes a blob's files. Blocks.
    pub fn remove(&self, digest: Digest) {
        for kind in [PIECES, BLOB] {
            let path = self.path(digest, kind);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "could not remove from the spool");
                }
                _ => {}
            }
        }
    }

    /// Removes these blobs' files: the engine has them.
    pub async fn clear(&self, blobs: Vec<Digest>) {
        let spool = self.clone();
        let removed = tokio::task::spawn_blocking(move || blobs.into_iter().for_each(|blob| spool.remove(blob)));
        if let Err(error) = removed.await {
            tracing::warn!(%error, "could not clear the spool");
        }
    }

    /// Everything in it; what is not there is empty. Blocks.
    pub fn entries(&self) -> Vec<Entry> {
        let Ok(files) = fs::read_dir(&*self.dir) else { return Vec::new() };
        let mut entries: Vec<Entry> = files.flatten().filter_map(|file| entry(&file.path())).collect();
        entries.sort_by_key(|entry| entry.digest);
        entries
    }

    /// Bytes on disk. Blocks.
    pub fn bytes(&self) -> Bytes {
        self.entries().iter().map(|entry| entry.bytes).sum()
    }

    /// Removes what nobody has written to for this long; gives what went. Blocks.
    pub fn sweep(&self, older_than: Duration, now: SystemTime) -> Vec<Entry> {
        let old = |entry: &Entry| now.duration_since(entry.changed).is_ok_and(|age| age >= older_than);
        let went: Vec<Entry> = self.entries().into_iter().filter(old).collect();
        went.iter().for_each(|entry| self.remove(entry.digest));
        went
    }

    fn path(&self, digest: Digest, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", digest.hex()))
    }
}

impl Spooled {
    /// Forgets all pieces: what was written is not what it should be. Blocks, shortly.
    pub(crate) fn forget(&self) -> Result<(), RelayError> {
        self.pieces.set_len(0).map_err(|e| at(&self.path, e))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Such an error, with where it happened.
pub(crate) fn at(path: &Path, cause: io::Error) -> RelayError {
    RelayError::Spool { path: path.display().to_string(), cause: cause.to_string() }
}

fn open(path: &Path, append: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).create(true).mode(0o600);
    if append {
        options.append(true)
    } else {
        options.write(true)
    };
    options.truncate(false).open(path)
}

fn entry(path: &Path) -> Option<Entry> {
    let hex = path.file_stem()?.to_str()?;
    let digest = format!("sha256:{hex}").parse().ok().filter(|_| path.extension().is_some_and(|e| e == BLOB))?;
    let meta = fs::metadata(path).ok()?;
    // sparse: what it takes, not how long it is
    Some(Entry { digest, bytes: Bytes(meta.blocks() * 512), changed: meta.modified().ok()? })
}

/// Writes a block at its place, and then takes it down: many may do so at once. Gives its CRC. Blocks.
pub(crate) fn write_block(file: &File, mut pieces: &File, start: u64, block: &[u8]) -> io::Result<crc32fast::Hasher> {
    file.write_all_at(block, start)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(block);
    let piece = Piece { range: start..start + block.len() as u64, crc: crc.clone().finalize() };
    // one write to a file that is only appended to: whole, or not there
    pieces.write_all(&record(&piece)).map(|()| crc)
}

fn record(piece: &Piece) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&piece.range.start.to_le_bytes());
    record[8..16].copy_from_slice(&(piece.range.end - piece.range.start).to_le_bytes());
    record[16..].copy_from_slice(&piece.crc.to_le_bytes());
    record
}

fn read_record(record: &[u8]) -> Option<Piece> {
    let start = u64::from_le_bytes(record.get(..8)?.try_into().ok()?);
    let length = u64::from_le_bytes(record.get(8..16)?.try_into().ok()?);
    let crc = u32::from_le_bytes(record.get(16..20)?.try_into().ok()?);
    let range = start..start.checked_add(length).filter(|end| *end > start)?;
    Some(Piece { range, crc })
}

pub(crate) fn crc_of(file: &File, range: &Range<u64>) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    each_block(file, range.clone(), |block| crc.update(block))?;
    Ok(crc.finalize())
}

/// Reads this range, block by block. Blocks.
pub(crate) fn each_block(file: &File, range: Range<u64>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut block, mut at) = (Vec::with_capacity(BLOCK), range.start);
    while at < range.end {
        let most = usize::try_from(range.end - at).unwrap_or(BLOCK).min(BLOCK);
        read_block(file, at, most, &mut block)?;
        take(&block);
        at += most as u64;
    }
    Ok(())
}

/// Fills the block with so many bytes from there on. Blocks.
pub(crate) fn read_block(file: &File, at: u64, length: usize, block: &mut Vec<u8>) -> io::Result<()> {
    block.clear();
    block.reserve_exact(length);
    while block.len() < length {
        // into what has not been written to: to clear it first would cost as much as half the reading
        let from = at + block.len() as u64;
        if rustix::io::pread(file, spare_capacity(block), from)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    block.truncate(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1000;

    fn written(spool: &Spool, digest: Digest, ranges: &[(u64, u64)]) {
        let (spooled, _) = spool.open(digest, SIZE).unwrap();
        for (start, end) in ranges {
            let bytes: Vec<u8> = (*start..*end).map(|at| at as u8).collect();
            write_block(&spooled.file, &spooled.pieces, *start, &bytes).unwrap();
        }
    }

    fn ranges(spool: &Spool, digest: Digest, size: u64) -> Vec<(u64, u64)> {
        spool.open(digest, size).unwrap().1.into_iter().map(|piece| (piece.range.start, piece.range.end)).collect()
    }

    #[test]
    fn what_was_written_is_found_again_and_what_is_damaged_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, digest) = (Spool::new(dir.path().join("spool")), Digest::of(b"x"));
        written(&spool, digest, &[(0, 100), (300, 400), (900, 1000)]);
        assert_eq!(ranges(&spool, digest, SIZE), [(0, 100), (300, 400), (900, 1000)]);
        let file = OpenOptions::new().write(true).open(spool.path(digest, BLOB)).unwrap();
        file.write_all_at(b"\xff", 350).unwrap();
        assert_eq!(ranges(&spool, digest, SIZE), [(0, 100), (900, 1000)]);
        assert_eq!(ranges(&spool, digest, SIZE), [(0, 100), (900, 1000)], "the damaged piece is no longer recorded");
        assert_eq!(ranges(&spool, digest, 950), [(0, 100)], "a piece beyond the blob's end is none of it");
    }

    #[test]
    fn half_a_record_and_a_file_without_bytes_are_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, digest) = (Spool::new(dir.path().to_owned()), Digest::of(b"x"));
        written(&spool, digest, &[(0, 100), (100, 200)]);
        let pieces = spool.path(digest, PIECES);
        let records = fs::read(&pieces).unwrap();
        fs::write(&pieces, &records[..RECORD + 7]).unwrap();
        assert_eq!(ranges(&spool, digest, SIZE), [(0, 100)]);
        // nothing at all, beyond the bytes that are here, has the right CRC
        let empty = record(&Piece { range: 900..900, crc: 0 });
        fs::write(&pieces, [&records[..RECORD], &empty].concat()).unwrap();
        assert_eq!(ranges(&spool, digest, SIZE), [(0, 100)]);
        fs::remove_file(spool.path(digest, BLOB)).unwrap();
        assert_eq!(ranges(&spool, digest, SIZE), []);
    }

    #[test]
    fn only_what_is_old_is_swept_and_strange_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().to_owned());
        fs::write(dir.path().join("notes.blob"), "mine").unwrap();
        written(&spool, Digest::of(b"x"), &[(0, 10)]);
        assert_eq!(spool.entries().len(), 1);
        assert!(spool.bytes() > Bytes::ZERO);
        let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
        assert_eq!(spool.sweep(hour, now), []);
        assert_eq!(spool.sweep(hour, now + 2 * hour).len(), 1);
        assert_eq!(spool.entries(), []);
        assert!(dir.path().join("notes.blob").exists());
    }

    #[test]
    fn others_may_not_look_into_it() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, digest) = (Spool::new(dir.path().join("spool")), Digest::of(b"x"));
        written(&spool, digest, &[(0, 10)]);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(spool.dir()), mode(&spool.path(digest, BLOB))), (0o700, 0o600));
    }
}
