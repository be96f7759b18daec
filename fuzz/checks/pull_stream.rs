//! Whatever an engine prints while it pulls: sums add up, an exact report agrees with what was expected, and no line
//! makes less of what has moved. The input is lines; `=ID SIZE PRESENCE` is a layer of the estimate (ID as the stream
//! names it), `!` cuts the attempt, and everything else is a line of the engine's.

use std::time::Duration;

use layerkeeper_core::layers::Presence;
use layerkeeper_core::progress::{PullEvent, PullProgress};
use layerkeeper_core::reuse::account::Evidence;
use layerkeeper_core::reuse::{Attempt, Certainty, Estimate, LayerEstimate, ReuseReport, Source, account};
use layerkeeper_core::{Bytes, Compression, DiffId, Digest, Reference, StoreKind};
use layerkeeper_engine::parse_pull_line;

/// Sums of larger numbers saturate.
const LARGEST: u64 = 1 << 40;

/// Checks one pull.
pub fn check(input: &[u8]) {
    let mut layers = Vec::new();
    let mut stream = PullProgress::default();
    let mut attempts = Vec::new();
    for line in input.split(|c| *c == b'\n') {
        match line.split_first() {
            Some((b'=', layer)) => {
                let known = |new: &LayerEstimate| layers.iter().any(|old: &LayerEstimate| old.blob == new.blob);
                // nothing is repeated that does not stand at another place
                let layer = expected(layer).filter(|new| new.presence != Presence::Repeated || known(new));
                layers.extend(layer);
            }
            Some((b'!', _)) => attempts.push(attempt(std::mem::take(&mut stream).moved(), true)),
            _ => apply(&mut stream, line),
        }
    }
    attempts.push(attempt(stream.moved(), false));
    let Ok(reference) = "ghcr.io/acme/app:sha-1".parse::<Reference>() else { return };
    for estimate in [Some(estimate(layers)), None] {
        for store in [StoreKind::Graphdriver, StoreKind::Containerd] {
            let overhead = Bytes(1000);
            let estimate = estimate.as_ref();
            let evidence =
                Evidence { reference: &reference, store, estimate, stream: &stream, overhead, attempts: &attempts };
            adds_up(&account(&evidence), &stream);
        }
    }
}

fn apply(stream: &mut PullProgress, line: &[u8]) {
    let Ok(event) = parse_pull_line(line) else { return };
    if let PullEvent::Layer { id, .. } = &event {
        assert!(id.len() == 12 && id.bytes().all(|c| c.is_ascii_hexdigit()), "{id:?} is no layer's id");
    }
    let before = stream.clone();
    let moved = stream.apply(&event);
    assert!(stream.moved() >= before.moved(), "{event:?} took back what had moved");
    // followers are told of what moved, and of nothing else
    assert!(moved || stream.layers.values().eq(before.layers.values()) || stream.layers.len() > before.layers.len());
    for layer in stream.layers.values() {
        assert!(layer.moved >= layer.current, "{layer:?}");
        assert!(!layer.downloaded || layer.download_seen, "{layer:?}");
        assert!(!layer.complete || layer.extraction_seen, "{layer:?}");
    }
}

fn expected(line: &[u8]) -> Option<LayerEstimate> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split(' ');
    let (id, size, presence) = (words.next()?, words.next()?, words.next()?);
    let presence = match presence {
        "here" => Presence::Here,
        "fetch" => Presence::ToFetch,
        "unknown" => Presence::Unknown,
        "repeated" => Presence::Repeated,
        _ => return None,
    };
    Some(LayerEstimate {
        blob: format!("sha256:{id:0<64}").parse::<Digest>().ok()?,
        diff_id: DiffId::of(id.as_bytes()),
        size: Bytes(size.parse().ok().filter(|size| *size <= LARGEST)?),
        compression: Compression::Gzip,
        presence,
        created_by: None,
    })
}

fn estimate(layers: Vec<LayerEstimate>) -> Estimate {
    let sum = |wanted: &[Presence]| {
        layers.iter().filter(|layer| wanted.contains(&layer.presence)).map(|layer| layer.size).sum()
    };
    Estimate {
        total: layers.iter().map(|layer| layer.size).sum(),
        here: sum(&[Presence::Here, Presence::Repeated]),
        fetch_least: sum(&[Presence::ToFetch]),
        fetch_most: sum(&[Presence::ToFetch, Presence::Unknown]),
        layers,
    }
}

fn attempt(moved: Bytes, cut: bool) -> Attempt {
    Attempt { moved, duration: Duration::from_secs(1), failure: cut.then(|| "cut".to_owned()), cut }
}

fn adds_up(report: &ReuseReport, stream: &PullProgress) {
    let of_layers =
        |part: fn(&layerkeeper_core::reuse::LayerReport) -> Bytes| -> Bytes { report.layers.iter().map(part).sum() };
    let downloaded = of_layers(|layer| layer.downloaded);
    assert!(report.layers.iter().all(|layer| layer.size.is_none_or(|size| layer.downloaded <= size)), "{report:?}");
    assert!(report.layers.iter().all(|layer| layer.source == Source::Downloaded || layer.downloaded == Bytes::ZERO));
    assert!(report.downloaded >= downloaded);
    assert_eq!(report.layers_from(Source::Reused) + report.layers_from(Source::Downloaded), report.layers.len());
    assert!(report.ratio().is_none_or(|ratio| (0.0..=1.0).contains(&ratio)), "{:?}", report.ratio());
    assert_eq!(report.duration, Duration::from_secs(report.attempts.len() as u64));
    let sane = |bytes: Bytes| bytes.0 < LARGEST;
    let small = stream.layers.values().all(|layer| sane(layer.moved)) && report.attempts.iter().all(|a| sane(a.moved));
    if !small {
        return;
    }
    assert_eq!(report.reused + downloaded, of_layers(|layer| layer.size.unwrap_or_default()), "{report:?}");
    // every byte of every attempt is told once, as downloaded or as wasted
    let of_attempts: Bytes = report.attempts.iter().map(|attempt| attempt.moved).sum();
    assert_eq!(of_attempts, report.downloaded + report.wasted, "{report:?}");
    assert_eq!(report.moved(), of_attempts + report.overhead);
    if let (Certainty::Exact, Some(estimate)) = (&report.certainty, &report.estimate) {
        assert_eq!(report.downloaded, downloaded, "an exact report knows all layers");
        assert_eq!(report.reused + report.downloaded, estimate.total);
        // a blob that stands twice moves once
        let unique = estimate
            .layers
            .iter()
            .enumerate()
            .all(|(at, layer)| !estimate.layers[..at].iter().any(|other| other.blob == layer.blob));
        let within = estimate.fetch_least <= report.downloaded && report.downloaded <= estimate.fetch_most;
        assert!(within || !unique, "{report:?}");
    }
}
