//! Kept images.

use layerkeeper_core::{JobState, StoreKind};
use layerkeeper_engine::Engine;

use crate::ground::{Ground, name, policy, python};
use layerkeeper_engine::fake::FakeImage;

#[tokio::test]
async fn what_is_not_here_at_start_comes() {
    let ground = Ground::new(StoreKind::Containerd, policy()).await;
    ground.here("base:1").await;
    ground.here("cache-python:1").await;
}

#[tokio::test]
async fn a_refresh_moves_a_name_that_moved_at_the_registry_and_lists_the_old_digest() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.here("cache-python:1").await;
    let old = python().resolved();
    let newer = FakeImage::new("python2", &[("os", 50_000_000), ("torch2", 800_000_000)]);
    let digest = ground.publish("cache-python:1", &newer);
    let answers = ground.keeper.prewarm(&[name("cache-python:1")], 0).await.unwrap();
    let row = ground.end(&answers[0].job.id).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert_eq!(row.outcome.digest, Some(digest.to_string()));
    let status = ground.keeper.status().await;
    assert_eq!(status.superseded.len(), 1);
    assert!(status.superseded[0].reference.ends_with(&old.to_string()));
    assert_eq!(status.superseded[0].size, Some(3 * 900_000_000));
    assert!(status.kept.iter().all(|kept| kept.present), "{:?}", status.kept);
}

#[tokio::test]
async fn a_pin_is_held_when_its_tag_moves() {
    for store in [StoreKind::Graphdriver, StoreKind::Containerd] {
        let mut pinned = policy();
        pinned.keep[1].pin = Some(python().resolved());
        let ground = Ground::new(store, pinned).await;
        ground.here("cache-python:1").await;
        ground.publish("cache-python:1", &FakeImage::new("python2", &[("os", 50_000_000), ("torch2", 8)]));
        ground.engine.foreign_remove(&name("cache-python:1").to_reference()).unwrap();
        let answers = ground.keeper.prewarm(&[name("cache-python:1")], 0).await.unwrap();
        let row = ground.end(&answers[0].job.id).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let inventory = ground.engine.inventory().await.unwrap();
        assert_eq!(inventory.named(&name("cache-python:1")).unwrap().layers, python().diff_ids());
        let kept = &ground.keeper.status().await.kept[1];
        assert!(kept.present && kept.pin_unresolvable, "{kept:?}");
    }
}
