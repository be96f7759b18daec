//! What was made to read images by, and left by a crash.

use layerkeeper_core::StoreKind;
use layerkeeper_engine::Engine as _;
use layerkeeper_store::{Options, Store};

use crate::ground::{Ground, name, policy};

#[tokio::test]
async fn a_start_removes_what_a_crash_left_open_and_nothing_that_somebody_else_reads_by() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    ground.ship("app:sha-1").await;
    let (image, owner) = (name("app:sha-1").to_reference(), store.owner().await.unwrap());
    ground.engine.open(&image, &owner).await.unwrap();
    let others = ground.engine.open(&image, "somebody else").await.unwrap();
    assert_eq!(ground.engine.left_open(&owner).await.unwrap().len(), 1);
    let again = ground.restarted(store).await;
    again.until("ours is gone", async |ground| ground.engine.left_open(&owner).await.unwrap().is_empty()).await;
    assert_eq!(again.engine.left_open("somebody else").await.unwrap(), [others]);
    let inventory = again.engine.inventory().await.unwrap();
    assert!(inventory.containers.is_empty(), "none of them is the host's: {inventory:?}");
}
