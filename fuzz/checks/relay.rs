//! What the relay reads of strangers: the `Range` of a request, a registry's `Content-Range` (RFC 9110, 14), and the spool's
//! records as a crash or a disk left them. Whatever comes out of them lies within the blob, and of the spool only what is there.

use std::fs;
use std::ops::Range;

use layerkeeper_core::Digest;
use layerkeeper_relay::Spool;
use layerkeeper_relay::fuzz::{range, taken_up};

/// What lies in the spool's blob; its size by the manifest may be another.
const HERE: usize = 1000;
const RECORD: usize = 20;

/// The first byte says what the rest is.
pub fn check(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 3 {
        0 => request(&String::from_utf8_lossy(rest)),
        1 => answer(&String::from_utf8_lossy(rest)),
        _ => spool(rest),
    }
}

fn request(header: &str) {
    for size in [0, 1, 1000, u64::MAX] {
        if let Ok(Some(part)) = range(header, size) {
            assert!(part.start < part.end && part.end <= size, "{header:?} of {size} is {part:?}");
            let printed = format!("bytes={}-{}", part.start, part.end - 1);
            assert_eq!(range(&printed, size), Ok(Some(part)), "{header:?} does not survive printing");
        }
    }
}

fn answer(header: &str) {
    let Some((first, last, total)) = layerkeeper_registry::fuzz::content_range(header) else { return };
    assert!(first <= last && total.is_none_or(|total| last < total), "{header:?}");
    let total = total.map_or("*".to_owned(), |total| total.to_string());
    let printed = format!("bytes {first}-{last}/{total}");
    let read = layerkeeper_registry::fuzz::content_range(&printed);
    assert!(read.is_some_and(|read| (read.0, read.1) == (first, last)), "{header:?} does not survive printing");
}

/// Two bytes of size, then the file of records.
fn spool(input: &[u8]) {
    let Some((size, records)) = input.split_first_chunk::<2>() else { return };
    let size = u64::from(u16::from_le_bytes(*size) % 2000);
    let dir = std::env::temp_dir().join(format!("layerkeeper-fuzz-{}", std::process::id()));
    let digest = Digest::of(b"fuzz");
    let blob: Vec<u8> = (0..HERE).map(|at| at as u8).collect();
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join(format!("{}.blob", digest.hex())), &blob).expect("a file");
    fs::write(dir.join(format!("{}.pieces", digest.hex())), records).expect("a file");
    let expected: Vec<Range<u64>> = records.chunks_exact(RECORD).filter_map(|one| good(one, &blob, size)).collect();
    let spool = Spool::new(dir.clone());
    let found = taken_up(&spool, digest, size).expect("the spool can be read");
    assert_eq!(found, expected);
    assert_eq!(taken_up(&spool, digest, size).expect("the spool can be read"), found, "what was taken up stays");
    fs::remove_dir_all(dir).expect("the folder can be removed");
}

fn good(record: &[u8], blob: &[u8], size: u64) -> Option<Range<u64>> {
    let number = |at: usize| record[at..at + 8].iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    let (start, length) = (number(0), number(8));
    let end = start.checked_add(length).filter(|end| start < *end && *end <= size && *end <= blob.len() as u64)?;
    let crc = record[16..20].iter().rev().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
    (crc32(&blob[start as usize..end as usize]) == crc).then_some(start..end)
}

/// CRC-32 as in ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)))
    })
}
