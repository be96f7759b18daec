//! Between a pull by its digest and its name.

use layerkeeper_core::{JobState, StoreKind};
use layerkeeper_engine::Engine;
use layerkeeper_engine::fake::Call;

use crate::ground::{Ground, app, name, policy};

/// Between the pull by digest and the tag somebody's prune takes the content, which has no name yet: that says nothing of the
/// registry, and the next take pulls it again.
#[tokio::test]
async fn content_that_is_taken_away_before_it_has_its_name_comes_again() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    let image = name("app:sha-2");
    let by_digest = image.repository.by_digest(ground.publish("app:sha-2", &app("app:sha-2")));
    let pulls = |ground: &Ground| {
        let log = ground.engine.log();
        log.iter().filter(|call| matches!(call, Call::Pull { reference, .. } if *reference == by_digest)).count()
    };
    let taken = |ground: &Ground| {
        let (engine, reference) = (ground.engine.clone(), by_digest.clone());
        ground.once_at("verified", move || drop(engine.foreign_remove(&reference).unwrap()));
    };
    taken(&ground);
    let row = ground.deploy("app:sha-2", None).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert_eq!(pulls(&ground), 2);
    // and of what is to heal: no tombstone, as for one that the registry no longer has
    taken(&ground);
    ground.engine.foreign_remove(&image.to_reference()).unwrap();
    let is_back = async |ground: &Ground| ground.engine.image(&image.to_reference()).await.unwrap().is_some();
    ground.until("it is back", is_back).await;
    assert_eq!(pulls(&ground), 4);
}
