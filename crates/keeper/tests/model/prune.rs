//! Pruning.

use layerkeeper_core::{ContainerState, JobState, StoreKind};

use crate::ground::{Ground, HOUR, name, policy};

#[tokio::test]
async fn the_newest_stay_and_old_ones_go_with_their_own_rows() {
    for store in [StoreKind::Graphdriver, StoreKind::Containerd] {
        let ground = Ground::new(store, policy()).await;
        for tag in ["app:sha-1", "app:sha-2", "app:sha-3"] {
            ground.ship(tag).await;
        }
        assert_eq!(ground.tags().await, ["sha-1", "sha-2", "sha-3"], "too young to go");
        ground.wind(HOUR * 2);
        let dry = ground.keeper.plan_prune(false).await.unwrap();
        let planned: Vec<&str> = dry.removals.iter().map(|r| &*r.name).collect();
        let row = ground.ship("app:sha-4").await;
        assert_eq!(ground.tags().await, ["sha-3", "sha-4"], "{store}");
        let prune = row.outcome.prune.unwrap();
        let gone: Vec<&str> = prune.removals.iter().map(|r| &*r.name).collect();
        assert!(gone.starts_with(&planned), "a dry run prints the very plan: {planned:?} {gone:?}");
        // a layer of the model takes three times its size unpacked, and the containerd store keeps the blob as well
        let layer = if store == StoreKind::Graphdriver { 60_000_000 } else { 80_000_000 };
        assert_eq!(prune.freed_bytes, 2 * layer, "{store}: two business layers: {prune:?}");
        assert!(prune.removals.iter().all(|r| matches!(&*r.outcome, "removed" | "untagged" | "gone")), "{prune:?}");
    }
}

#[tokio::test]
async fn a_held_image_stays_and_the_container_is_named() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    ground.engine.create_container("web", &name("app:sha-1").to_reference(), ContainerState::Exited);
    for tag in ["app:sha-2", "app:sha-3"] {
        ground.ship(tag).await;
    }
    ground.wind(HOUR * 2);
    let row = ground.ship("app:sha-4").await;
    assert_eq!(ground.tags().await, ["sha-1", "sha-3", "sha-4"]);
    let prune = row.outcome.prune.unwrap();
    let held = prune.kept.iter().find(|k| k.name.ends_with("sha-1")).unwrap();
    assert_eq!((held.class.as_str(), held.reason.as_str()), ("held", "held by container web (exited)"));
}

#[tokio::test]
async fn nothing_goes_before_a_deploy_has_succeeded_on_this_engine() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.here("cache-python:1").await;
    for tag in ["app:sha-1", "app:sha-2", "app:sha-3"] {
        ground.publish(tag, &crate::ground::app(tag));
        ground.engine.preload(&name(tag).to_reference(), &crate::ground::app(tag));
    }
    ground.keeper.plan_prune(false).await.unwrap();
    ground.wind(HOUR * 100);
    let answer = ground.keeper.prune(false, 0).await.unwrap();
    let row = ground.end(&answer.job.id).await;
    assert_eq!(row.job.state, JobState::Succeeded);
    assert!(row.outcome.prune.unwrap().blocked.is_some());
    assert_eq!(ground.tags().await.len(), 3);
}
