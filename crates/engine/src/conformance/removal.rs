//! Removing names, one at a time.

use layerkeeper_core::Digest;

use super::{Case, err};
use crate::EngineError;

pub(super) async fn all(case: &Case<'_>) {
    the_image_goes_with_its_last_tag(case).await;
    what_is_not_here_is_not_found(case).await;
    a_digest_row_goes_by_its_name(case).await;
    a_digest_row_beside_a_tag_never_costs_the_tag(case).await;
    a_row_in_another_repository_holds_the_image(case).await;
}

async fn the_image_goes_with_its_last_tag(case: &Case<'_>) {
    let (one, published) = case.publish("last/app:one", &["a"]).await;
    let two = case.name("last/app:two");
    case.pull_tag(&one).await;
    case.tag(&one.to_reference(), &two).await;
    let removed = case.remove(&one.to_reference()).await;
    assert!(removed.deleted.is_empty(), "only untagged: {removed:?}");
    assert_eq!(removed.untagged, [one.to_string()]);
    case.must_lack(&one.to_reference()).await;
    assert_eq!(case.must_have(&two.to_reference()).await.names, [two.clone()].into());
    let removed = case.remove(&two.to_reference()).await;
    assert!(!removed.deleted.is_empty(), "{removed:?}");
    assert!(!case.holds_layers(&published.diff_ids).await);
}

async fn what_is_not_here_is_not_found(case: &Case<'_>) {
    let name = case.name("absent/app:t");
    for reference in [name.to_reference(), name.repository.by_digest(Digest::of(b"absent"))] {
        let error = err(case.engine().remove(&reference).await, "removing nothing");
        assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    }
}

async fn a_digest_row_goes_by_its_name(case: &Case<'_>) {
    let (name, published) = case.publish("row/app:t", &["a"]).await;
    let row = name.repository.by_digest(published.resolved);
    case.pull(&row).await;
    let removed = case.remove(&row).await;
    assert!(!removed.deleted.is_empty(), "{removed:?}");
    case.must_lack(&row).await;
    assert!(!case.holds_layers(&published.diff_ids).await);
}

/// The classic store takes the row and leaves the tags. The containerd store's own `DELETE repository@digest` takes all
/// tags of that repository with that digest (measured), so it is not called.
async fn a_digest_row_beside_a_tag_never_costs_the_tag(case: &Case<'_>) {
    let (one, published) = case.publish("beside/app:one", &["a"]).await;
    let two = case.name("beside/app:two");
    case.pull_tag(&one).await;
    case.tag(&one.to_reference(), &two).await;
    let row = one.repository.by_digest(published.resolved);
    if case.is_containerd() {
        let error = err(case.engine().remove(&row).await, "a removal that would take tags");
        assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    } else {
        assert_eq!(case.remove(&row).await.untagged, [row.to_string()]);
        case.must_lack(&row).await;
    }
    assert_eq!(case.must_have(&one.to_reference()).await.names, [one.clone(), two.clone()].into());
    case.remove(&one.to_reference()).await;
    case.remove(&two.to_reference()).await;
    assert!(!case.holds_layers(&published.diff_ids).await);
}

/// As an alias made for a transfer does: it must be removed by its own name.
async fn a_row_in_another_repository_holds_the_image(case: &Case<'_>) {
    let (alias, published) = case.publish("alias/transfer:t", &["a"]).await;
    let twin = case.publish_twin("alias/app:t", "alias/transfer:t", &["a"]).await;
    let row = alias.repository.by_digest(published.resolved);
    case.pull(&row).await;
    let (progress, moved) = case.pull_counting(&twin.to_reference()).await;
    assert_eq!((progress.digest, moved), (Some(published.resolved), Vec::new()), "the same manifest, nothing moves");
    let image = case.must_have(&twin.to_reference()).await;
    assert!(image.has_digest(&alias.repository, published.resolved), "{:?}", image.digests);
    case.remove(&twin.to_reference()).await;
    assert!(case.must_have(&row).await.names.is_empty());
    // the other way round: the alias goes and the tag stays
    case.pull_tag(&twin).await;
    case.remove(&row).await;
    case.must_lack(&row).await;
    assert_eq!(case.must_have(&twin.to_reference()).await.names, [twin.clone()].into());
    case.remove(&twin.to_reference()).await;
    assert!(!case.holds_layers(&published.diff_ids).await);
}
