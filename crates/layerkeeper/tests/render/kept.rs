//! Kept images to be rendered: one as it should be, one whose tag moved on from its pin, one that came without what is expected.

use layerkeeper_keeper::status::KeptStatus;

use super::sample::{HOUR, NOW, digest};

/// Three of them.
pub fn kept() -> Vec<KeptStatus> {
    vec![
        KeptStatus {
            image: "ghcr.io/acme/base:12.1".to_owned(),
            present: true,
            finding: "present".to_owned(),
            digest: Some(digest(0x1a)),
            last_refresh: Some(NOW - 4 * HOUR),
            next_run: Some(NOW + 20 * HOUR),
            ..KeptStatus::default()
        },
        KeptStatus {
            image: "ghcr.io/acme/cache-python:3".to_owned(),
            present: true,
            finding: "present".to_owned(),
            digest: Some(digest(0x2b)),
            pin: Some(digest(0x2b)),
            pin_unresolvable: true,
            tag_shows: Some(digest(0x4d)),
            last_refresh: None,
            next_run: None,
            ..KeptStatus::default()
        },
        KeptStatus {
            image: "ghcr.io/acme/cuda:12.1.1".to_owned(),
            present: true,
            finding: "present".to_owned(),
            digest: Some(digest(0x3c)),
            unmet: vec![
                "package libcudnn8 (wanted: 8.9.*) is not installed".to_owned(),
                "file /usr/lib/x86_64-linux-gnu/libcudnn.so.8 is not there".to_owned(),
            ],
            unmet_digest: Some(digest(0x4d)),
            last_refresh: Some(NOW - 28 * HOUR),
            last_error: Some("the same in other words".to_owned()),
            next_run: Some(NOW + 20 * HOUR),
            ..KeptStatus::default()
        },
    ]
}
