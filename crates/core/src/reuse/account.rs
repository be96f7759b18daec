//! After the pull: what was here and what moved.
//!
//! Two witnesses are heard: the engine's stream, and the prediction made from the manifest and what the engine held.
//! Where they agree the report is exact. Where they do not, the stream's word counts for bytes that it saw moving, the
//! prediction's where the stream is silent, and the report says `inferred` and why.

use std::collections::HashSet;
use std::time::Duration;

use crate::bytes::Bytes;
use crate::inventory::StoreKind;
use crate::layers::Presence;
use crate::progress::{LayerProgress, PullProgress};
use crate::reference::Reference;
use crate::reuse::{Certainty, Estimate, LayerEstimate, LayerReport, ReuseReport, Source};

/// One try at a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Layer bytes that the stream saw moving.
    pub moved: Bytes,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed; none for the one that succeeded.
    pub failure: Option<String>,
    /// It failed because we closed the connection, by a stop or a crash. Only then may the next one go on where it was.
    pub cut: bool,
}

/// What is known about a pull that succeeded.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// What was pulled.
    pub reference: &'a Reference,
    /// The engine's store: what its stream leaves out differs.
    pub store: StoreKind,
    /// Made right before the attempt that succeeded; none where the daemon could not read the manifest.
    pub estimate: Option<&'a Estimate>,
    /// The stream of the attempt that succeeded.
    pub stream: &'a PullProgress,
    /// Manifests and config that moved.
    pub overhead: Bytes,
    /// Every attempt, the one that succeeded last.
    pub attempts: &'a [Attempt],
}

/// Draws up the report.
pub fn account(evidence: &Evidence<'_>) -> ReuseReport {
    let mut doubts = Vec::new();
    let (layers, unlisted) = match evidence.estimate {
        Some(estimate) => {
            let layers = estimate.layers.iter().map(|layer| judge(layer, evidence, &mut doubts)).collect();
            (layers, unlisted(estimate, evidence, &mut doubts))
        }
        None => {
            doubts.push("the daemon could not read the manifest; sizes are the engine's stream's, and layers that were here have none".to_owned());
            (Vec::new(), evidence.stream.moved())
        }
    };
    let failed: Bytes = evidence.attempts.iter().filter(|a| a.failure.is_some()).map(|a| a.moved).sum();
    let again: Bytes = layers.iter().map(|layer| moved_again(layer, evidence)).sum();
    let downloaded = layers.iter().map(|layer| layer.downloaded).sum::<Bytes>() + unlisted;
    let mut attempts = evidence.attempts.to_vec();
    if let Some(last) = attempts.last_mut().filter(|last| last.failure.is_none()) {
        // the stream may have been silent about bytes that came between two of its lines
        last.moved = downloaded + again;
    }
    ReuseReport {
        reference: evidence.reference.clone(),
        digest: evidence.stream.digest,
        reused: layers.iter().filter_map(|l: &LayerReport| l.size.map(|size| size - l.downloaded)).sum(),
        downloaded,
        layers,
        overhead: evidence.overhead,
        wasted: failed + again,
        certainty: if doubts.is_empty() { Certainty::Exact } else { Certainty::Inferred(doubts) },
        estimate: evidence.estimate.cloned(),
        duration: attempts.iter().map(|attempt| attempt.duration).sum(),
        attempts,
    }
}

/// What the engine moved of layers that the manifest does not list: it pulled something else than was estimated.
fn unlisted(estimate: &Estimate, evidence: &Evidence<'_>, doubts: &mut Vec<String>) -> Bytes {
    let listed: HashSet<String> = estimate.layers.iter().map(|layer| layer.blob.short()).collect();
    let strange = evidence.stream.layers.iter().filter(|(id, layer)| {
        // the containerd store prints manifests and configs like layers, but unpacks only layers
        !listed.contains(*id) && (evidence.store == StoreKind::Graphdriver || layer.extraction_seen)
    });
    strange
        .map(|(id, layer)| {
            doubts.push(format!("layer {id}: the engine's stream tells of it, and it is not in the manifest"));
            layer.moved
        })
        .sum()
}

/// What the engine's own further tries at a layer moved beyond its size.
fn moved_again(layer: &LayerReport, evidence: &Evidence<'_>) -> Bytes {
    match (layer.source, layer.size, evidence.stream.layers.get(&layer.blob.short())) {
        (Source::Downloaded, Some(size), Some(seen)) => seen.moved + seen.spooled - size,
        _ => Bytes::ZERO,
    }
}

/// What the stream says of a layer's bytes.
enum Word {
    Moved,
    Here,
    Nothing,
}

fn word(store: StoreKind, seen: Option<&LayerProgress>) -> Word {
    match seen {
        None => Word::Nothing,
        Some(layer) if layer.download_seen => Word::Moved,
        // the classic store extracts only what it fetched; a lossy stream may have dropped the download's own lines
        Some(layer) if store == StoreKind::Graphdriver && layer.extraction_seen => Word::Moved,
        Some(layer) if layer.already_here => Word::Here,
        // and it announces only what it is about to fetch
        Some(_) if store == StoreKind::Graphdriver => Word::Moved,
        Some(_) => Word::Nothing,
    }
}

fn judge(layer: &LayerEstimate, evidence: &Evidence<'_>, doubts: &mut Vec<String>) -> LayerReport {
    let id = layer.blob.short();
    let seen = evidence.stream.layers.get(&id);
    let mut doubt = |text: String| doubts.push(format!("layer {id}: {text}"));
    let source = match (layer.presence, word(evidence.store, seen)) {
        // one stream entry stands for both places of the blob, and the other place has counted it
        (Presence::Repeated, _) => Source::Reused,
        (Presence::Here, Word::Here | Word::Nothing) => Source::Reused,
        (Presence::ToFetch, Word::Moved) => Source::Downloaded,
        (Presence::Unknown, Word::Moved) => Source::Downloaded,
        (Presence::Unknown, Word::Here) => Source::Reused,
        (Presence::Here, Word::Moved) if moves_elsewhere(layer, evidence) => Source::Reused,
        (Presence::Here, Word::Moved) => {
            doubt("was expected to be here, but the engine fetched it".to_owned());
            Source::Downloaded
        }
        (Presence::ToFetch, Word::Here) => {
            doubt("was expected to move, but the engine had it".to_owned());
            Source::Reused
        }
        (Presence::ToFetch, Word::Nothing) => {
            doubt("the engine's stream did not mention it; it was not here, so it moved".to_owned());
            Source::Downloaded
        }
        (Presence::Unknown, Word::Nothing) => {
            doubt("the engine's stream did not mention it; its content was here, so it did not move".to_owned());
            Source::Reused
        }
    };
    // the relay knows to the byte what it had, so that is no matter of doubt
    let spooled = seen.map(|seen| seen.spooled).unwrap_or_default();
    let told = source != Source::Downloaded || spooled > Bytes::ZERO;
    let resumed = if told { Some(Bytes::ZERO) } else { resumed_at(seen, evidence) };
    match resumed {
        None => doubt("an attempt was cut before, and the engine's stream did not say where it went on".to_owned()),
        Some(Bytes::ZERO) => {}
        Some(resumed) => doubt(format!("the engine went on from about {resumed} of an earlier attempt")),
    }
    let size = seen.and_then(LayerProgress::counted).unwrap_or(layer.size);
    // only a download that ended with a known total has counted all of its bytes
    let moved = seen.filter(|seen| seen.downloaded && seen.total.is_some()).map(|seen| seen.moved + seen.spooled);
    if source == Source::Downloaded && size != layer.size {
        doubt(format!("the manifest says {}, and the engine's stream counted {size}, which is taken", layer.size));
    } else if let Some(moved) = moved.filter(|moved| source == Source::Downloaded && *moved != size) {
        doubt(format!("the engine's stream counted {moved}, the manifest says {size}"));
    }
    LayerReport {
        blob: layer.blob,
        diff_id: Some(layer.diff_id),
        size: Some(size),
        source,
        downloaded: if source == Source::Downloaded {
            size - resumed.unwrap_or_default() - spooled
        } else {
            Bytes::ZERO
        },
        created_by: layer.created_by.clone(),
    }
}

/// The blob stands at another place too, and moves for that one: the stream has one entry for all of them.
fn moves_elsewhere(layer: &LayerEstimate, evidence: &Evidence<'_>) -> bool {
    evidence.estimate.is_some_and(|estimate| {
        let moves = |other: &LayerEstimate| matches!(other.presence, Presence::ToFetch | Presence::Unknown);
        estimate.layers.iter().any(|other| other.blob == layer.blob && moves(other))
    })
}

/// Only the containerd store keeps what a cut attempt fetched, and only then can a first report above zero mean that the
/// engine went on from there. After an attempt that failed by itself it keeps nothing (measured on 26.1). None where it
/// went on from a place that the stream did not tell.
fn resumed_at(seen: Option<&LayerProgress>, evidence: &Evidence<'_>) -> Option<Bytes> {
    let after_cut = evidence.attempts.iter().rev().nth(1).is_some_and(|before| before.cut);
    if after_cut && evidence.store == StoreKind::Containerd { seen?.resumed_at } else { Some(Bytes::ZERO) }
}

#[cfg(test)]
mod tests;
