//! The record of what each name stood for.

use layerkeeper_core::StoreKind;
use layerkeeper_engine::Engine as _;
use layerkeeper_store::{ChangeFilter, ChangeRow, Options, Store};

use crate::ground::{Ground, app, name, policy};

const STORES: [StoreKind; 2] = [StoreKind::Graphdriver, StoreKind::Containerd];

/// Every change of a name so far, the newest first.
async fn record(ground: &Ground, tag: &str) -> Vec<ChangeRow> {
    let filter = ChangeFilter { name: Some(name(tag).to_string()), ..ChangeFilter::default() };
    ground.keeper.changes(filter).await.unwrap()
}

#[tokio::test]
async fn what_a_name_stood_for_is_taken_down_when_it_comes_moves_and_goes() {
    for kind in STORES {
        let ground = Ground::new(kind, policy()).await;
        let deployed = ground.ship("app:sha-1").await;
        let image = ground.engine.image(&name("app:sha-1").to_reference()).await.unwrap().unwrap();
        ground.publish("app:sha-1", &app("built again"));
        ground.deploy("app:sha-1", None).await;
        // it would be healed
        ground.keeper.forget(&name("app:sha-1"), 0).await.unwrap();
        ground.engine.foreign_remove(&name("app:sha-1").to_reference()).unwrap();
        ground.until("the loss is taken down", async |ground| record(ground, "app:sha-1").await.len() == 3).await;
        let rows = record(&ground, "app:sha-1").await;
        let stood: Vec<_> = rows.iter().map(|row| row.change.to.as_ref().map(|to| to.image)).collect();
        assert_eq!((stood[0], stood[2]), (None, Some(image.id)), "{rows:?}");
        assert!(stood[1].is_some() && stood[1] != stood[2], "{rows:?}");
        assert_eq!(rows[2].layers, image.layers);
        assert_eq!(rows[2].job, Some(deployed.job.id), "{kind}: our own job did it");
        assert_eq!(rows[0].job, None, "nobody of ours did it");
        let then = ground.keeper.names_at(ground.now()).await.unwrap();
        assert!(then.iter().all(|row| row.change.name != name("app:sha-1").to_string()), "{then:?}");
        assert!(then.iter().any(|row| row.change.name == name("base:1").to_string()), "{then:?}");
    }
}

#[tokio::test]
async fn a_restart_takes_nothing_down_twice() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::over(StoreKind::Containerd, policy(), store.clone()).await;
    ground.ship("app:sha-1").await;
    let again = ground.restarted(store).await;
    again.ship("app:sha-2").await;
    assert_eq!(record(&again, "app:sha-1").await.len(), 1);
    assert_eq!(record(&again, "app:sha-2").await.len(), 1);
}
