//! Containers, and how they hold images.

use layerkeeper_core::ContainerState;

use super::{Case, err, ok};
use crate::EngineError;

pub(super) async fn all(case: &Case<'_>) {
    a_container_that_was_never_started_holds_the_last_tag(case).await;
    a_tag_beside_another_goes_though_a_container_was_made_from_it(case).await;
    a_container_made_by_digest_has_no_name(case).await;
    a_container_keeps_the_image_that_its_tag_left(case).await;
}

async fn a_container_that_was_never_started_holds_the_last_tag(case: &Case<'_>) {
    let (name, _) = case.publish("held/app:t", &["a"]).await;
    case.pull_tag(&name).await;
    let id = case.subject.create_container(&name.to_reference()).await;
    let containers = ok(case.engine().containers().await, "containers");
    let container = containers.iter().find(|container| container.id == id);
    let container = ok(container.ok_or("not listed"), "the container");
    assert_eq!(container.state, ContainerState::Created);
    assert_eq!(container.created_from, Some(name.clone()));
    assert!(!container.name.is_empty() && !container.name.starts_with('/'));
    let image = case.must_have(&name.to_reference()).await;
    assert_eq!(container.image, Some(image.id));
    let inventory = ok(case.engine().inventory().await, "inventory");
    assert_eq!(inventory.holders(&image).map(|holder| holder.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    let error = err(case.engine().remove(&name.to_reference()).await, "removing what a container holds");
    assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    case.must_have(&name.to_reference()).await;
    case.subject.remove_container(&id).await;
    case.remove(&name.to_reference()).await;
    case.must_lack(&name.to_reference()).await;
}

async fn a_tag_beside_another_goes_though_a_container_was_made_from_it(case: &Case<'_>) {
    let (one, _) = case.publish("beheld/app:one", &["a"]).await;
    let two = case.name("beheld/app:two");
    case.pull_tag(&one).await;
    case.tag(&one.to_reference(), &two).await;
    let id = case.subject.create_container(&one.to_reference()).await;
    case.remove(&one.to_reference()).await;
    let image = case.must_have(&two.to_reference()).await;
    let containers = ok(case.engine().containers().await, "containers");
    let container = containers.iter().find(|container| container.id == id);
    assert!(container.is_some_and(|c| c.holds(&image) && c.created_from.is_none()), "by id alone: {container:?}");
    let error = err(case.engine().remove(&two.to_reference()).await, "removing the last tag");
    assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    case.subject.remove_container(&id).await;
    case.remove(&two.to_reference()).await;
}

async fn a_container_made_by_digest_has_no_name(case: &Case<'_>) {
    let (name, published) = case.publish("nameless/app:t", &["a"]).await;
    let row = name.repository.by_digest(published.resolved);
    case.pull(&row).await;
    let id = case.subject.create_container(&row).await;
    let image = case.must_have(&row).await;
    let containers = ok(case.engine().containers().await, "containers");
    let container = containers.iter().find(|container| container.id == id);
    assert!(container.is_some_and(|c| c.holds(&image) && c.created_from.is_none()), "{container:?}");
    let error = err(case.engine().remove(&row).await, "removing what a container holds");
    assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    case.subject.remove_container(&id).await;
    case.remove(&row).await;
}

/// The classic store lists it without a name and refuses its removal. The containerd store no longer lists it: the
/// container names an id that no image has.
async fn a_container_keeps_the_image_that_its_tag_left(case: &Case<'_>) {
    let (name, old) = case.publish("left/app:t", &["a", "b"]).await;
    case.pull_tag(&name).await;
    let before = case.must_have(&name.to_reference()).await;
    let id = case.subject.create_container(&name.to_reference()).await;
    case.publish("left/app:t", &["a", "c"]).await;
    case.pull_tag(&name).await;
    let inventory = ok(case.engine().inventory().await, "inventory");
    let container = inventory.containers.iter().find(|container| container.id == id);
    assert!(
        container.is_some_and(|c| c.image == Some(before.id) && c.created_from.is_none()),
        "the name has moved on: {container:?}"
    );
    let row = name.repository.by_digest(old.resolved);
    let error = err(case.engine().remove(&row).await, "removing the image that a container holds");
    if case.is_containerd() {
        assert!(inventory.images.iter().all(|image| image.id != before.id), "not listed");
        assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    } else {
        assert!(inventory.images.iter().any(|image| image.id == before.id && image.names.is_empty()));
        assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    }
    case.subject.remove_container(&id).await;
    if !case.is_containerd() {
        case.remove(&row).await;
    }
    case.remove(&name.to_reference()).await;
}
