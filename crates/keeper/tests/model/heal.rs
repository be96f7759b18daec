//! What somebody takes away comes back, with the word of how it went; what was removed on purpose stays away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use layerkeeper_core::job::JobKind;
use layerkeeper_core::{ImageName, JobState, StoreKind};
use layerkeeper_engine::{Engine, EngineError};
use layerkeeper_keeper::Refusal;
use layerkeeper_store::{JobFilter, JobRow};

use crate::ground::{Ground, HOUR, name, policy};

const KEPT: [&str; 2] = ["base:1", "cache-python:1"];

/// Nothing runs, waits or is missing, and both kept images were confirmed.
async fn calm(ground: &Ground) {
    ground
        .until("all is calm", async |ground| {
            let status = ground.keeper.status().await;
            let idle = status.ready && status.running.is_none() && status.queued == 0 && status.losses.is_empty();
            idle && status.kept.iter().all(|kept| kept.present && kept.last_refresh.is_some())
        })
        .await;
}

async fn is_here(ground: &Ground, image: &ImageName) -> bool {
    ground.engine.inventory().await.unwrap().named(image).is_some()
}

async fn heals(ground: &Ground) -> Vec<JobRow> {
    let filter = JobFilter { kinds: vec![JobKind::Heal], ..JobFilter::default() };
    let mut rows = ground.keeper.jobs(filter).await.unwrap();
    rows.sort_by_key(|row| row.job.seq);
    rows
}

async fn counted(ground: &Ground, image: &str, cause: &str) -> bool {
    let line = format!("layerkeeper_heals_total{{cause=\"{cause}\",image=\"{}\"}} 1\n", name(image));
    ground.keeper.metrics_text().await.contains(&line)
}

#[tokio::test]
async fn after_a_prune_the_kept_set_comes_back_in_the_order_of_the_file() {
    for store in [StoreKind::Graphdriver, StoreKind::Containerd] {
        let ground = Ground::new(store, policy()).await;
        calm(&ground).await;
        ground.engine.foreign_prune(true);
        ground.until("both heal", async |ground| heals(ground).await.len() == 2).await;
        calm(&ground).await;
        let rows = heals(&ground).await;
        let images: Vec<String> = rows.iter().map(|row| row.job.intent.image().unwrap().to_string()).collect();
        assert_eq!(images, KEPT.map(|image| name(image).to_string()));
        assert!(rows.iter().all(|row| row.job.state == JobState::Succeeded), "{rows:?}");
        for image in KEPT {
            assert!(counted(&ground, image, "prune").await, "{}", ground.keeper.metrics_text().await);
        }
    }
}

#[tokio::test]
async fn one_that_somebody_removed_comes_back_and_the_call_is_named() {
    for store in [StoreKind::Graphdriver, StoreKind::Containerd] {
        let ground = Ground::new(store, policy()).await;
        calm(&ground).await;
        ground.engine.foreign_remove(&name("cache-python:1").to_reference()).unwrap();
        ground.until("it heals", async |ground| counted(ground, "cache-python:1", "delete").await).await;
        assert_eq!(heals(&ground).await.len(), 1, "the other one was not touched");
    }
}

#[tokio::test]
async fn a_tag_that_the_last_plan_kept_comes_back_and_one_that_it_let_go_does_not() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    for tag in ["app:sha-1", "app:sha-2"] {
        ground.ship(tag).await;
        ground.wind(HOUR * 2);
    }
    ground.ship("app:sha-3").await;
    assert_eq!(ground.tags().await, ["sha-2", "sha-3"], "keep_last is 2");
    calm(&ground).await;
    ground.engine.foreign_remove(&name("app:sha-2").to_reference()).unwrap();
    ground.until("it heals", async |ground| counted(ground, "app:sha-2", "delete").await).await;
    assert_eq!(ground.tags().await, ["sha-2", "sha-3"]);
    assert_eq!(heals(&ground).await.len(), 1);
}

#[tokio::test]
async fn a_runtime_tag_that_the_registry_no_longer_has_is_given_up() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    let digest = ground.ship("app:sha-1").await.outcome.digest.unwrap().parse().unwrap();
    calm(&ground).await;
    ground.engine.registry().remove_image(&name("app:sha-1").repository, digest);
    ground.engine.foreign_remove(&name("app:sha-1").to_reference()).unwrap();
    ground
        .until("it is given up", async |ground| {
            ground.wind(Duration::from_secs(60));
            ground.keeper.reload(crate::ground::settings(policy()));
            let forgotten = ground.keeper.status().await.forgotten;
            forgotten
                .iter()
                .any(|stone| stone.who == "layerkeeper" && stone.reason.contains("registry no longer has it"))
        })
        .await;
    assert!(ground.tags().await.is_empty());
}

#[tokio::test]
async fn what_is_forgotten_stays_away_until_somebody_names_it_again() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    calm(&ground).await;
    let outside = ground.keeper.forget(&name("other:1"), 7).await;
    assert!(matches!(outside, Err(Refusal::Policy(_))), "{outside:?}");
    let python = name("cache-python:1");
    assert_eq!(ground.keeper.forget(&python, 1000).await.unwrap().who, "uid 1000");
    assert!(is_here(&ground, &python).await, "nothing is removed");
    ground.engine.foreign_remove(&python.to_reference()).unwrap();
    // a deploy refreshes what is kept, and this is not
    ground.ship("app:sha-1").await;
    let status = ground.keeper.status().await;
    assert_eq!(status.kept[1].finding, "forgotten");
    assert!(status.losses.is_empty(), "{:?}", status.losses);
    assert!(heals(&ground).await.is_empty() && !is_here(&ground, &python).await);
    ground.keeper.prewarm(std::slice::from_ref(&python), 0).await.unwrap();
    calm(&ground).await;
    assert!(is_here(&ground, &python).await);
}

#[tokio::test]
async fn with_the_registry_down_it_backs_off_and_does_not_spin() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    calm(&ground).await;
    ground.shelf.down.store(true, Ordering::SeqCst);
    ground.engine.registry().make_unreachable("ghcr.io");
    ground.engine.foreign_remove(&name("cache-python:1").to_reference()).unwrap();
    // three hours; a new job wakes the worker, and a reload the watch
    for _ in 0..36 {
        ground.wind(Duration::from_secs(300));
        ground.keeper.prewarm(&[name("base:1")], 0).await.unwrap();
        ground.keeper.reload(crate::ground::settings(policy()));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let jobs = heals(&ground).await.len();
    assert!((2..=12).contains(&jobs), "{jobs} jobs in three hours");
    let loss = ground.keeper.status().await.losses.remove(0);
    assert_eq!((loss.image, loss.cause.as_str()), (name("cache-python:1").to_string(), "delete"));
}

#[tokio::test]
async fn another_image_store_is_said_in_those_words_and_nothing_is_pruned() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    calm(&ground).await;
    ground.engine.set_down(true);
    ground.engine.flip_store(StoreKind::Containerd);
    ground.engine.set_down(false);
    ground.until("the kept set is back", async |ground| counted(ground, "base:1", "store flip").await).await;
    calm(&ground).await;
    assert!(ground.keeper.status().await.prune_blocked.is_some());
    assert!(ground.tags().await.is_empty(), "what the other store had is not ours to bring back");
}

#[tokio::test]
async fn one_that_is_taken_away_again_and_again_is_tried_once_an_hour() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    calm(&ground).await;
    let python = name("cache-python:1");
    for time in 1..=3 {
        ground.engine.foreign_remove(&python.to_reference()).unwrap();
        ground.until("it heals", async |ground| heals(ground).await.len() == time).await;
        calm(&ground).await;
        ground.wind(Duration::from_secs(60));
    }
    ground.engine.foreign_remove(&python.to_reference()).unwrap();
    ground
        .until("it is slowed", async |ground| ground.keeper.status().await.losses.iter().any(|loss| loss.slowed))
        .await;
    assert_eq!(heals(&ground).await.len(), 3);
    ground.wind(HOUR);
    ground.keeper.reload(crate::ground::settings(policy()));
    calm(&ground).await;
    assert_eq!(heals(&ground).await.len(), 4);
}

#[tokio::test]
async fn a_clock_that_is_set_back_by_a_day_makes_nothing_wait_for_a_day() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    calm(&ground).await;
    let silent = EngineError::RegistryUnreachable("connection refused".to_owned());
    ground.engine.registry().set_trouble(Some(silent));
    ground.shelf.down.store(true, Ordering::SeqCst);
    ground.engine.foreign_remove(&name("cache-python:1").to_reference()).unwrap();
    let failed = async |ground: &Ground| heals(ground).await.iter().any(|row| row.job.state == JobState::Failed);
    ground.until("healing fails", failed).await;
    ground.keeper.reload(crate::ground::settings(policy()));
    let pauses = async |ground: &Ground| ground.keeper.status().await.losses.iter().any(|l| l.next_try.is_some());
    ground.until("healing pauses", pauses).await;
    // the loss, the registry's pause and whatever job there is wait for an instant of tomorrow now
    ground.set_back(HOUR * 24);
    ground.engine.registry().set_trouble(None);
    ground.shelf.down.store(false, Ordering::SeqCst);
    ground.keeper.reload(crate::ground::settings(policy()));
    calm(&ground).await;
    assert!(is_here(&ground, &name("cache-python:1")).await);
}

#[tokio::test]
async fn a_tag_that_somebody_made_here_is_not_replaced_by_what_the_registry_has_under_its_name() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    let local = name("app:sha-2");
    ground.engine.foreign_tag(&name("base:1").to_reference(), &local).unwrap();
    ground.publish("app:sha-2", &crate::ground::app("app:sha-2"));
    ground.ship("app:sha-3").await;
    calm(&ground).await;
    ground.engine.foreign_remove(&local.to_reference()).unwrap();
    // a loss that is healed, so that the one before it would have been
    ground.engine.foreign_remove(&name("app:sha-3").to_reference()).unwrap();
    ground.until("it heals", async |ground| counted(ground, "app:sha-3", "delete").await).await;
    calm(&ground).await;
    assert_eq!(ground.tags().await, ["sha-1", "sha-3"]);
}
