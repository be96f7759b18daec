//! Doors for the fuzz targets onto what reads strangers' bytes. Nothing else uses them.

use std::ops::Range;

use layerkeeper_core::Digest;

use crate::error::RelayError;
use crate::serve::range::{Asked, asked};
use crate::spool::Spool;

/// What a `Range` header asks of a blob of this size: `Ok(None)` for all of it, `Err` for bytes that it does not have.
#[allow(clippy::result_unit_err, reason = "there is nothing more to say")]
pub fn range(header: &str, size: u64) -> Result<Option<Range<u64>>, ()> {
    match asked(Some(header), size) {
        Asked::Whole => Ok(None),
        Asked::Part(range) => Ok(Some(range)),
        Asked::Beyond => Err(()),
    }
}

/// What of a blob the spool takes up again.
///
/// # Errors
/// The spool cannot be read or written.
pub fn taken_up(spool: &Spool, digest: Digest, size: u64) -> Result<Vec<Range<u64>>, RelayError> {
    Ok(spool.open(digest, size)?.1.into_iter().map(|piece| piece.range).collect())
}
