//! What each store would fetch.

use super::*;
use crate::inventory::Image;
use crate::testing::{digest, engine, image};
use Presence::{Here, Repeated, ToFetch, Unknown};

/// A layer's content is named by a word, its blob by the word, or by `word/other` when it is compressed otherwise.
fn layer(text: &str) -> (Digest, DiffId) {
    (digest(text), DiffId::of(text.split('/').next().unwrap().as_bytes()))
}

fn stack(texts: &[&str]) -> Vec<DiffId> {
    texts.iter().map(|text| layer(text).1).collect()
}

/// Records as the pull of these layers leaves them.
fn records(texts: &[&str], origin: Origin) -> Vec<LayerRecord> {
    let chains = ChainId::of_stack(&stack(texts));
    let record = |(text, chain): (&&str, ChainId)| {
        let (blob, diff_id) = layer(text);
        LayerRecord { chain, diff_id, blob, size: Bytes(1), origin }
    };
    texts.iter().zip(chains).map(record).collect()
}

fn holdings(store: StoreKind, images: &[&[&str]], records: &[LayerRecord]) -> Holdings {
    let images = images.iter().map(|texts| Image { layers: stack(texts), ..image(&texts.concat()) }).collect();
    Holdings::new(&Inventory { engine: engine(store), images, containers: Vec::new() }, records)
}

fn judge(holdings: &Holdings, texts: &[&str]) -> Vec<Presence> {
    holdings.judge(texts.iter().map(|text| layer(text)))
}

const BOTH: [StoreKind; 2] = [StoreKind::Graphdriver, StoreKind::Containerd];

#[test]
fn a_shared_bottom_that_we_pulled_is_here_and_the_rest_moves() {
    for store in BOTH {
        let host = holdings(store, &[&["a", "b", "c"]], &records(&["a", "b", "c"], Origin::Downloaded));
        assert_eq!(judge(&host, &["a", "b", "new"]), [Here, Here, ToFetch], "{store}");
        assert_eq!(judge(&host, &["a", "b", "c"]), [Here, Here, Here], "{store}");
        assert_eq!(judge(&host, &["new", "newer"]), [ToFetch, ToFetch], "{store}");
    }
}

#[test]
fn above_another_parent_the_classic_store_fetches_again_and_containerd_does_not() {
    let pulled = records(&["a", "b", "c"], Origin::Downloaded);
    let on = |store| judge(&holdings(store, &[&["a", "b", "c"]], &pulled), &["a", "new", "c"]);
    assert_eq!(on(StoreKind::Graphdriver), [Here, ToFetch, ToFetch]);
    assert_eq!(on(StoreKind::Containerd), [Here, ToFetch, Here]);
}

#[test]
fn the_same_content_under_another_blob_moves_on_the_classic_store_only() {
    let pulled = records(&["a", "b"], Origin::Downloaded);
    let on = |store| judge(&holdings(store, &[&["a", "b"]], &pulled), &["a", "b/zstd"]);
    assert_eq!(on(StoreKind::Graphdriver), [Here, ToFetch]);
    assert_eq!(on(StoreKind::Containerd), [Here, Here], "the chain is unpacked");
}

#[test]
fn the_classic_store_fetches_everything_above_a_miss_even_what_it_has() {
    let host = holdings(StoreKind::Graphdriver, &[&["a", "b", "c"]], &records(&["a", "b", "c"], Origin::Downloaded));
    assert_eq!(judge(&host, &["a", "b/zstd", "c"]), [Here, ToFetch, ToFetch]);
    let unsure = holdings(StoreKind::Graphdriver, &[&["a", "b", "c"]], &records(&["a", "b"], Origin::Downloaded));
    assert_eq!(judge(&unsure, &["a", "b/zstd", "c"]), [Here, ToFetch, ToFetch], "c does not matter any more");
}

#[test]
fn without_records_content_that_is_here_is_unknown_to_the_classic_store() {
    let host = holdings(StoreKind::Graphdriver, &[&["a", "b"]], &[]);
    assert_eq!(judge(&host, &["a", "b", "c"]), [Unknown, Unknown, ToFetch]);
    let half = holdings(StoreKind::Graphdriver, &[&["a", "b"]], &records(&["a"], Origin::Manifest));
    assert_eq!(judge(&half, &["a", "b", "c"]), [Here, Unknown, ToFetch]);
    let upper = holdings(StoreKind::Graphdriver, &[&["a", "b"]], &records(&["b"], Origin::Manifest));
    assert_eq!(judge(&upper, &["a", "b"]), [Unknown, Unknown], "it never gets to b if it fetches a");
}

#[test]
fn without_records_containerd_knows_chains_but_not_blobs() {
    let host = holdings(StoreKind::Containerd, &[&["a", "b"]], &[]);
    assert_eq!(judge(&host, &["a", "b", "c"]), [Here, Here, ToFetch]);
    assert_eq!(judge(&host, &["x", "b"]), [ToFetch, Unknown]);
}

#[test]
fn a_record_outlives_its_layer_on_the_classic_store_but_not_its_content() {
    let pulled = records(&["a", "b"], Origin::Downloaded);
    for store in BOTH {
        assert_eq!(judge(&holdings(store, &[], &pulled), &["a", "b"]), [ToFetch, ToFetch], "{store}");
        let again = holdings(store, &[&["a"]], &pulled);
        assert_eq!(judge(&again, &["a", "b"]), [Here, ToFetch], "{store}");
    }
}

#[test]
fn a_layer_that_containerd_reused_by_its_chain_may_have_no_blob() {
    let host = holdings(StoreKind::Containerd, &[&["a", "b"]], &records(&["a", "b"], Origin::Reused));
    assert_eq!(judge(&host, &["x", "b"]), [ToFetch, Unknown]);
    let host = holdings(StoreKind::Graphdriver, &[&["a", "b"]], &records(&["a", "b"], Origin::Reused));
    assert_eq!(judge(&host, &["a", "b"]), [Here, Here], "there it knows the blob, or it had not been reused");
}

#[test]
fn a_blob_that_stands_twice_moves_once() {
    for store in BOTH {
        let host = holdings(store, &[], &[]);
        assert_eq!(
            judge(&host, &["a", "e", "b", "e", "e"]),
            [ToFetch, ToFetch, ToFetch, Repeated, Repeated],
            "{store}"
        );
    }
    let pulled = records(&["e"], Origin::Downloaded);
    let twice = |store| judge(&holdings(store, &[&["e"]], &pulled), &["e", "x", "e", "e"]);
    assert_eq!(twice(StoreKind::Graphdriver), [Here, ToFetch, ToFetch, Repeated], "what is here serves no other place");
    assert_eq!(twice(StoreKind::Containerd), [Here, ToFetch, Here, Here]);
}
