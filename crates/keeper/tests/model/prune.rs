//! Pruning.

use std::sync::atomic::Ordering;

use layerkeeper_core::{ContainerState, JobState, Policy, StoreKind};
use layerkeeper_engine::EngineError;
use layerkeeper_engine::fake::{Call, FakeImage};
use layerkeeper_store::{Options, Store};

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

/// sha-1 and sha-2 share a layer; somebody takes hold of sha-1 in the last moment.
#[tokio::test]
async fn freed_is_what_really_went_when_a_removal_does_not_happen() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    let shared = |own: &str| FakeImage::new(own, &[("os", 50_000_000), ("shared", 30_000_000), (own, 10_000_000)]);
    for tag in ["app:sha-1", "app:sha-2"] {
        ground.publish(tag, &shared(tag));
        assert_eq!(ground.deploy(tag, None).await.job.state, JobState::Succeeded);
    }
    for tag in ["app:sha-3", "app:sha-4"] {
        ground.ship(tag).await;
    }
    ground.wind(HOUR * 2);
    ground.engine.spoil_next_removal(EngineError::Conflict("container web is using it".to_owned()));
    let answer = ground.keeper.prune(false, 0).await.unwrap();
    let prune = ground.end(&answer.job.id).await.outcome.prune.unwrap();
    let went: Vec<_> = prune.removals.iter().map(|r| (r.outcome.as_str(), r.freed_bytes)).collect();
    assert_eq!(went, [("held", 0), ("removed", 30_000_000)], "the layer that both have stays: {prune:?}");
    assert_eq!(prune.freed_bytes, 30_000_000);
    assert_eq!(prune.removals[0].detail, "container web is using it");
    let buried: Vec<_> = store.tombstones().await.unwrap().into_iter().map(|stone| stone.image).collect();
    assert_eq!(buried, [name("app:sha-2")], "what stays is healed, and what went is not");
}

/// Somebody has forgotten it, then pulled it by hand: that it could not go changes nothing about that.
#[tokio::test]
async fn a_tag_that_was_forgotten_and_could_not_go_is_forgotten_still() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    for tag in ["app:sha-1", "app:sha-2", "app:sha-3"] {
        ground.ship(tag).await;
    }
    ground.keeper.forget(&name("app:sha-1"), 7).await.unwrap();
    ground.wind(HOUR * 2);
    ground.engine.spoil_next_removal(EngineError::Conflict("container web is using it".to_owned()));
    let answer = ground.keeper.prune(false, 0).await.unwrap();
    assert_eq!(ground.end(&answer.job.id).await.outcome.prune.unwrap().removals[0].outcome, "held");
    let who: Vec<_> = store.tombstones().await.unwrap().into_iter().map(|stone| (stone.image, stone.who)).collect();
    assert_eq!(who, [(name("app:sha-1"), "uid 7".to_owned())]);
}

#[tokio::test]
async fn one_removal_that_fails_never_stops_the_rest_and_a_failing_prune_no_deploy() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    for tag in ["app:sha-1", "app:sha-2", "app:sha-3", "app:sha-4"] {
        ground.ship(tag).await;
    }
    ground.wind(HOUR * 2);
    ground.engine.spoil_next_removal(EngineError::Other("driver failed".to_owned()));
    let row = ground.ship("app:sha-5").await;
    let prune = row.outcome.prune.unwrap();
    let went: Vec<_> = prune.removals.iter().map(|removal| removal.outcome.as_str()).collect();
    assert_eq!(went, ["failed", "removed", "removed"]);
    assert_eq!(ground.tags().await, ["sha-1", "sha-4", "sha-5"]);
    let buried = store.tombstones().await.unwrap().len();
    assert_eq!(buried, 3, "before each call: whether the failed one went is not known, and it was to go");
}

/// The containerd store would take the tag along with its row.
#[tokio::test]
async fn a_row_whose_tag_did_not_go_is_not_asked_for() {
    let ground = Ground::new(StoreKind::Containerd, policy()).await;
    for tag in ["app:sha-1", "app:sha-2"] {
        ground.ship(tag).await;
    }
    ground.wind(HOUR * 2);
    ground.engine.spoil_next_removal(EngineError::Other("driver failed".to_owned()));
    let prune = ground.ship("app:sha-3").await.outcome.prune.unwrap();
    let went: Vec<_> = prune.removals.iter().map(|r| (r.outcome.as_str(), r.detail.as_str())).collect();
    let stands = format!("{} did not go", name("app:sha-1"));
    assert_eq!(went, [("failed", "the engine says: driver failed"), ("skipped", &*stands)]);
    let asked = ground.engine.log().into_iter().filter(|call| matches!(call, Call::Remove { .. })).count();
    assert_eq!(asked, 1, "only the tag");
}

/// Only kept images, and no deploy ever: what their moved tags left behind can go all the same.
#[tokio::test]
async fn superseded_digests_can_go_where_nothing_is_ever_deployed() {
    let ground = Ground::new(StoreKind::Graphdriver, Policy { runtime: Vec::new(), ..policy() }).await;
    ground.here("base:1").await;
    ground.publish("base:1", &FakeImage::new("base2", &[("os2", 50_000_000)]));
    let answers = ground.keeper.prewarm(&[name("base:1")], 0).await.unwrap();
    ground.end(&answers[0].job.id).await;
    assert_eq!(ground.keeper.status().await.superseded.len(), 1);
    let answer = ground.keeper.prune(true, 0).await.unwrap();
    let prune = ground.end(&answer.job.id).await.outcome.prune.unwrap();
    assert_eq!((prune.blocked, prune.removals.len()), (None, 1));
    assert!(ground.keeper.status().await.superseded.is_empty());
}

#[tokio::test]
async fn what_went_and_stayed_is_told_after_a_restart_too() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    ground.ship("app:sha-1").await;
    let before = ground.keeper.status().await.last_prune.unwrap();
    let again = ground.restarted(store).await;
    assert_eq!(again.keeper.status().await.last_prune, Some(before));
}

#[tokio::test]
async fn a_clock_that_jumps_right_after_it_was_looked_at_makes_nothing_old() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    for tag in ["app:sha-1", "app:sha-2", "app:sha-3"] {
        ground.ship(tag).await;
    }
    let day = i64::try_from(HOUR.as_millis()).unwrap() * 24;
    ground.clock.after_boot.store(day, Ordering::SeqCst);
    let plan = ground.keeper.plan_prune(false).await.unwrap();
    assert_eq!(ground.clock.after_boot.load(Ordering::SeqCst), 0, "it has jumped");
    assert!(plan.removals.is_empty(), "{plan:?}");
}

#[tokio::test]
async fn what_our_own_prune_took_is_told_with_what_keeps_it() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    for tag in ["app:sha-1", "app:sha-2", "app:sha-3"] {
        ground.ship(tag).await;
        ground.wind(HOUR * 2);
    }
    ground.ship("app:sha-4").await;
    assert!(!ground.tags().await.contains(&"sha-1".to_owned()));
    let causes = async |ground: &Ground| {
        let plan = ground.keeper.plan(&name("app:sha-1").to_reference()).await.unwrap();
        plan.estimate.layers[2].causes.clone()
    };
    ground.until("it is told as lost", async |ground| causes(ground).await[0].cause == "lost").await;
    let lost = causes(&ground).await.remove(0);
    assert!(lost.why.contains("layerkeeper removed it"), "{lost:?}");
    assert!(lost.advice.unwrap().contains("raise keep_last"));
}
