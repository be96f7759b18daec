//! What a pull would move, and why.

use layerkeeper::cli::plan::Against;
use layerkeeper_keeper::Estimated;
use layerkeeper_store::record::{CauseRecord, EstimateRecord, LayerEstimateRecord, ShareRecord};

use super::sample::{LAYERS, digest};

/// What a deploy would move.
pub fn estimated() -> Estimated {
    Estimated {
        image: "ghcr.io/acme/app:sha-2".to_owned(),
        digest: digest(0xaa),
        platform: "linux/amd64".to_owned(),
        digest_here: None,
        up_to_date: false,
        estimate: estimate_record("to fetch"),
        budget_bytes: Some(300_000_000),
        limit_bytes: None,
    }
}

/// The same, where one layer came from elsewhere.
pub fn estimated_with_unknowns() -> Estimated {
    Estimated {
        digest_here: Some(digest(0xbb)),
        estimate: estimate_record("unknown"),
        budget_bytes: Some(200_000_000),
        limit_bytes: Some(1_000_000_000),
        ..estimated()
    }
}

/// What a build moves to a server that has the last one.
pub fn against() -> Against {
    Against {
        image: "ghcr.io/acme/app:sha-2".to_owned(),
        digest: digest(0xaa),
        against: "ghcr.io/acme/app:sha-1".to_owned(),
        against_digest: digest(0xbb),
        platform: "linux/amd64".to_owned(),
        store: "graphdriver".to_owned(),
        estimate: EstimateRecord { shares: Vec::new(), peak_bytes: None, ..estimate_record("to fetch") },
    }
}

/// What is expected of an image whose last layer is that.
pub fn estimate_record(last: &str) -> EstimateRecord {
    let whole: u64 = LAYERS.iter().map(|layer| layer.1).sum();
    let last_size = LAYERS[3].1;
    EstimateRecord {
        total_bytes: whole,
        here_bytes: whole - last_size,
        fetch_bytes_least: if last == "to fetch" { last_size } else { 0 },
        fetch_bytes_most: last_size,
        layers: LAYERS
            .iter()
            .enumerate()
            .map(|(index, (byte, size, created_by))| LayerEstimateRecord {
                digest: digest(*byte),
                diff_id: digest(byte + 1),
                size: *size,
                presence: if index < 3 { "here" } else { last }.to_owned(),
                created_by: Some((*created_by).to_owned()),
                causes: if index < 3 { Vec::new() } else { causes() },
            })
            .collect(),
        peak_bytes: Some(856_000_000),
        compared_with: Some("ghcr.io/acme/app:sha-1".to_owned()),
        shares: vec![
            share("ghcr.io/acme/base:12.1", true, LAYERS[0].1, 1),
            share("ghcr.io/acme/cache-python:1", false, 0, 0),
        ],
    }
}

fn share(image: &str, here: bool, bytes: u64, layers: usize) -> ShareRecord {
    ShareRecord { image: image.to_owned(), here, bytes, layers }
}

fn causes() -> Vec<CauseRecord> {
    let cause = |cause: &str, why: &str, advice: &str| CauseRecord {
        cause: cause.to_owned(),
        why: why.to_owned(),
        at: None,
        advice: Some(advice.to_owned()),
    };
    vec![
        cause(
            "differs",
            "the first layer that differs from ghcr.io/acme/app:sha-1: the same instruction made other content",
            "the files that it copies have changed; copy what changes often after what changes seldom",
        ),
        cause(
            "repeats files",
            "it repeats 99 % of its files' bytes from ghcr.io/acme/cache-python:1 (212 MB of 214 MB, 812 of 815 files): \
             same path, same content, another layer",
            "build the last stage FROM the image that has the files (ghcr.io/acme/cache-python:1)",
        ),
    ]
}
