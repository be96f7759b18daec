//! What holds for every estimate and every report.

use std::collections::HashSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::account::Evidence;
use super::*;
use crate::digest::ChainId;
use crate::inventory::{Image, Inventory, StoreKind};
use crate::layers::{Holdings, LayerRecord, Origin};
use crate::manifest::{Descriptor, ImageManifest, ManifestLayer, Platform};
use crate::progress::{LayerStep, PullEvent, PullProgress};
use crate::testing::{diff, digest, engine, image};

/// Content `c` in compression `z`; equal pairs are equal blobs.
type Layer = (usize, usize);

fn blob((content, compression): Layer) -> Digest {
    digest(&format!("{content}/{compression}"))
}

fn content(layer: Layer) -> DiffId {
    diff(&layer.0.to_string())
}

fn size((content, compression): Layer) -> Bytes {
    Bytes(10u64.pow(content as u32) * 2 + compression as u64)
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    vec((0..5usize, 0..2usize), 0..7)
}

fn store() -> impl Strategy<Value = StoreKind> {
    prop_oneof![Just(StoreKind::Graphdriver), Just(StoreKind::Containerd)]
}

fn manifest(layers: &[Layer]) -> ImageManifest {
    let descriptor = |digest, size| Descriptor { digest, size };
    ImageManifest {
        resolved: digest("manifest"),
        manifest: descriptor(digest("manifest"), Bytes(1)),
        config: descriptor(digest("config"), Bytes(1)),
        index_size: None,
        platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None },
        layers: layers
            .iter()
            .map(|layer| ManifestLayer {
                blob: descriptor(blob(*layer), size(*layer)),
                compression: Compression::Gzip,
                diff_id: content(*layer),
                created_by: None,
            })
            .collect(),
    }
}

/// Pulled images with their records, and images that came otherwise.
fn holdings(store: StoreKind, pulled: &[Vec<Layer>], foreign: &[Vec<Layer>]) -> Holdings {
    let stack = |layers: &Vec<Layer>| -> Vec<DiffId> { layers.iter().copied().map(content).collect() };
    let images = pulled.iter().chain(foreign).enumerate();
    let images = images.map(|(i, layers)| Image { layers: stack(layers), ..image(&i.to_string()) }).collect();
    let records = pulled.iter().flat_map(|layers| {
        layers.iter().zip(ChainId::of_stack(&stack(layers))).map(|(layer, chain)| LayerRecord {
            chain,
            diff_id: content(*layer),
            blob: blob(*layer),
            size: size(*layer),
            origin: Origin::Downloaded,
        })
    });
    let records: Vec<LayerRecord> = records.collect();
    Holdings::new(&Inventory { engine: engine(store), images, containers: Vec::new() }, &records)
}

fn step() -> impl Strategy<Value = (usize, LayerStep)> {
    let step = prop_oneof![
        Just(LayerStep::Announced),
        (0..50u64, 0..50u64).prop_map(|(current, total)| LayerStep::Downloading { current, total }),
        Just(LayerStep::Verifying),
        Just(LayerStep::Downloaded),
        Just(LayerStep::Extracting { current: 1, total: 2 }),
        Just(LayerStep::Complete),
        Just(LayerStep::AlreadyExists),
        Just(LayerStep::Retrying),
    ];
    (0..7usize, step)
}

/// The stream of an engine that does what the estimate expects, unknown layers being known or not by `knows`.
fn faithful(store: StoreKind, estimate: &Estimate, knows: bool) -> PullProgress {
    let mut progress = PullProgress::default();
    let mut say = |layer: &LayerEstimate, step| {
        progress.apply(&PullEvent::Layer { id: layer.blob.short(), step });
    };
    for layer in &estimate.layers {
        match layer.presence {
            Presence::Here if store == StoreKind::Containerd => {}
            Presence::Unknown if !knows => say(layer, LayerStep::Downloaded),
            Presence::Here | Presence::Unknown => say(layer, LayerStep::AlreadyExists),
            Presence::Repeated => {}
            Presence::ToFetch => {
                say(layer, LayerStep::Announced);
                say(layer, LayerStep::Downloading { current: 1, total: layer.size.0 });
                say(layer, LayerStep::Downloaded);
                say(layer, LayerStep::Complete);
            }
        }
    }
    progress
}

fn report(store: StoreKind, estimate: &Estimate, stream: &PullProgress) -> ReuseReport {
    let reference = "ghcr.io/acme/app:sha-1".parse().unwrap();
    let attempts = [Attempt { moved: stream.moved(), duration: Duration::ZERO, failure: None, cut: false }];
    let overhead = Bytes::ZERO;
    account(&Evidence { reference: &reference, store, estimate: Some(estimate), stream, overhead, attempts: &attempts })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_estimate_adds_up(
        store in store(), wanted in layers(), pulled in vec(layers(), 0..3), foreign in vec(layers(), 0..2)
    ) {
        let manifest = manifest(&wanted);
        let estimate = estimate(&manifest, &holdings(store, &pulled, &foreign));
        prop_assert_eq!(estimate.total, manifest.layer_bytes());
        prop_assert_eq!(estimate.here + estimate.fetch_most, estimate.total);
        prop_assert!(estimate.fetch_least <= estimate.fetch_most);
        let distinct: HashSet<Layer> = wanted.iter().copied().collect();
        prop_assert!(estimate.fetch_most <= distinct.into_iter().map(size).sum(), "no blob moves twice");
        if foreign.is_empty() {
            prop_assert_eq!(estimate.fetch_least, estimate.fetch_most, "we know all that is here");
        }
    }

    /// An image that we pulled moves nothing when it is pulled again; on an empty host everything moves once.
    #[test]
    fn the_ends_of_the_scale(store in store(), wanted in layers(), more in vec(layers(), 0..2)) {
        let mut pulled = more;
        pulled.push(wanted.clone());
        let again = estimate(&manifest(&wanted), &holdings(store, &pulled, &[]));
        prop_assert_eq!(again.fetch_most, Bytes::ZERO);
        let first = estimate(&manifest(&wanted), &holdings(store, &[], &[]));
        let distinct: HashSet<Layer> = wanted.iter().copied().collect();
        prop_assert_eq!(first.fetch_least, distinct.into_iter().map(size).sum());
    }

    /// On the classic store nothing is reused above the first layer that moves, save a blob that this pull has moved.
    #[test]
    fn the_classic_store_reuses_only_from_the_bottom(pulled in vec(layers(), 1..3), otherwise in vec(0..2usize, 7)) {
        // the same contents as an image that is here, some of them compressed otherwise
        let wanted: Vec<Layer> = pulled[0].iter().zip(otherwise).map(|((c, z), flip)| (*c, z ^ flip)).collect();
        let estimate = estimate(&manifest(&wanted), &holdings(StoreKind::Graphdriver, &pulled, &[]));
        let above = estimate.layers.iter().skip_while(|layer| layer.presence == Presence::Here);
        for layer in above {
            prop_assert!(matches!(layer.presence, Presence::ToFetch | Presence::Repeated));
        }
    }

    /// Invariant 7: an engine that does what was expected gives an exact report, and the bytes are the estimate's.
    #[test]
    fn a_faithful_stream_gives_an_exact_report(
        store in store(), wanted in layers(), pulled in vec(layers(), 0..3), foreign in vec(layers(), 0..2), knows: bool
    ) {
        let manifest = manifest(&wanted);
        let estimate = estimate(&manifest, &holdings(store, &pulled, &foreign));
        let report = report(store, &estimate, &faithful(store, &estimate, knows));
        prop_assert_eq!(&report.certainty, &Certainty::Exact);
        prop_assert_eq!(report.reused + report.downloaded, manifest.layer_bytes());
        prop_assert_eq!(report.downloaded, if knows { estimate.fetch_least } else { estimate.fetch_most });
        prop_assert_eq!(report.wasted, Bytes::ZERO);
    }

    /// Whatever the engine prints about the manifest's layers, the two sums make the whole, by the sizes that the stream
    /// counted to their end or else the manifest's; and an exact report never contradicts what the stream or the estimate
    /// was sure of.
    #[test]
    fn any_stream_adds_up_and_exact_means_agreed(
        store in store(), wanted in layers(), pulled in vec(layers(), 0..3), foreign in vec(layers(), 0..2),
        said in vec(step(), 0..30),
    ) {
        let manifest = manifest(&wanted);
        let estimate = estimate(&manifest, &holdings(store, &pulled, &foreign));
        let mut stream = PullProgress::default();
        for (at, step) in said {
            if let Some(layer) = wanted.get(at) {
                stream.apply(&PullEvent::Layer { id: blob(*layer).short(), step });
            }
        }
        let report = report(store, &estimate, &stream);
        let counted = |layer: &LayerEstimate| stream.layers.get(&layer.blob.short()).and_then(|seen| seen.counted());
        let whole = estimate.layers.iter().map(|layer| counted(layer).unwrap_or(layer.size)).sum();
        prop_assert_eq!(report.reused + report.downloaded, whole);
        if report.certainty == Certainty::Exact {
            prop_assert_eq!(whole, manifest.layer_bytes());
        }
        if report.certainty != Certainty::Exact {
            return Ok(());
        }
        prop_assert!(estimate.fetch_least <= report.downloaded && report.downloaded <= estimate.fetch_most);
        for layer in &report.layers {
            let downloaded = report.layers.iter().any(|l| l.blob == layer.blob && l.source == Source::Downloaded);
            let seen = stream.layers.get(&layer.blob.short());
            if seen.is_some_and(|seen| seen.download_seen) {
                prop_assert!(downloaded, "the stream saw it move");
            }
            if seen.is_some_and(|seen| seen.already_here && !seen.download_seen && !seen.extraction_seen) {
                prop_assert!(!downloaded, "the stream saw it here");
            }
            if seen.is_none_or(|seen| *seen == Default::default()) && downloaded {
                prop_assert!(store == StoreKind::Graphdriver && seen.is_some(), "nobody saw it move");
            }
        }
    }
}
