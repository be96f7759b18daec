//! Where stream and prediction meet, and where they do not.

use super::*;
use crate::digest::DiffId;
use crate::manifest::Compression;
use crate::progress::{LayerStep, PullEvent};
use crate::testing::digest;
use LayerStep::{AlreadyExists, Announced, Complete, Downloaded};
use Presence::{Here, Repeated, ToFetch, Unknown};
use StoreKind::{Containerd, Graphdriver};

const SIZE: u64 = 100;

fn expected(layers: &[(&str, Presence)]) -> Estimate {
    let layer = |(word, presence): &(&str, Presence)| LayerEstimate {
        blob: digest(word),
        diff_id: DiffId::of(word.as_bytes()),
        size: Bytes(SIZE),
        compression: Compression::Gzip,
        presence: *presence,
        created_by: None,
    };
    let zero = Bytes::ZERO;
    let layers = layers.iter().map(layer).collect();
    Estimate { layers, total: zero, here: zero, fetch_least: zero, fetch_most: zero }
}

fn some(current: u64) -> LayerStep {
    LayerStep::Downloading { current, total: SIZE }
}

fn extracting() -> LayerStep {
    LayerStep::Extracting { current: SIZE, total: SIZE }
}

/// What a download that loses no line looks like.
fn whole() -> Vec<LayerStep> {
    vec![Announced, some(40), some(SIZE), LayerStep::Verifying, Downloaded, extracting(), Complete]
}

fn stream(layers: &[(&str, Vec<LayerStep>)]) -> PullProgress {
    let mut progress = PullProgress::default();
    for (word, steps) in layers {
        for step in steps {
            progress.apply(&PullEvent::Layer { id: digest(word).short(), step: step.clone() });
        }
    }
    progress
}

fn attempts(failed: &[u64]) -> Vec<Attempt> {
    let attempt = |moved: u64, failure: Option<&str>| Attempt {
        moved: Bytes(moved),
        duration: Duration::from_secs(1),
        failure: failure.map(str::to_owned),
        cut: failure.is_some(),
    };
    failed.iter().map(|moved| attempt(*moved, Some("cut"))).chain([attempt(0, None)]).collect()
}

fn report_after(
    failed: &[u64],
    store: StoreKind,
    layers: Option<&[(&str, Presence)]>,
    said: &[(&str, Vec<LayerStep>)],
) -> ReuseReport {
    let estimate = layers.map(expected);
    account(&Evidence {
        reference: &"ghcr.io/acme/app:sha-1".parse().unwrap(),
        store,
        estimate: estimate.as_ref(),
        stream: &stream(said),
        overhead: Bytes(7),
        attempts: &attempts(failed),
    })
}

fn report(store: StoreKind, layers: &[(&str, Presence)], said: &[(&str, Vec<LayerStep>)]) -> ReuseReport {
    report_after(&[], store, Some(layers), said)
}

/// Reused, downloaded, and the doubts.
fn sums(report: &ReuseReport) -> (u64, u64, Vec<String>) {
    let doubts = match &report.certainty {
        Certainty::Exact => Vec::new(),
        Certainty::Inferred(doubts) => doubts.clone(),
    };
    (report.reused.0, report.downloaded.0, doubts)
}

#[track_caller]
fn exact(report: &ReuseReport, reused: u64, downloaded: u64) {
    assert_eq!(sums(report), (reused, downloaded, Vec::new()));
}

#[track_caller]
fn inferred(report: &ReuseReport, reused: u64, downloaded: u64, why: &str) {
    let (r, d, doubts) = sums(report);
    assert_eq!((r, d), (reused, downloaded), "{doubts:?}");
    assert!(doubts.len() == 1 && doubts[0].contains(why), "{doubts:?}");
}

#[test]
fn where_both_agree_the_report_is_exact() {
    let layers = [("a", Here), ("b", ToFetch)];
    exact(&report(Graphdriver, &layers, &[("a", vec![AlreadyExists]), ("b", whole())]), 100, 100);
    exact(&report(Containerd, &layers, &[("b", whole())]), 100, 100);
    exact(&report(Containerd, &layers, &[("b", vec![Downloaded])]), 100, 100);
    exact(&report(Graphdriver, &[("a", Here), ("b", Here)], &[]), 200, 0);
}

#[test]
fn the_stream_settles_what_was_unknown() {
    exact(&report(Graphdriver, &[("a", Unknown)], &[("a", vec![AlreadyExists])]), 100, 0);
    exact(&report(Graphdriver, &[("a", Unknown)], &[("a", whole())]), 0, 100);
    inferred(&report(Containerd, &[("a", Unknown)], &[]), 100, 0, "did not mention it; its content was here");
}

#[test]
fn disagreement_is_never_silent() {
    inferred(&report(Graphdriver, &[("a", Here)], &[("a", whole())]), 0, 100, "expected to be here");
    inferred(&report(Graphdriver, &[("a", ToFetch)], &[("a", vec![AlreadyExists])]), 100, 0, "expected to move");
    inferred(
        &report(Containerd, &[("a", ToFetch)], &[("a", vec![AlreadyExists, Complete])]),
        100,
        0,
        "expected to move",
    );
    inferred(&report(Containerd, &[("a", ToFetch)], &[]), 0, 100, "did not mention it; it was not here");
    inferred(&report(Graphdriver, &[("a", ToFetch)], &[]), 0, 100, "did not mention it; it was not here");
}

#[test]
fn the_classic_store_announces_and_extracts_only_what_it_fetches() {
    exact(&report(Graphdriver, &[("a", ToFetch)], &[("a", vec![Announced, Complete])]), 0, 100);
    exact(&report(Graphdriver, &[("a", ToFetch)], &[("a", vec![Announced])]), 0, 100);
    inferred(&report(Graphdriver, &[("a", Here)], &[("a", vec![Announced])]), 0, 100, "expected to be here");
    exact(&report(Containerd, &[("a", Here)], &[("a", vec![Announced, Complete])]), 100, 0);
}

#[test]
fn a_blob_that_stands_twice_is_downloaded_once() {
    for store in [Graphdriver, Containerd] {
        exact(&report(store, &[("e", ToFetch), ("x", Here), ("e", Repeated)], &[("e", whole())]), 200, 100);
    }
    let served = [("e", Here), ("x", ToFetch), ("e", ToFetch)];
    let mut said = vec![AlreadyExists];
    said.extend(whole());
    exact(&report(Graphdriver, &served, &[("e", said), ("x", whole())]), 100, 200);
    let lossy = vec![AlreadyExists, extracting(), Complete];
    exact(&report(Graphdriver, &served, &[("e", lossy), ("x", whole())]), 100, 200);
}

#[test]
fn a_blob_that_stands_twice_does_not_hide_a_disagreement() {
    for store in [Graphdriver, Containerd] {
        let twice = [("e", ToFetch), ("e", Repeated)];
        inferred(&report(store, &twice, &[("e", vec![AlreadyExists])]), 200, 0, "expected to move");
        let served = [("e", Here), ("e", ToFetch)];
        inferred(&report(store, &served, &[("e", vec![AlreadyExists])]), 200, 0, "expected to move");
    }
}

#[test]
fn what_the_manifest_does_not_list_is_counted_and_said() {
    for store in [Graphdriver, Containerd] {
        inferred(&report(store, &[("a", Here)], &[("alien", whole())]), 100, 100, "not in the manifest");
    }
    let config = vec![Announced, some(SIZE), Downloaded];
    exact(&report(Containerd, &[("a", Here)], &[("config", config)]), 100, 0);
}

#[test]
fn a_stream_that_counts_another_size_is_not_exact() {
    let other = vec![LayerStep::Downloading { current: 10, total: 90 }, Downloaded];
    inferred(&report(Graphdriver, &[("a", ToFetch)], &[("a", other)]), 0, 90, "90 B");
}

#[test]
fn what_the_stream_counted_to_its_end_goes_before_the_manifests_size() {
    let said = |total| vec![LayerStep::Downloading { current: 10, total }, Downloaded, Complete];
    for store in [Graphdriver, Containerd] {
        let longer = report(store, &[("a", Here), ("b", ToFetch)], &[("b", said(130))]);
        inferred(&longer, 100, 130, "the manifest says 100 B, and the engine's stream counted 130 B");
        assert_eq!((longer.layers[1].size, longer.wasted), (Some(Bytes(130)), Bytes::ZERO));
        // the other place of the same blob has the same length
        inferred(&report(store, &[("e", ToFetch), ("e", Repeated)], &[("e", said(90))]), 90, 90, "90 B");
    }
    // one that goes on from an earlier attempt
    let resumed = report_after(&[70], Containerd, Some(&[("a", ToFetch)]), &[("a", vec![some(70), Downloaded])]);
    inferred(&resumed, 70, 30, "went on from about 70 B");
    // the classic store's own second try counts only the rest
    let rest = LayerStep::Downloading { current: 1, total: 40 };
    let again = [("a", vec![some(60), LayerStep::Retrying, rest, Downloaded, Complete])];
    exact(&report(Graphdriver, &[("a", ToFetch)], &again), 0, 100);
    // and a download that did not come to its end has counted nothing
    let cut = vec![LayerStep::Downloading { current: 10, total: 90 }, Complete];
    exact(&report(Graphdriver, &[("a", ToFetch)], &[("a", cut)]), 0, 100);
}

#[test]
fn sizes_without_measure_do_not_overflow() {
    let mut estimate = expected(&[("a", Here), ("b", ToFetch), ("c", ToFetch)]);
    estimate.layers.iter_mut().for_each(|layer| layer.size = Bytes(u64::MAX));
    let report = account(&Evidence {
        reference: &"ghcr.io/acme/app:sha-1".parse().unwrap(),
        store: Graphdriver,
        estimate: Some(&estimate),
        stream: &stream(&[("a", vec![AlreadyExists]), ("b", vec![Announced]), ("c", vec![Announced])]),
        overhead: Bytes(u64::MAX),
        attempts: &attempts(&[u64::MAX, u64::MAX]),
    });
    assert_eq!((report.reused, report.downloaded, report.wasted), (Bytes(u64::MAX), Bytes(u64::MAX), Bytes(u64::MAX)));
    assert_eq!(report.moved(), Bytes(u64::MAX));
}

#[test]
fn what_the_engines_own_second_try_moved_again_is_wasted() {
    let said = vec![some(60), LayerStep::Retrying, some(5), some(SIZE), Downloaded, Complete];
    let report = report(Graphdriver, &[("a", ToFetch)], &[("a", said)]);
    inferred(&report, 0, 100, "160 B");
    assert_eq!(report.wasted, Bytes(60));
}

#[test]
fn failed_attempts_are_wasted_and_never_mixed_in() {
    let layers = [("a", Here), ("b", ToFetch)];
    let said = [("a", vec![AlreadyExists]), ("b", whole())];
    let report = report_after(&[30, 12], Graphdriver, Some(&layers), &said);
    exact(&report, 100, 100);
    assert_eq!((report.wasted, report.moved()), (Bytes(42), Bytes(149)));
}

#[test]
fn only_containerd_goes_on_from_an_earlier_attempt() {
    let said = [("a", vec![some(70), some(SIZE), Downloaded, Complete])];
    let layers = [("a", ToFetch)];
    inferred(&report_after(&[70], Containerd, Some(&layers), &said), 70, 30, "went on from about 70 B");
    exact(&report_after(&[70], Graphdriver, Some(&layers), &said), 0, 100);
    exact(&report_after(&[], Containerd, Some(&layers), &said), 0, 100);
}

#[test]
fn without_a_manifest_the_stream_is_all_there_is() {
    let report = report_after(&[], Graphdriver, None, &[("a", vec![AlreadyExists]), ("b", whole())]);
    inferred(&report, 0, 100, "could not read the manifest");
}

#[test]
fn what_an_attempt_that_failed_by_itself_fetched_is_fetched_again() {
    let said = &[("a", vec![LayerStep::Downloading { current: 40, total: 100 }, LayerStep::Downloaded])];
    let estimate = expected(&[("a", Presence::ToFetch)]);
    let evidence = |cut| {
        let mut attempts = attempts(&[60]);
        attempts[0].cut = cut;
        account(&Evidence {
            reference: &"ghcr.io/acme/app:sha-1".parse().unwrap(),
            store: StoreKind::Containerd,
            estimate: Some(&estimate),
            stream: &stream(said),
            overhead: Bytes::ZERO,
            attempts: &attempts,
        })
    };
    let all = evidence(false);
    assert_eq!(all.downloaded, all.layers[0].size.unwrap(), "a first report above zero is only a late one");
    assert!(evidence(true).downloaded < all.downloaded);
}
