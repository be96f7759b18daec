//! A plan on a containerd store, whose list is dear and which is pruned without a word.

use std::time::Duration;

use layerkeeper_core::StoreKind;

use crate::ground::{Ground, app, name, policy};

async fn here(ground: &Ground) -> u64 {
    ground.keeper.plan(&name("app:sha-2").to_reference()).await.unwrap().estimate.here_bytes
}

async fn looked_at(ground: &Ground) -> Option<i64> {
    ground.keeper.status().await.engine.seen_at
}

#[tokio::test]
async fn a_plan_looks_anew_only_where_what_it_rests_on_is_no_longer_here() {
    let ground = Ground::new(StoreKind::Containerd, policy()).await;
    ground.ship("app:sha-1").await;
    ground.publish("app:sha-2", &app("sha-2"));
    // until all that the deploy made the engine tell was heard
    let settled = async |ground: &Ground| {
        let before = looked_at(ground).await;
        ground.wind(Duration::from_secs(1));
        assert_eq!(here(ground).await, 950_000_000);
        looked_at(ground).await == before
    };
    ground.until("a plan does without a look", settled).await;
    ground.engine.foreign_prune_unheard();
    assert_eq!(here(&ground).await, 0);
}
