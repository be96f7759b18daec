//! The engine goes away and comes back.

use std::time::Duration;

use layerkeeper_core::{JobState, StoreKind};
use layerkeeper_engine::Engine;
use layerkeeper_keeper::DeployRequest;

use crate::ground::{Ground, HOUR, app, name, policy};

const AWAY: &str = "the engine was away";

async fn blocked(ground: &Ground) -> bool {
    ground.keeper.status().await.prune_blocked.is_some_and(|why| why.contains(AWAY))
}

#[tokio::test]
async fn after_an_engine_was_away_nothing_goes_until_a_deploy_has_succeeded() {
    for store in [StoreKind::Graphdriver, StoreKind::Containerd] {
        let ground = Ground::new(store, policy()).await;
        for tag in ["app:sha-1", "app:sha-2", "app:sha-3"] {
            ground.ship(tag).await;
        }
        assert!(!blocked(&ground).await);
        ground.wind(HOUR * 2);
        ground.engine.set_down(true);
        ground.until("it is seen as away", async |ground| !ground.keeper.is_ready()).await;
        ground.engine.set_down(false);
        ground.until("it is back", async |ground| ground.keeper.is_ready() && blocked(ground).await).await;

        let answer = ground.keeper.prune(false, 0).await.unwrap();
        let row = ground.end(&answer.job.id).await;
        let prune = row.outcome.prune.unwrap();
        assert!(prune.removals.is_empty() && prune.blocked.is_some_and(|why| why.contains(AWAY)));
        assert!(prune.kept.iter().any(|kept| kept.class == "blocked"), "{:?}", prune.kept);

        // a deploy that fails opens nothing
        ground.deploy("app:sha-none", None).await;
        assert!(blocked(&ground).await);
        let row = ground.ship("app:sha-4").await;
        assert!(!row.outcome.prune.unwrap().removals.is_empty(), "{store}");
        assert!(!blocked(&ground).await);
        assert_eq!(ground.tags().await, ["sha-3", "sha-4"]);
    }
}

/// Behind a socket that systemd holds open, an engine that restarts only makes its clients wait: no look ever fails.
#[tokio::test]
async fn events_that_break_off_count_as_an_engine_that_was_away() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    assert!(!blocked(&ground).await);
    ground.engine.set_down(true);
    ground.engine.set_down(false);
    ground.until("the break is seen", blocked).await;
    ground.ship("app:sha-2").await;
    assert!(!blocked(&ground).await);
}

#[tokio::test]
async fn a_job_waits_for_the_engine_and_its_tries_are_not_used_up_by_that() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    ground.publish("app:sha-2", &app("app:sha-2"));
    ground.engine.set_down(true);
    let request = DeployRequest { image: name("app:sha-2"), digest: None, over_limit: false };
    let id = ground.keeper.deploy(request, 0).await.unwrap().job.id;
    // more often than `max_attempts`, which is 3
    ground
        .until("it is taken up again and again", async |ground| {
            ground.wind(Duration::from_secs(1));
            ground.keeper.job(&id).await.unwrap().unwrap().job.attempts > 5
        })
        .await;
    let vanished = layerkeeper_engine::EngineError::Vanished("lease does not exist".to_owned());
    ground.engine.spoil_next_pull(layerkeeper_engine::fake::Fault::FailAt(2, vanished));
    ground.engine.set_down(false);
    let row = ground.end(&id).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert_eq!(row.outcome.pull.unwrap().attempts.len(), 2);
    assert!(ground.engine.inventory().await.unwrap().named(&name("app:sha-2")).is_some());
}
