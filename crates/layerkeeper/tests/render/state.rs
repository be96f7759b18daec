//! States of a host: whole, and damaged.

use std::collections::BTreeMap;

use layerkeeper_store::inspect::{Buried, Gate, LastDeploy, Unfinished};
use layerkeeper_store::{StateSummary, Verdict};

use super::sample::NOW;

const HOUR: i64 = 3_600_000;

/// A busy host.
pub fn whole() -> StateSummary {
    let unfinished = |state: &str, kind: &str, image: Option<&str>, ago, not_before, attempts| Unfinished {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        state: state.to_owned(),
        kind: kind.to_owned(),
        image: image.map(str::to_owned),
        created: NOW - ago,
        not_before,
        attempts,
    };
    StateSummary {
        file: "/var/lib/layerkeeper/layerkeeper.db".into(),
        verdict: Verdict::Fine,
        problem: None,
        damage: Vec::new(),
        unread: Vec::new(),
        bytes: 1_200_000,
        wal_bytes: 41_232,
        version: Some(1),
        known_version: 1,
        rows: numbers(&[("deploys", 12), ("events", 310), ("jobs", 204), ("prune_gate", 1)]),
        jobs: numbers(&[("queued", 2), ("running", 1), ("succeeded", 201)]),
        unfinished: vec![
            unfinished("running", "deploy", Some("ghcr.io/acme/app:sha-1a2b3c4"), 90_000, None, 1),
            unfinished("queued", "warm", Some("docker.io/library/nginx:1.27"), HOUR, Some(NOW + 30_000), 3),
            unfinished("queued", "prune", None, 5_000, None, 0),
        ],
        oldest: Some(NOW - 90 * 24 * HOUR),
        newest: Some(NOW - 1_000),
        deploys: vec![LastDeploy {
            repository: "ghcr.io/acme/app".to_owned(),
            image: "ghcr.io/acme/app:sha-0f0f0f0".to_owned(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            seq: 41,
            at: NOW - 26 * HOUR,
        }],
        tombstones: vec![Buried {
            image: "ghcr.io/acme/cache:node".to_owned(),
            who: "uid 1000".to_owned(),
            reason: "forgotten by an operator".to_owned(),
            at: NOW - 48 * HOUR,
        }],
        prune_gate: Some(Gate { since: NOW - 2 * HOUR, reason: "the engine was away".to_owned() }),
    }
}

/// A host whose disk has lost a page.
pub fn damaged() -> StateSummary {
    StateSummary {
        verdict: Verdict::Damaged,
        problem: Some("/var/lib/layerkeeper/layerkeeper.db is damaged; move it away".to_owned()),
        damage: vec!["Tree 20 page 20: btreeInitPage() returns error code 11".to_owned()],
        unread: vec!["tombstones: database disk image is malformed".to_owned()],
        rows: numbers(&[("jobs", 204)]),
        jobs: numbers(&[("succeeded", 204)]),
        unfinished: Vec::new(),
        deploys: Vec::new(),
        tombstones: Vec::new(),
        prune_gate: None,
        wal_bytes: 0,
        ..whole()
    }
}

fn numbers(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
}
