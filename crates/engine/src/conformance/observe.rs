//! What the engine says of itself and of what it holds.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use layerkeeper_core::Bytes;

use super::{Case, Recipe, ok};

pub(super) async fn all(case: &Case<'_>) {
    it_answers_and_names_its_store(case).await;
    the_inventory_shows_what_inspect_shows(case).await;
    an_image_in_an_index_is_known_by_the_indexs_digest(case).await;
    what_was_seen_holds_until_something_of_it_goes_or_changes(case).await;
    images_that_come_and_go_do_not_spoil_the_list(case).await;
}

async fn it_answers_and_names_its_store(case: &Case<'_>) {
    ok(case.engine().ping().await, "ping");
    let info = ok(case.engine().info().await, "info");
    assert_eq!(info.store, case.subject.store());
    assert!(!info.id.is_empty() && !info.driver.is_empty() && info.data_root.starts_with('/'), "{info:?}");
    assert!(info.major().is_some_and(|major| major >= 20), "{info:?}");
    assert_eq!((info.platform.os.as_str(), info.platform.architecture.as_str()), ("linux", "amd64"));
    assert_eq!(ok(case.engine().inventory().await, "inventory").engine, info);
}

async fn the_inventory_shows_what_inspect_shows(case: &Case<'_>) {
    let (one, published) = case.publish("observe/app:one", &["a", "b", "c"]).await;
    let (two, _) = case.publish("observe/other:two", &["a", "b", "c"]).await;
    case.pull_tag(&one).await;
    case.tag(&one.to_reference(), &two).await;
    let image = case.must_have(&one.to_reference()).await;
    assert_eq!(image.names, [one.clone(), two.clone()].into(), "names");
    assert!(image.has_digest(&one.repository, published.resolved), "{:?}", image.digests);
    assert_eq!(image.layers, published.diff_ids, "diff ids, bottom first");
    assert_eq!(image.layer_bytes.len(), 3, "a size for each layer");
    assert!(image.layer_bytes.iter().all(|size| *size >= Bytes(20_000)), "{:?}", image.layer_bytes);
    assert!(image.created.0 > 0, "build time");
    let inventory = ok(case.engine().inventory().await, "inventory");
    // on the containerd store the list alone would name only one of the two repositories
    assert_eq!(inventory.named(&two), Some(&image));
    assert_eq!(inventory.with_digest(&one.repository, published.resolved), Some(&image));
    assert!(inventory.images.is_sorted_by_key(|image| image.id), "sorted by id");
    // from the cache it is the same
    assert_eq!(ok(case.engine().inventory().await, "inventory").named(&one), Some(&image));
    case.remove(&two.to_reference()).await;
    case.remove(&one.to_reference()).await;
    assert_eq!(ok(case.engine().inventory().await, "inventory").named(&one), None);
}

/// The tag stands for the index. The platform's manifest pulled by digest as well: the classic store keeps one image with
/// two rows, which go with the last tag; the containerd store keeps two images, and the second one stays.
async fn an_image_in_an_index_is_known_by_the_indexs_digest(case: &Case<'_>) {
    let (name, published) = case.publish_as("index/app:t", &["a"], Recipe { indexed: true, ..Recipe::default() }).await;
    assert_ne!(published.resolved, published.manifest);
    let progress = case.pull_tag(&name).await;
    assert_eq!(progress.digest, Some(published.resolved));
    let image = case.must_have(&name.to_reference()).await;
    assert!(image.has_digest(&name.repository, published.resolved), "{:?}", image.digests);
    assert_eq!(image.layers, published.diff_ids);
    let by_manifest = name.repository.by_digest(published.manifest);
    let (_, moved) = case.pull_counting(&by_manifest).await;
    assert!(moved.is_empty(), "the layers were here");
    let same = case.must_have(&by_manifest).await;
    assert_eq!(same.id == image.id, !case.is_containerd(), "one image on the classic store, two on containerd's");
    case.remove(&name.to_reference()).await;
    assert_eq!(
        case.holds_layers(&published.diff_ids).await,
        case.is_containerd(),
        "what the tag's removal leaves behind"
    );
    if case.is_containerd() {
        case.remove(&by_manifest).await;
        assert!(!case.holds_layers(&published.diff_ids).await);
    }
}

/// The classic store is never asked image by image: its list costs less.
async fn what_was_seen_holds_until_something_of_it_goes_or_changes(case: &Case<'_>) {
    let (one, _) = case.publish("holds/app:one", &["a"]).await;
    let (other, _) = case.publish("holds/other:t", &["b"]).await;
    case.pull_tag(&one).await;
    let seen = ok(case.engine().inventory().await, "inventory");
    let holds = async || ok(case.engine().still_holds(&seen).await, "still holds");
    assert_eq!(holds().await, case.is_containerd());
    case.pull_tag(&other).await;
    assert_eq!(holds().await, case.is_containerd(), "what came since does not matter");
    let container = case.subject.create_container(&one.to_reference()).await;
    assert_eq!(holds().await, case.is_containerd(), "who holds it does not matter");
    case.subject.remove_container(&container).await;
    assert_eq!(holds().await, case.is_containerd());
    case.tag(&one.to_reference(), &other).await;
    assert!(!holds().await, "it has one more name");
    case.remove(&other.to_reference()).await;
    assert_eq!(holds().await, case.is_containerd());
    case.remove(&one.to_reference()).await;
    assert!(!holds().await, "it is gone");
}

/// The containerd store fails the whole list when an image goes away in the middle of it.
async fn images_that_come_and_go_do_not_spoil_the_list(case: &Case<'_>) {
    let (stays, _) = case.publish("list/stays:t", &["a"]).await;
    case.pull_tag(&stays).await;
    let mut comes_and_goes = Vec::new();
    for n in 0..4 {
        comes_and_goes.push(case.publish(&format!("list/goes{n}:t"), &["b", "c", "d", "e"]).await.0.to_reference());
    }
    let done = AtomicBool::new(false);
    let churn = async {
        for _ in 0..8 {
            for name in &comes_and_goes {
                case.pull(name).await;
            }
            for name in &comes_and_goes {
                case.remove(name).await;
            }
        }
        done.store(true, Relaxed);
    };
    let list = async {
        while !done.load(Relaxed) {
            let inventory = ok(case.engine().inventory().await, "inventory beside removals");
            assert!(inventory.named(&stays).is_some(), "what stays is always listed");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(churn, list);
    case.remove(&stays.to_reference()).await;
}
