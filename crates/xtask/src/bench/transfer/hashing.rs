//! What it costs to hash, which every byte that the relay hands on has to be: on this processor, by the same library.

use std::time::{Duration, Instant};

use ring::digest::SHA256;

use crate::bench::samples::Samples;

const PIECE: usize = 1 << 20;
const LEAST: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;

/// Seconds that one thread needs for a GB, in a few rounds; None where nothing was measured.
pub fn seconds_per_gb() -> Option<Samples> {
    let piece = vec![7; PIECE];
    Samples::new((0..ROUNDS).map(|_| {
        let mut hash = ring::digest::Context::new(&SHA256);
        let (begun, mut bytes) = (Instant::now(), 0);
        while begun.elapsed() < LEAST {
            hash.update(&piece);
            bytes += PIECE;
        }
        std::hint::black_box(hash.finish());
        begun.elapsed().as_secs_f64() * 1e9 / bytes as f64
    }))
}

/// Does the processor have instructions for it?
pub fn has_instructions() -> bool {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    processor.split_whitespace().any(|flag| flag == "sha_ni" || flag == "sha2")
}
