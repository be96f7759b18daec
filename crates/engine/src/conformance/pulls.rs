//! Pulls: what moves, what does not, and how they fail.

use layerkeeper_core::{Bytes, Digest};

use super::{Case, Recipe, err, ok};
use crate::EngineError;

pub(super) async fn all(case: &Case<'_>) {
    a_tag_is_pulled(case).await;
    a_pull_by_digest_makes_no_tag_and_its_tag_moves_nothing(case).await;
    shared_layers_are_reused(case).await;
    a_blob_that_stands_twice_is_fetched_once(case).await;
    a_blob_under_another_parent_is_reused_by_containerd_only(case).await;
    content_that_came_in_another_blob_is_fetched_again_by_the_classic_store_only(case).await;
    what_the_registry_lacks_is_not_found(case).await;
    a_blob_that_the_registry_lost_is_no_missing_image(case).await;
    a_registry_that_does_not_answer_is_unreachable(case).await;
}

async fn a_tag_is_pulled(case: &Case<'_>) {
    let (name, published) = case.publish("pull/app:t", &["a", "b"]).await;
    assert_eq!(ok(case.engine().resolve(&name.to_reference(), None).await, "resolve"), published.resolved);
    case.must_lack(&name.to_reference()).await;
    let (progress, moved) = case.pull_counting(&name.to_reference()).await;
    assert_eq!(progress.digest, Some(published.resolved));
    assert_eq!(sorted(moved), sorted(published.blobs.clone()));
    for blob in &published.blobs {
        let layer = progress.layers.get(&blob.short());
        assert!(layer.is_some_and(|layer| layer.download_seen), "the stream tells of {blob}: {layer:?}");
    }
    let image = case.must_have(&name.to_reference()).await;
    assert_eq!((image.names, image.layers), ([name.clone()].into(), published.diff_ids));
    let (again, moved) = case.pull_counting(&name.to_reference()).await;
    assert_eq!((again.moved(), moved), (Bytes::ZERO, Vec::new()), "it is up to date");
    case.remove(&name.to_reference()).await;
}

async fn a_pull_by_digest_makes_no_tag_and_its_tag_moves_nothing(case: &Case<'_>) {
    let (name, published) = case.publish("digest/app:t", &["a", "b"]).await;
    let by_digest = name.repository.by_digest(published.resolved);
    let progress = case.pull(&by_digest).await;
    assert_eq!(progress.digest, Some(published.resolved));
    let image = case.must_have(&by_digest).await;
    assert!(image.names.is_empty(), "{:?}", image.names);
    assert!(image.has_digest(&name.repository, published.resolved));
    case.must_lack(&name.to_reference()).await;
    let (progress, moved) = case.pull_counting(&name.to_reference()).await;
    assert_eq!((progress.moved(), moved), (Bytes::ZERO, Vec::new()));
    let tagged = case.must_have(&name.to_reference()).await;
    assert_eq!((tagged.id, tagged.names), (image.id, [name.clone()].into()));
    // the row goes with the last tag: nothing holds the bytes any more
    case.remove(&name.to_reference()).await;
    case.must_lack(&by_digest).await;
    assert!(!case.holds_layers(&published.diff_ids).await);
}

async fn shared_layers_are_reused(case: &Case<'_>) {
    let (one, _) = case.publish("share/app:one", &["a", "b", "c"]).await;
    let (two, published) = case.publish("share/app:two", &["a", "b", "d"]).await;
    case.pull_tag(&one).await;
    let (progress, moved) = case.pull_counting(&two.to_reference()).await;
    assert_eq!(moved, published.blobs[2..]);
    for blob in &published.blobs[..2] {
        let said = progress.layers.get(&blob.short());
        if case.is_containerd() {
            assert_eq!(said, None, "not a word of shared leading layers");
        } else {
            assert!(said.is_some_and(|layer| layer.already_here && !layer.download_seen), "Already exists: {said:?}");
        }
    }
    case.remove(&one.to_reference()).await;
    let image = case.must_have(&two.to_reference()).await;
    assert_eq!(image.layers, published.diff_ids, "what is shared stays");
    case.remove(&two.to_reference()).await;
    let (_, moved) = case.pull_counting(&two.to_reference()).await;
    assert_eq!(sorted(moved), sorted(published.blobs), "after the last tag all of it was gone");
    case.remove(&two.to_reference()).await;
}

async fn a_blob_that_stands_twice_is_fetched_once(case: &Case<'_>) {
    let (name, published) = case.publish("twice/app:t", &["a", "x", "x"]).await;
    let (_, moved) = case.pull_counting(&name.to_reference()).await;
    assert_eq!(sorted(moved), sorted(published.blobs[..2].to_vec()));
    assert_eq!(case.must_have(&name.to_reference()).await.layers, published.diff_ids);
    case.remove(&name.to_reference()).await;
}

async fn a_blob_under_another_parent_is_reused_by_containerd_only(case: &Case<'_>) {
    let (one, _) = case.publish("place/app:one", &["a", "q"]).await;
    let (two, published) = case.publish("place/app:two", &["b", "q"]).await;
    case.pull_tag(&one).await;
    let (progress, moved) = case.pull_counting(&two.to_reference()).await;
    let wanted = if case.is_containerd() { &published.blobs[..1] } else { &published.blobs[..] };
    assert_eq!(sorted(moved), sorted(wanted.to_vec()));
    if case.is_containerd() {
        let said = progress.layers.get(&published.blobs[1].short());
        assert!(said.is_none_or(|layer| !layer.download_seen), "the blob is here, and only to be unpacked: {said:?}");
    }
    case.remove(&one.to_reference()).await;
    case.remove(&two.to_reference()).await;
}

/// The classic store knows a layer by its blob, also after the image has gone. The containerd store skips what is unpacked,
/// then lacks blobs of that image, and does not list it: it is here all the same.
async fn content_that_came_in_another_blob_is_fetched_again_by_the_classic_store_only(case: &Case<'_>) {
    let (one, _) = case.publish("blob/app:one", &["a", "b"]).await;
    let otherwise = Recipe { recompressed: true, ..Recipe::default() };
    let (two, published) = case.publish_as("blob/app:two", &["a", "b", "c"], otherwise).await;
    case.pull_tag(&one).await;
    let (_, moved) = case.pull_counting(&two.to_reference()).await;
    let wanted = if case.is_containerd() { &published.blobs[2..] } else { &published.blobs[..] };
    assert_eq!(sorted(moved), sorted(wanted.to_vec()));
    let image = case.must_have(&two.to_reference()).await;
    assert_eq!((&image.names, &image.layers), (&[two.clone()].into(), &published.diff_ids));
    let inventory = ok(case.engine().inventory().await, "inventory");
    assert_eq!(inventory.named(&two).is_some(), !case.is_containerd(), "is it listed?");
    let container = case.subject.create_container(&two.to_reference()).await;
    let containers = ok(case.engine().containers().await, "containers");
    let created = containers.iter().find(|other| other.id == container);
    assert_eq!(created.and_then(|container| container.image), Some(image.id));
    case.subject.remove_container(&container).await;
    case.remove(&two.to_reference()).await;
    case.must_lack(&two.to_reference()).await;
    let (_, moved) = case.pull_counting(&two.to_reference()).await;
    assert_eq!(moved, published.blobs[2..], "by now the classic store knows both blobs of what is here");
    case.remove(&two.to_reference()).await;
    case.remove(&one.to_reference()).await;
}

async fn what_the_registry_lacks_is_not_found(case: &Case<'_>) {
    let (name, _) = case.publish("lacks/app:t", &["a"]).await;
    let absent = [
        case.name("lacks/app:nope").to_reference(),
        case.name("lacks/never:t").to_reference(),
        name.repository.by_digest(Digest::of(b"never published")),
    ];
    for reference in absent {
        let error = err(case.try_pull(&reference).await, "a pull of what is not there");
        assert!(matches!(error, EngineError::NotFound(_)), "{reference}: {error:?}");
        let error = err(case.engine().resolve(&reference, None).await, "resolving what is not there");
        assert!(matches!(error, EngineError::NotFound(_)), "{reference}: {error:?}");
        case.must_lack(&reference).await;
    }
}

async fn a_blob_that_the_registry_lost_is_no_missing_image(case: &Case<'_>) {
    let (name, published) = case.publish("lost/app:t", &["a", "b"]).await;
    case.subject.lose_blob(published.blobs[1]);
    let error = err(case.try_pull(&name.to_reference()).await, "a pull of what is damaged");
    assert!(matches!(error, EngineError::BlobMissing(_)) && !error.is_transient(), "{error:?}");
    let resolved = ok(case.engine().resolve(&name.to_reference(), None).await, "resolving what is damaged");
    assert_eq!(resolved, published.resolved, "the manifest is there all the same");
    case.must_lack(&name.to_reference()).await;
}

async fn a_registry_that_does_not_answer_is_unreachable(case: &Case<'_>) {
    let name: Result<layerkeeper_core::ImageName, _> =
        format!("{}/silent/app:t", case.subject.silent_registry()).parse();
    let reference = ok(name, "a name").to_reference();
    let error = err(case.try_pull(&reference).await, "a pull from nowhere");
    assert!(matches!(error, EngineError::RegistryUnreachable(_)), "{error:?}");
    let error = err(case.engine().resolve(&reference, None).await, "resolving nowhere");
    assert!(matches!(error, EngineError::RegistryUnreachable(_)), "{error:?}");
}

fn sorted(mut digests: Vec<Digest>) -> Vec<Digest> {
    digests.sort();
    digests
}
