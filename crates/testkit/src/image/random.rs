//! Content that no compression makes smaller, the same for the same seed.

use layerkeeper_core::Bytes;

/// This many files in a directory, `size` bytes in all.
pub fn files(directory: &str, seed: u64, count: usize, size: Bytes) -> Vec<(String, Vec<u8>)> {
    let (count, size) = (count.max(1), size.0 as usize);
    let length = |index: usize| size / count + usize::from(index < size % count);
    let file = |index| (format!("{directory}/{index:04}.bin"), bytes(seed ^ (index as u64) << 32, length(index)));
    (0..count).map(file).collect()
}

/// Bytes by SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    out.truncate(length);
    out
}
