//! Names: local tags, and what becomes of an image whose tag moves.

use layerkeeper_core::Digest;

use super::{Case, err};
use crate::EngineError;

pub(super) async fn all(case: &Case<'_>) {
    a_local_tag_is_one_more_name(case).await;
    a_local_tag_moves_a_name(case).await;
    a_tag_that_a_pull_moves_leaves_a_digest_row_on_the_classic_store_only(case).await;
    an_image_pulled_by_digest_outlives_its_moved_tag(case).await;
}

async fn a_local_tag_is_one_more_name(case: &Case<'_>) {
    let (name, published) = case.publish("local/app:t", &["a"]).await;
    case.pull_tag(&name).await;
    let (near, far) = (case.name("local/app:near"), case.name("local/far:t"));
    case.tag(&name.to_reference(), &near).await;
    case.tag(&name.repository.by_digest(published.resolved), &far).await;
    let image = case.must_have(&far.to_reference()).await;
    assert_eq!(image.names, [name.clone(), near.clone(), far.clone()].into());
    let told = image.has_digest(&far.repository, published.resolved);
    assert_eq!(told, case.is_containerd(), "a local tag brings a RepoDigest on the containerd store only");
    let nothing = name.repository.by_digest(Digest::of(b"nothing"));
    let error = err(case.engine().tag(&nothing, &near).await, "tagging nothing");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    for name in [name, near, far] {
        case.remove(&name.to_reference()).await;
    }
    assert!(!case.holds_layers(&published.diff_ids).await);
}

async fn a_local_tag_moves_a_name(case: &Case<'_>) {
    let (old, _) = case.publish("move/app:old", &["a"]).await;
    let (new, published) = case.publish("move/app:new", &["a", "b"]).await;
    let moving = case.name("move/app:moving");
    for name in [&old, &new] {
        case.pull_tag(name).await;
        case.tag(&name.to_reference(), &moving).await;
    }
    assert_eq!(case.must_have(&moving.to_reference()).await.layers, published.diff_ids);
    assert_eq!(case.must_have(&old.to_reference()).await.names, [old.clone()].into());
    for name in [old, new, moving] {
        case.remove(&name.to_reference()).await;
    }
}

async fn a_tag_that_a_pull_moves_leaves_a_digest_row_on_the_classic_store_only(case: &Case<'_>) {
    let (name, old) = case.publish("follow/app:t", &["a", "b"]).await;
    case.pull_tag(&name).await;
    let (_, new) = case.publish("follow/app:t", &["a", "c"]).await;
    let (_, moved) = case.pull_counting(&name.to_reference()).await;
    assert_eq!(moved, new.blobs[1..]);
    let image = case.must_have(&name.to_reference()).await;
    assert_eq!(image.layers, new.diff_ids);
    assert!(image.has_digest(&name.repository, new.resolved) && !image.has_digest(&name.repository, old.resolved));
    let old_row = name.repository.by_digest(old.resolved);
    if case.is_containerd() {
        case.must_lack(&old_row).await;
        assert!(!case.holds_layers(&old.diff_ids).await, "the old image left the list");
    } else {
        let left = case.must_have(&old_row).await;
        assert!(left.names.is_empty() && left.layers == old.diff_ids, "{left:?}");
        case.remove(&old_row).await;
        assert!(!case.holds_layers(&old.diff_ids).await, "and can be removed by its row");
    }
    case.remove(&name.to_reference()).await;
}

async fn an_image_pulled_by_digest_outlives_its_moved_tag(case: &Case<'_>) {
    let (name, old) = case.publish("outlive/app:t", &["a", "b"]).await;
    let old_row = name.repository.by_digest(old.resolved);
    case.pull(&old_row).await;
    case.pull_tag(&name).await;
    let (_, new) = case.publish("outlive/app:t", &["a", "c"]).await;
    case.pull_tag(&name).await;
    assert_eq!(case.must_have(&old_row).await.layers, old.diff_ids, "on both stores");
    case.remove(&name.to_reference()).await;
    assert!(!case.holds_layers(&new.diff_ids).await);
    case.must_have(&old_row).await;
    case.remove(&old_row).await;
    assert!(!case.holds_layers(&old.diff_ids).await);
}
