//! Between a pull by its digest and its name.

use layerkeeper_core::{JobState, StoreKind};
use layerkeeper_engine::{Engine, EngineError};

use crate::ground::{Ground, app, name, policy};

/// Between the pull by digest and the tag somebody's prune takes the content, which has no name yet: that says nothing of the
/// registry, and the next take pulls it again.
#[tokio::test]
async fn content_that_is_taken_away_before_it_has_its_name_comes_again() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    ground.publish("app:sha-2", &app("app:sha-2"));
    ground.engine.spoil_next_tag(EngineError::NotFound("No such image: app@sha256:…".to_owned()));
    let row = ground.deploy("app:sha-2", None).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert!(ground.engine.image(&name("app:sha-2").to_reference()).await.unwrap().is_some());
    // and of what is to heal: no tombstone, as for one that the registry no longer has
    ground.engine.spoil_next_tag(EngineError::NotFound("No such image: app@sha256:…".to_owned()));
    ground.engine.foreign_remove(&name("app:sha-2").to_reference()).unwrap();
    let is_back =
        async |ground: &Ground| ground.engine.image(&name("app:sha-2").to_reference()).await.unwrap().is_some();
    ground.until("it is back", is_back).await;
}
