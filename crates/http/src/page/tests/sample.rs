//! A host where much has happened.

use layerkeeper_keeper::status::{
    DiskStatus, EngineStatus, ForgottenStatus, FromMirrorStatus, KeptStatus, LossStatus, RunningStatus, RuntimeStatus,
    SupersededStatus, TagStatus,
};
use layerkeeper_keeper::{LayerLine, Phase, Progress, Status};
use layerkeeper_store::record::{
    ErrorRecord, EstimateRecord, KeptRecord, LayerRecordJson, Outcome, PruneRecord, PullRecord, RemovalRecord,
    SourceRecord,
};

use crate::page::PageData;
use crate::wire::{EventView, JobView};

/// 2026-11-24 03:20 UTC.
pub const NOW: i64 = 1_795_490_400_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Some digest.
pub fn digest(of: &str) -> String {
    layerkeeper_core::Digest::of(of.as_bytes()).to_string()
}

/// The data.
pub fn sample() -> PageData {
    PageData {
        status: status(),
        deploys: vec![
            deploy("sha-9f3c2aa", "running", 1, Outcome::default()),
            deploy("sha-1a2b3c4", "succeeded", 62, Outcome { pull: Some(pull()), ..over_budget() }),
            deploy("sha-0000001", "failed", 200, failed()),
            deploy("sha-77aa001", "succeeded", 1600, Outcome::default()),
        ],
        events: vec![
            event(9, "heal", "cache-node:20 was removed by a prune and is here again"),
            event(62, "pruned", "ghcr.io/acme/app:sha-77aa000 is gone, 214 MB freed"),
        ],
        progress: Some(Progress {
            image: Some("ghcr.io/acme/app:sha-9f3c2aa".into()),
            layers: vec![
                line("0f0f0f0f0f0f", "reused", 0, None),
                LayerLine {
                    from: [("mirror.lan:5000", 47_000_000), ("ghcr.io", 14_000_000)].map(gave).to_vec(),
                    ..line("1a1a1a1a1a1a", "downloading", 61_000_000, Some(214_000_000))
                },
                line("2b2b2b2b2b2b", "complete", 900, Some(900)),
            ],
            phase: Phase::Pulling,
            moved_bytes: 61_000_900,
            ..Progress::of_state(layerkeeper_core::JobState::Running)
        }),
    }
}

fn losses() -> Vec<LossStatus> {
    vec![LossStatus {
        image: "ghcr.io/acme/base-images/cache-node:20".into(),
        kept: true,
        cause: "prune".into(),
        said: "somebody pruned images on this engine".into(),
        at: NOW - 30_000,
        next_try: Some(NOW + 50 * 60_000),
        slowed: true,
    }]
}

fn forgotten() -> Vec<ForgottenStatus> {
    vec![ForgottenStatus {
        image: "ghcr.io/acme/app:sha-0badbad".into(),
        who: "uid 1000".into(),
        reason: "forget".into(),
        at: NOW - 2 * HOUR,
    }]
}

fn kept() -> Vec<KeptStatus> {
    let kept = |name: &str, minutes: i64| KeptStatus {
        image: format!("ghcr.io/acme/base-images/{name}"),
        present: true,
        finding: "present".into(),
        digest: Some(digest(name)),
        last_refresh: Some(NOW - minutes * MINUTE),
        next_run: Some(NOW + 23 * HOUR),
        schedule: "0 0 3 * * * Asia/Shanghai".into(),
        ..KeptStatus::default()
    };
    let pinned = kept("cuda:12.1.1-cudnn8-runtime-ubuntu22.04", 20);
    vec![
        KeptStatus { pin: pinned.digest.clone(), pin_unresolvable: true, ..pinned },
        KeptStatus { last_error: Some("ghcr.io: 429, asks to wait 60 s".into()), ..kept("cache-python:3.11", 1460) },
        KeptStatus {
            unmet: vec!["package libcudnn8 (wanted: 8.9.*) is not installed".into()],
            unmet_digest: Some(digest("cuda without cudnn")),
            ..kept("cuda:12.1.1", 1460)
        },
        KeptStatus { present: false, finding: "absent".into(), digest: None, ..kept("cache-node:20", 1460) },
    ]
}

fn status() -> Status {
    let tag = |tag: &str, deploy: u64, held: &[&str]| TagStatus {
        image: format!("ghcr.io/acme/app:{tag}"),
        digest: Some(digest(tag)),
        deploy: Some(deploy),
        deployed_at: Some(NOW - 62 * MINUTE),
        first_seen: Some(NOW - 62 * MINUTE),
        held_by: held.iter().map(|h| (*h).to_owned()).collect(),
    };
    let disk = |path: &str, free: u64| DiskStatus {
        path: path.into(),
        free_bytes: free,
        total_bytes: 40_000_000_000,
        free_inodes: 2_400_000,
        min_free_bytes: 4_000_000_000,
        error: None,
    };
    Status {
        version: "0.1.0".into(),
        started_at: NOW - 75 * HOUR,
        now: NOW,
        ready: true,
        engine: EngineStatus {
            up: true,
            version: "20.10.24+dfsg1".into(),
            store: "graphdriver".into(),
            driver: "overlay2".into(),
            platform: "linux/amd64".into(),
            images: 11,
            seen_at: Some(NOW - 4000),
            ..EngineStatus::default()
        },
        kept: kept(),
        runtime: vec![RuntimeStatus {
            repository: "ghcr.io/acme/app".into(),
            tags: vec![
                tag("sha-1a2b3c4", 7, &["app_web_1", "app_worker_1"]),
                TagStatus { deploy: None, deployed_at: None, ..tag("sha-old", 0, &[]) },
            ],
            download_budget: 300_000_000,
        }],
        disk: vec![disk("/var/lib/docker", 11_300_000_000), disk("/var/lib/containerd", 3_100_000_000)],
        queued: 2,
        running: Some(RunningStatus {
            id: "00000000000000000000000000000007".into(),
            intent: "deploy ghcr.io/acme/app:sha-9f3c2aa".into(),
            started_at: Some(NOW - 41_000),
        }),
        superseded: vec![SupersededStatus {
            reference: format!("ghcr.io/acme/base-images/cache-python@{}", digest("old")),
            was: "ghcr.io/acme/base-images/cache-python:3.11".into(),
            size: Some(1_210_000_000),
            at: NOW - 26 * HOUR,
        }],
        superseded_bytes: 1_210_000_000,
        last_prune: Some(prune()),
        prune_blocked: None,
        losses: losses(),
        forgotten: forgotten(),
        from_mirrors: vec![FromMirrorStatus {
            image: "ghcr.io/acme/app:sha-9f3c2aa".into(),
            digest: digest("mirrored"),
            source: "mirror.lan:5000".into(),
            at: NOW - HOUR,
        }],
        spool_bytes: 412_000_000,
    }
}

/// What went and what stayed.
pub fn prune() -> PruneRecord {
    let removal = |tag: &str, outcome: &str, detail: &str| RemovalRecord {
        name: format!("ghcr.io/acme/app:{tag}"),
        image_id: digest(tag),
        reason: "older than the newest 3, 9 days old".into(),
        freed_bytes: 214_000_000,
        outcome: outcome.into(),
        detail: detail.into(),
    };
    let kept = |tag: &str, class: &str, reason: &str| KeptRecord {
        name: format!("ghcr.io/acme/app:{tag}"),
        image_id: digest(tag),
        class: class.into(),
        reason: reason.into(),
    };
    PruneRecord {
        blocked: None,
        removals: vec![
            removal("sha-77aa000", "removed", ""),
            removal("sha-66bb000", "held", "container app_old holds it"),
        ],
        kept: vec![
            kept("sha-1a2b3c4", "newest", "no. 1 of the newest 3"),
            kept("sha-55cc000", "held", "held by container app_worker_1 (exited)"),
        ],
        freed_bytes: 214_000_000,
    }
}

fn pull() -> PullRecord {
    let layer = |n: u64, source: &str, size: u64| LayerRecordJson {
        digest: digest(&n.to_string()),
        diff_id: None,
        size: Some(size),
        source: source.into(),
        downloaded_bytes: if source == "downloaded" { size } else { 0 },
        created_by: None,
    };
    PullRecord {
        image: "ghcr.io/acme/app:sha-1a2b3c4".into(),
        digest: Some(digest("app")),
        reused_bytes: 3_190_000_000,
        downloaded_bytes: 214_000_000,
        overhead_bytes: 9_300,
        wasted_bytes: 120_000_000,
        reuse_ratio: Some(0.937),
        certainty: "inferred".into(),
        doubts: vec!["the stream said less than the manifest about layer 2b2b2b2b2b2b".into()],
        layers: vec![
            layer(1, "reused", 3_000_000_000),
            layer(2, "reused", 190_000_000),
            layer(3, "downloaded", 214_000_000),
        ],
        estimate: Some(EstimateRecord {
            total_bytes: 3_404_000_000,
            here_bytes: 3_190_000_000,
            fetch_bytes_least: 214_000_000,
            fetch_bytes_most: 260_000_000,
            ..EstimateRecord::default()
        }),
        estimate_error_bytes: Some(0),
        attempts: Vec::new(),
        duration_ms: 61_000,
        transfer: None,
        phases: None,
    }
}

fn over_budget() -> Outcome {
    let kept = PullRecord { downloaded_bytes: 31_000_000, wasted_bytes: 0, ..pull() };
    Outcome {
        kept: vec![kept],
        moved_bytes: 365_018_600,
        budget_bytes: Some(300_000_000),
        warnings: vec!["cache-python:3.11 could not be refreshed: 429".into()],
        ..Outcome::default()
    }
}

fn failed() -> Outcome {
    let error = ErrorRecord {
        class: "not_found".into(),
        message: "the registry has no such tag".into(),
        detail: "GET https://ghcr.io/v2/acme/app/manifests/sha-0000001: 404 MANIFEST_UNKNOWN".into(),
    };
    Outcome { error: Some(error), ..Outcome::default() }
}

/// A deploy so many minutes ago.
pub fn deploy(tag: &str, state: &str, minutes: i64, outcome: Outcome) -> JobView {
    let is_final = state != "running";
    JobView {
        id: "00000000000000000000000000000007".into(),
        seq: 7,
        kind: "deploy".into(),
        intent: format!("deploy ghcr.io/acme/app:{tag}"),
        image: Some(format!("ghcr.io/acme/app:{tag}")),
        digest: None,
        trigger: "webhook msg_2KWPBgLlAfxdpx2AI54pPJ85f4W".into(),
        state: state.into(),
        not_before: None,
        attempts: 1,
        created: NOW - minutes * MINUTE - 1000,
        started: Some(NOW - minutes * MINUTE),
        finished: is_final.then(|| NOW - minutes * MINUTE + 45_000),
        superseded_by: None,
        outcome,
    }
}

fn event(minutes: i64, kind: &str, message: &str) -> EventView {
    EventView { at: NOW - minutes * MINUTE, kind: kind.into(), subject: None, job: None, message: message.into() }
}

fn gave((source, bytes): (&str, u64)) -> SourceRecord {
    SourceRecord { source: source.into(), bytes }
}

fn line(id: &str, status: &str, current: u64, total: Option<u64>) -> LayerLine {
    LayerLine { id: id.into(), status: status.into(), current, total, from: Vec::new() }
}
