//! A deploy with everything that a record can hold, one that was refused, and what names stood for.

use layerkeeper_store::record::{
    AttemptRecord, CauseRecord, ErrorRecord, EstimateRecord, LayerEstimateRecord, LayerRecordJson, Outcome,
    PhasesRecord, PullRecord, ShareRecord, TransferRecord,
};

use super::sample::{NOW, deploy, digest, prune};
use crate::page::names::NamesData;
use crate::wire::{ChangeView, JobView};

/// Size in MB, presence before the pull, and what made the layer.
const LAYERS: [(u64, &str, &str); 5] = [
    (29, "here", "/bin/sh -c #(nop) ADD file:5d1f in / "),
    (1_180, "here", "RUN /bin/sh -c apt-get update && apt-get install -y cudnn8 # buildkit"),
    (2_010, "here", "RUN /bin/sh -c pip install -r requirements.txt # buildkit"),
    (318, "to fetch", "COPY --from=python-deps /opt/venv /opt/venv # buildkit"),
    (12, "to fetch", "COPY . /app # buildkit"),
];

fn cause(word: &str, why: &str, advice: Option<&str>) -> CauseRecord {
    CauseRecord { cause: word.into(), why: why.into(), at: None, advice: advice.map(str::to_owned) }
}

fn causes(at: usize) -> Vec<CauseRecord> {
    let copy = "build the last stage FROM the image that has the files instead of copying them out of it";
    let measured = "it repeats 99 % of its files' bytes from ghcr.io/acme/base-images/cache-python:3.11";
    match at {
        3 => vec![
            cause("on top", "it is new on top of ghcr.io/acme/base-images/cache-node:20, which is here whole", None),
            cause("repeats files", measured, Some(copy)),
        ],
        4 => vec![cause("above", "it stands above layer 4, which moves", None)],
        _ => Vec::new(),
    }
}

fn estimate() -> EstimateRecord {
    let layer = |(at, (size, presence, made)): (usize, &(u64, &str, &str))| LayerEstimateRecord {
        digest: digest(made),
        diff_id: digest(presence),
        size: size * 1_000_000,
        presence: (*presence).into(),
        created_by: Some((*made).into()),
        causes: causes(at),
    };
    let share = |image: &str, here: bool, megabytes: u64, layers: usize| ShareRecord {
        image: format!("ghcr.io/acme/base-images/{image}"),
        here,
        bytes: megabytes * 1_000_000,
        layers,
    };
    EstimateRecord {
        total_bytes: 3_549_000_000,
        here_bytes: 3_219_000_000,
        fetch_bytes_least: 330_000_000,
        fetch_bytes_most: 330_000_000,
        peak_bytes: Some(1_120_000_000),
        compared_with: Some("ghcr.io/acme/base-images/cache-node:20".into()),
        shares: vec![share("cuda:12.1.1", true, 1_209, 2), share("cache-node:20", false, 0, 0)],
        layers: LAYERS.iter().enumerate().map(layer).collect(),
    }
}

fn pull(image: &str, error: i64) -> PullRecord {
    let layer = |(size, presence, made): &(u64, &str, &str)| LayerRecordJson {
        digest: digest(made),
        diff_id: None,
        size: Some(size * 1_000_000),
        source: if *presence == "here" { "reused" } else { "downloaded" }.into(),
        downloaded_bytes: if *presence == "here" { 0 } else { size * 1_000_000 },
        created_by: Some((*made).into()),
    };
    let failed = AttemptRecord {
        moved_bytes: 96_000_000,
        duration_ms: 21_000,
        failure: Some("the connection to the registry was reset".into()),
        ..AttemptRecord::default()
    };
    let done = AttemptRecord { moved_bytes: 334_200_000, duration_ms: 74_000, ..AttemptRecord::default() };
    PullRecord {
        image: image.into(),
        digest: Some(digest(image)),
        reused_bytes: 3_214_800_000,
        downloaded_bytes: 334_200_000,
        overhead_bytes: 9_300,
        wasted_bytes: 96_000_000,
        reuse_ratio: Some(0.906),
        certainty: "exact".into(),
        doubts: Vec::new(),
        layers: LAYERS.iter().map(layer).collect(),
        estimate: Some(estimate()),
        estimate_error_bytes: Some(error),
        attempts: vec![failed, done],
        duration_ms: 95_000,
        transfer: Some(TransferRecord {
            way: "engine".to_owned(),
            reason: "92 s by itself, 26 s through the relay".to_owned(),
            fallback: Some("no source is left for sha256:4d4d".to_owned()),
            remarks: vec!["cache.lan:5000 was passed over: it gave wrong bytes".to_owned()],
            ..TransferRecord::default()
        }),
        phases: Some(PhasesRecord { resolve_ms: 180, first_byte_ms: 2_400, download_ms: 61_000, extract_ms: 10_600 }),
    }
}

/// A deploy over its budget, which moved more than was expected.
pub fn over_budget() -> JobView {
    let outcome = Outcome {
        summary: "ghcr.io/acme/app:sha-9f3c2aa is here: 334 MB moved, 3.21 GB reused".into(),
        kept: vec![PullRecord { estimate: None, phases: None, ..pull("ghcr.io/acme/base-images/cuda:12.1.1", 0) }],
        pull: Some(pull("ghcr.io/acme/app:sha-9f3c2aa", 4_200_000)),
        prune: Some(prune()),
        pressure: Some(prune()),
        warnings: vec!["this deploy moved 451 MB, more than the download_budget of 300 MB".into()],
        moved_bytes: 451_009_300,
        budget_bytes: Some(300_000_000),
        ..Outcome::default()
    };
    JobView { attempts: 2, digest: Some(digest("app")), ..deploy("sha-9f3c2aa", "succeeded", 12, outcome) }
}

/// A deploy whose pulls failed, with the way that each was to come.
pub fn failed() -> JobView {
    let error = ErrorRecord {
        class: "unreachable".into(),
        message: "ghcr.io cannot be reached".into(),
        detail: "ghcr.io cannot be reached: connection refused".into(),
    };
    let transfer = TransferRecord {
        way: "relay".into(),
        reason: "transfer = \"relay\"".into(),
        resumed_bytes: 40_000_000,
        remarks: vec!["mirror.lan:5000 was passed over: it gave wrong bytes for sha256:4d4d".into()],
        ..TransferRecord::default()
    };
    let attempt = AttemptRecord {
        image: "ghcr.io/acme/app:sha-3".into(),
        moved_bytes: 96_000_000,
        duration_ms: 21_000,
        failure: Some("the relay cannot go on".into()),
        transfer: Some(Box::new(transfer)),
        ..AttemptRecord::default()
    };
    let bare = AttemptRecord { moved_bytes: 0, duration_ms: 90, transfer: None, ..attempt.clone() };
    let outcome =
        Outcome { error: Some(error), attempts: vec![attempt, bare], moved_bytes: 96_000_000, ..Outcome::default() };
    deploy("sha-3", "failed", 30, outcome)
}

/// A deploy that nothing moved for.
pub fn refused() -> JobView {
    let error = ErrorRecord {
        class: "over_limit".into(),
        message: "ghcr.io/acme/app:sha-2 would move 330 MB, more than its download_limit of 250 MB".into(),
        detail: "318 MB by `COPY --from=python-deps /opt/venv /opt/venv`; --override budget".into(),
    };
    let outcome = Outcome {
        error: Some(error),
        estimate: Some(estimate()),
        budget_bytes: Some(300_000_000),
        ..Outcome::default()
    };
    deploy("sha-2", "refused", 30, outcome)
}

/// What stood at a time; of one name.
pub fn names() -> NamesData {
    let row = |name: &str, minutes: i64, stands: Option<&str>, job: Option<&str>| ChangeView {
        at: NOW - minutes * 60_000,
        name: name.into(),
        image_id: stands.map(digest),
        digest: stands.filter(|word| *word != "made here").map(|word| digest(&format!("{word}!"))),
        layers: stands.map(|word| vec![digest("os"), digest(word)]).unwrap_or_default(),
        job: job.map(str::to_owned),
        reason: stands.is_none().then(|| "prune: somebody pruned images".into()),
    };
    let (python, id) = ("ghcr.io/acme/base-images/cache-python:3.11", "0123456789abcdef0123456789abcdef");
    NamesData {
        at: Some(NOW - 60 * 60_000),
        name: None,
        names: vec![row(python, 90, Some("torch"), Some(id)), row("tools:local", 4000, Some("made here"), None)],
        changes: vec![
            row(python, 90, Some("torch"), Some(id)),
            row(python, 95, None, None),
            row(
                &format!("ghcr.io/acme/base-images/cache-python@{}", digest("torch old!")),
                96,
                Some("torch old"),
                None,
            ),
            row(python, 5000, Some("torch old"), None),
        ],
        now: NOW,
    }
}
