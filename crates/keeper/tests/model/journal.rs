//! The record of what each name stood for.

use layerkeeper_core::StoreKind;
use layerkeeper_engine::Engine as _;
use layerkeeper_store::{ChangeFilter, ChangeRow, Options, Store};

use crate::ground::{Ground, HOUR, app, name, policy};

const STORES: [StoreKind; 2] = [StoreKind::Graphdriver, StoreKind::Containerd];

/// Every change of a name so far, the newest first.
async fn record(ground: &Ground, tag: &str) -> Vec<ChangeRow> {
    let filter = ChangeFilter { name: Some(name(tag).to_string()), ..ChangeFilter::default() };
    ground.keeper.changes(filter).await.unwrap().into_iter().map(|changed| changed.row).collect()
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

#[tokio::test]
async fn how_a_name_went_is_told_beside_the_change_that_saw_it_go() {
    for kind in STORES {
        let ground = Ground::new(kind, policy()).await;
        for tag in ["app:sha-1", "app:sha-2"] {
            ground.ship(tag).await;
        }
        ground.wind(HOUR * 2);
        ground.ship("app:sha-3").await;
        let how = async |tag: &str| -> Vec<Option<String>> {
            let filter = ChangeFilter { name: Some(name(tag).to_string()), ..ChangeFilter::default() };
            ground.keeper.changes(filter).await.unwrap().into_iter().map(|changed| changed.how).collect()
        };
        ground.until("the prune is taken down", async |ground| record(ground, "app:sha-1").await.len() == 2).await;
        let pruned = how("app:sha-1").await;
        let ours = pruned[0].as_deref().unwrap_or_default();
        assert!(ours.starts_with("layerkeeper removed it (removed: "), "{kind}: {pruned:?}");
        assert_eq!(pruned[1], None, "it came");

        // long after what was told of the first loss
        for lost in [1, 2] {
            ground.wind(HOUR);
            ground.engine.foreign_remove(&name("app:sha-3").to_reference()).unwrap();
            // without winding: whether it was a prune is waited for, for two seconds that would be a minute
            ground.here("app:sha-3").await;
            let healed = async |ground: &Ground| record(ground, "app:sha-3").await.len() == 1 + 2 * lost;
            ground.until("it came back", healed).await;
        }
        let others = how("app:sha-3").await;
        let delete = Some("delete: somebody deleted the image".to_owned());
        assert_eq!(others, [None, delete.clone(), None, delete, None], "{kind}");

        // nobody told of this one: it is not to come back
        ground.keeper.forget(&name("app:sha-2"), 0).await.unwrap();
        ground.engine.foreign_remove(&name("app:sha-2").to_reference()).unwrap();
        ground.until("the loss is taken down", async |ground| record(ground, "app:sha-2").await.len() == 2).await;
        assert_eq!(how("app:sha-2").await, [None, None], "{kind}");
    }
}
