//! Records to be rendered, as a server in use has them.

use layerkeeper_http::wire::{ChangeView, JobView, PublicError, PublicJob, PublicReport};
use layerkeeper_keeper::Status;
use layerkeeper_keeper::status::{
    DiskStatus, EngineStatus, ForgottenStatus, FromMirrorStatus, LossStatus, RunningStatus, RuntimeStatus,
    SupersededStatus, TagStatus,
};
use layerkeeper_store::record::{
    AttemptRecord, ErrorRecord, KeptRecord, LayerRecordJson, Outcome, PhasesRecord, PruneRecord, PullRecord,
    RemovalRecord, TransferRecord,
};

use super::expected::estimate_record;
use super::kept::kept;

/// When all this is looked at.
pub const NOW: i64 = 1_795_489_200_000;
const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;

/// What a runtime is made of: a byte for its digest, its size, what made it.
pub const LAYERS: [(u8, u64, &str); 4] = [
    (0x1a, 1_204_000_000, "/bin/sh -c #(nop) ADD file:3c2f0e1c8a in / "),
    (
        0x2b,
        1_890_000_000,
        "RUN |1 TORCH=2.4 /bin/sh -c pip install torch==$TORCH --index-url https://download.example.net/whl/cu121 # buildkit",
    ),
    (0x3c, 104_000_000, "COPY --from=build /app/node_modules /app/node_modules # buildkit"),
    (0x4d, 214_000_000, "COPY . /app # buildkit"),
];

/// Of the content that is known by this byte.
pub fn digest(byte: u8) -> String {
    format!("sha256:{}", format!("{byte:02x}").repeat(32))
}

fn layers(moved: usize) -> Vec<LayerRecordJson> {
    let from = LAYERS.len() - moved;
    LAYERS
        .iter()
        .enumerate()
        .map(|(index, (byte, size, created_by))| LayerRecordJson {
            digest: digest(*byte),
            diff_id: Some(digest(byte + 1)),
            size: Some(*size),
            source: if index < from { "reused" } else { "downloaded" }.to_owned(),
            downloaded_bytes: if index < from { 0 } else { *size },
            created_by: Some((*created_by).to_owned()),
        })
        .collect()
}

fn pull(image: &str, moved: usize) -> PullRecord {
    let layers = layers(moved);
    let downloaded: u64 = layers.iter().map(|layer| layer.downloaded_bytes).sum();
    let whole: u64 = LAYERS.iter().map(|layer| layer.1).sum();
    PullRecord {
        image: image.to_owned(),
        digest: Some(digest(0xaa)),
        reused_bytes: whole - downloaded,
        downloaded_bytes: downloaded,
        overhead_bytes: 12_345,
        wasted_bytes: 0,
        reuse_ratio: Some((whole - downloaded) as f64 / whole as f64),
        certainty: "exact".to_owned(),
        doubts: Vec::new(),
        layers,
        estimate: Some(estimate_record("to fetch")),
        estimate_error_bytes: Some(0),
        attempts: vec![AttemptRecord {
            image: String::new(),
            moved_bytes: downloaded,
            duration_ms: 52_000,
            failure: None,
            cut: false,
            expected: None,
            transfer: None,
        }],
        duration_ms: 52_400,
        transfer: Some(TransferRecord {
            way: "relay".to_owned(),
            reason: "92 s by itself, 26 s through the relay, where one connection gives 4.00 MB/s, three give 12.0 MB/s and 16 give 64.0 MB/s".to_owned(),
            resumed_bytes: 96_000_000,
            ..TransferRecord::default()
        }),
        phases: Some(PhasesRecord { resolve_ms: 310, first_byte_ms: 800, download_ms: 41_200, extract_ms: 10_400 }),
    }
}

/// A deploy as it should be: one layer moved, one kept image was refreshed first, one old tag went.
pub fn deploy() -> Outcome {
    Outcome {
        summary: "ghcr.io/acme/app:sha-2 is here: 214 MB moved, 3.20 GB reused".to_owned(),
        kept: vec![PullRecord { downloaded_bytes: 2_100_000, ..pull("ghcr.io/acme/base:12.1", 0) }],
        pull: Some(pull("ghcr.io/acme/app:sha-2", 1)),
        digest: Some(digest(0xaa)),
        prune: Some(prune("removed")),
        moved_bytes: 216_124_690,
        budget_bytes: Some(300_000_000),
        ..Outcome::default()
    }
}

/// A deploy whose first attempt was cut, which went on from it, and of which not everything is sure.
pub fn doubted() -> Outcome {
    let mut pull = pull("ghcr.io/acme/app:sha-3", 2);
    pull.wasted_bytes = 96_000_000;
    pull.certainty = "inferred".to_owned();
    pull.doubts = vec![
        "layer 3c3c3c3c3c3c: was expected to be here, but the engine fetched it".to_owned(),
        "layer 4d4d4d4d4d4d: the engine went on from about 96.0 MB of an earlier attempt".to_owned(),
    ];
    pull.layers[3].downloaded_bytes = 118_000_000;
    pull.layers[0].size = None;
    pull.layers[0].created_by = None;
    pull.estimate = Some(estimate_record("unknown"));
    // the layer that was expected to be here
    pull.estimate_error_bytes = Some(104_000_000);
    pull.attempts.insert(
        0,
        AttemptRecord {
            image: String::new(),
            moved_bytes: 96_000_000,
            duration_ms: 21_000,
            failure: Some("the daemon ended in mid-pull".to_owned()),
            cut: true,
            expected: None,
            transfer: None,
        },
    );
    Outcome {
        summary: "ghcr.io/acme/app:sha-3 is here: 318 MB moved, 3.09 GB reused".to_owned(),
        pull: Some(pull),
        warnings: vec!["ghcr.io/acme/base:12.1 could not be refreshed: the registry answered 503".to_owned()],
        moved_bytes: 414_012_345,
        budget_bytes: Some(300_000_000),
        ..Outcome::default()
    }
}

/// A deploy of a tag that does not exist.
pub fn failed() -> Outcome {
    Outcome {
        error: Some(ErrorRecord {
            class: "not_found".to_owned(),
            message: "the registry does not have ghcr.io/acme/app:sha-9".to_owned(),
            detail: "manifest unknown\u{1b}[31m; was the image pushed?".to_owned(),
        }),
        ..Outcome::default()
    }
}

/// Two tags that go and two that stay.
pub fn prune(state: &str) -> PruneRecord {
    let done = state == "removed";
    PruneRecord {
        blocked: None,
        removals: vec![
            RemovalRecord {
                name: "ghcr.io/acme/app:sha-0".to_owned(),
                image_id: digest(0x10),
                reason: "older than the newest 3, last used 9d 2h ago".to_owned(),
                freed_bytes: 214_000_000,
                outcome: state.to_owned(),
                detail: String::new(),
            },
            RemovalRecord {
                name: "ghcr.io/acme/app:sha-00".to_owned(),
                image_id: digest(0x11),
                reason: "older than the newest 3, last used 12d 0h ago".to_owned(),
                freed_bytes: 0,
                outcome: if done { "held" } else { state }.to_owned(),
                detail: if done { "conflict: container web-old (exited) uses it" } else { "" }.to_owned(),
            },
        ],
        kept: vec![
            KeptRecord {
                name: "ghcr.io/acme/app:sha-2".to_owned(),
                image_id: digest(0xaa),
                class: "newest".to_owned(),
                reason: "1st of the newest 3".to_owned(),
            },
            KeptRecord {
                name: "ghcr.io/acme/app:sha-1".to_owned(),
                image_id: digest(0xbb),
                class: "held".to_owned(),
                reason: "container web (running) holds it".to_owned(),
            },
        ],
        freed_bytes: if done { 214_000_000 } else { 0 },
    }
}

/// Nothing may go now.
pub fn blocked() -> PruneRecord {
    PruneRecord {
        blocked: Some("the daemon reconnected to the engine, and no deploy has succeeded since".to_owned()),
        ..PruneRecord::default()
    }
}

/// All is well.
pub fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        started_at: NOW - 76 * HOUR,
        now: NOW,
        ready: true,
        engine: EngineStatus {
            up: true,
            error: None,
            version: "20.10.24+dfsg1".to_owned(),
            store: "graphdriver".to_owned(),
            driver: "overlay2".to_owned(),
            platform: "linux/amd64".to_owned(),
            images: 14,
            seen_at: Some(NOW - 12_000),
        },
        kept: kept(),
        runtime: vec![RuntimeStatus {
            repository: "ghcr.io/acme/app".to_owned(),
            tags: vec![
                TagStatus {
                    image: "ghcr.io/acme/app:sha-2".to_owned(),
                    digest: Some(digest(0xaa)),
                    deploy: Some(7),
                    deployed_at: Some(NOW - 30 * MINUTE),
                    first_seen: Some(NOW - 30 * MINUTE),
                    held_by: vec!["web".to_owned(), "worker-1".to_owned()],
                },
                TagStatus {
                    image: "ghcr.io/acme/app:sha-1".to_owned(),
                    digest: None,
                    deploy: None,
                    deployed_at: None,
                    first_seen: Some(NOW - 50 * HOUR),
                    held_by: Vec::new(),
                },
            ],
            download_budget: 300_000_000,
        }],
        disk: vec![DiskStatus {
            path: "/var/lib/docker".to_owned(),
            free_bytes: 21_400_000_000,
            total_bytes: 80_000_000_000,
            free_inodes: 4_000_000,
            min_free_bytes: 4_000_000_000,
            error: None,
        }],
        ..Status::default()
    }
}

/// Nothing is well.
pub fn trouble() -> Status {
    let mut status = status();
    status.ready = false;
    status.engine.up = false;
    status.engine.error = Some("connection refused on /run/docker.sock".to_owned());
    status.kept[0].present = false;
    status.kept[0].finding = "absent".to_owned();
    status.kept[0].digest = None;
    status.kept[0].last_error = Some("the registry answered 503".to_owned());
    status.disk[0].free_bytes = 1_200_000_000;
    status.queued = 2;
    status.running = Some(RunningStatus {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        intent: "heal ghcr.io/acme/base:12.1".to_owned(),
        started_at: Some(NOW - 200_000),
    });
    status.superseded = vec![SupersededStatus {
        reference: format!("ghcr.io/acme/base@{}", digest(0x99)),
        was: "ghcr.io/acme/base:12.1".to_owned(),
        size: Some(1_204_000_000),
        at: NOW - 3 * 24 * HOUR,
    }];
    status.superseded_bytes = 1_204_000_000;
    status.prune_blocked = Some("the engine does not answer".to_owned());
    let loss = |image: &str, next_try, slowed| LossStatus {
        image: image.to_owned(),
        kept: true,
        cause: "prune".to_owned(),
        said: "somebody pruned images on this engine".to_owned(),
        at: NOW - 90_000,
        next_try,
        slowed,
    };
    status.losses = vec![
        loss("ghcr.io/acme/base:12.1", None, false),
        loss("ghcr.io/acme/app:cache-node", Some(NOW + 50 * 60_000), true),
    ];
    status.forgotten = vec![ForgottenStatus {
        image: "ghcr.io/acme/app:sha-0".to_owned(),
        who: "uid 1000".to_owned(),
        reason: "forget".to_owned(),
        at: NOW - 2 * HOUR,
    }];
    status.from_mirrors = vec![FromMirrorStatus {
        image: "ghcr.io/acme/app:sha-3".to_owned(),
        digest: digest(0x77),
        source: "mirror.lan:5000".to_owned(),
        at: NOW - 20 * MINUTE,
    }];
    status.spool_bytes = 412_000_000;
    status
}

/// One waits, one succeeded, one was superseded, one failed.
pub fn jobs() -> Vec<JobView> {
    let job = |seq: u64, state: &str, tag: &str| JobView {
        id: format!("{seq:032x}"),
        seq,
        kind: "deploy".to_owned(),
        intent: format!("deploy ghcr.io/acme/app:{tag}"),
        image: Some(format!("ghcr.io/acme/app:{tag}")),
        digest: None,
        trigger: "webhook ci-4711".to_owned(),
        state: state.to_owned(),
        not_before: None,
        attempts: 1,
        created: NOW - 2 * MINUTE,
        started: Some(NOW - 2 * MINUTE),
        finished: Some(NOW - MINUTE),
        superseded_by: None,
        outcome: Outcome::default(),
    };
    vec![
        JobView {
            not_before: Some(NOW + 30_000),
            created: NOW - 10_000,
            started: None,
            finished: None,
            ..job(4, "queued", "sha-4")
        },
        JobView { outcome: deploy(), ..job(3, "succeeded", "sha-2") },
        JobView { superseded_by: Some(format!("{:032x}", 3)), started: None, ..job(2, "superseded", "sha-1") },
        JobView { outcome: failed(), trigger: "operator (uid 1000)".to_owned(), ..job(1, "failed", "sha-9") },
    ]
}

/// What CI learns of a deploy that failed after a kept image was refreshed.
pub fn public_job() -> PublicJob {
    let outcome = Outcome { pull: None, warnings: vec!["x".to_owned()], ..deploy() };
    PublicJob {
        id: format!("{:032x}", 3),
        image: Some("ghcr.io/acme/app:sha-9".to_owned()),
        state: "failed".to_owned(),
        report: Some(PublicReport::from(&outcome)),
        error: Some(PublicError { class: "not_found".to_owned(), message: "the registry does not have it".to_owned() }),
        superseded_by: None,
    }
}

/// A deploy that went well, as its sender sees it; its image has a name that would break a table.
pub fn public_shipped() -> PublicJob {
    let outcome = deploy();
    PublicJob {
        image: Some("ghcr.io/acme/app:sha-2|`x`".to_owned()),
        state: "succeeded".to_owned(),
        report: Some(PublicReport::from(&outcome)),
        error: None,
        ..public_job()
    }
}

/// A name that stood for two images and went, and one that was made here; the newest first.
pub fn changes() -> Vec<ChangeView> {
    let change = |hours: i64, name: &str, byte: Option<u8>| ChangeView {
        at: NOW - hours * HOUR,
        name: format!("ghcr.io/acme/{name}"),
        image_id: byte.map(digest),
        digest: byte.filter(|byte| *byte != 0x10).map(|byte| digest(byte + 1)),
        layers: byte.map(|byte| vec![digest(byte), digest(byte + 2)]).unwrap_or_default(),
        job: byte.filter(|byte| *byte == 0xaa).map(|_| format!("{:032x}", 3)),
        reason: byte.is_none().then(|| {
            "layerkeeper removed it (removed: older than the newest 3, last used 9d 2h ago (freed 214 MB))".to_owned()
        }),
    };
    vec![
        change(2, "app:sha-2", Some(0xaa)),
        change(5, "made:here", Some(0x10)),
        change(26, "app:sha-2", None),
        change(50, "app:sha-2", Some(0xbb)),
    ]
}
