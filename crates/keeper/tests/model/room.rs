//! The disk guard: what does not fit makes room or is refused, and never anything in between.

use std::sync::atomic::Ordering;

use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{Bytes, JobState, Policy, StoreKind};
use layerkeeper_engine::Engine;
use layerkeeper_engine::fake::FakeImage;

use crate::ground::{Ground, HOUR, name, policy};

const MB: u64 = 1_000_000;
const FLOOR: u64 = 100 * MB;
/// A version's own layer: 20 MB to download, three times that unpacked.
const PEAK: u64 = 80 * MB;

fn guarded() -> Policy {
    Policy { min_free: Bytes(FLOOR), ..policy() }
}

/// Four versions here, all of them young.
async fn four(policy: Policy) -> Ground {
    let ground = Ground::new(StoreKind::Graphdriver, policy).await;
    for tag in ["app:sha-1", "app:sha-2", "app:sha-3", "app:sha-4"] {
        ground.ship(tag).await;
    }
    ground
}

#[tokio::test]
async fn a_deploy_that_would_not_fit_makes_room_from_the_oldest_on_and_no_more_than_it_needs() {
    let ground = four(guarded()).await;
    ground.free(FLOOR + PEAK - 50 * MB);
    let row = ground.ship("app:sha-5").await;
    assert_eq!(ground.tags().await, ["sha-2", "sha-3", "sha-4", "sha-5"]);
    let pressure = row.outcome.pressure.unwrap();
    let gone: Vec<_> = pressure.removals.iter().map(|r| (r.name.as_str(), r.outcome.as_str(), r.freed_bytes)).collect();
    assert_eq!(gone, [(&*name("app:sha-1").to_string(), "removed", 60 * MB)]);
    assert!(pressure.removals[0].reason.contains("makes room"), "{pressure:?}");
    assert!(ground.free_bytes() >= FLOOR);
    // what made room is not brought back
    let heals = ground.keeper.status().await.losses;
    assert!(heals.is_empty(), "{heals:?}");
}

#[tokio::test]
async fn a_deploy_for_which_there_is_no_room_is_refused_with_the_numbers_and_nothing_goes() {
    let ground = four(guarded()).await;
    // the newest must stay: three of 60 MB are all that may go
    ground.free(0);
    ground.publish("app:sha-5", &crate::ground::app("app:sha-5"));
    let row = ground.deploy("app:sha-5", None).await;
    assert_eq!(row.job.state, JobState::Succeeded, "180 MB are just enough: {:?}", row.outcome.error);
    let ground = four(guarded()).await;
    ground.disk.total.fetch_sub(1, Ordering::SeqCst);
    ground.free(0);
    let big = FakeImage::new("big", &[("os", 50 * MB), ("torch", 900 * MB), ("big", 200 * MB)]);
    ground.publish("app:sha-5", &big);
    let row = ground.deploy("app:sha-5", None).await;
    assert_eq!(row.job.state, JobState::Refused);
    let error = row.outcome.error.unwrap();
    assert_eq!(error.class, "no_room");
    for part in ["800 MB at its peak (200 MB downloaded, 600 MB unpacked)", "0 B are free", "900 MB are missing"] {
        assert!(error.message.contains(part), "{part:?} is not in {:?}", error.message);
    }
    for part in ["would free 180 MB (3 names)", "nothing was removed", "layerkeeper prune --superseded", "on-pressure"]
    {
        assert!(error.detail.contains(part), "{part:?} is not in {:?}", error.detail);
    }
    assert_eq!(ground.tags().await, ["sha-1", "sha-2", "sha-3", "sha-4"]);
    assert!(row.outcome.pressure.is_none() && row.outcome.moved_bytes < MB);
}

#[tokio::test]
async fn when_other_data_fills_the_disk_the_refusal_says_so() {
    let ground = four(guarded()).await;
    let used = ground.disk.total.load(Ordering::SeqCst) - ground.free_bytes();
    ground.disk.others.store(ground.free_bytes(), Ordering::SeqCst);
    ground.publish("app:sha-5", &FakeImage::new("big", &[("big", 200 * MB)]));
    let row = ground.deploy("app:sha-5", None).await;
    assert_eq!(row.job.state, JobState::Refused);
    let detail = row.outcome.error.unwrap().detail;
    assert!(detail.contains(&format!("all images together take {}", Bytes(used))), "{detail}");
    assert!(detail.contains("the rest is other data"), "{detail}");
}

#[tokio::test]
async fn healing_removes_nothing_to_make_room() {
    let ground = four(guarded()).await;
    ground.free(FLOOR + 10 * MB);
    ground.engine.foreign_remove(&name("app:sha-4").to_reference()).unwrap();
    // its 60 MB are free again, and it takes 80 to bring it back
    ground
        .until("healing is refused", async |ground| {
            ground.keeper.jobs(Default::default()).await.unwrap().iter().any(|row| {
                row.job.state == JobState::Refused
                    && row
                        .outcome
                        .error
                        .as_ref()
                        .is_some_and(|e| e.detail.contains("Healing removes nothing to make room"))
            })
        })
        .await;
    assert_eq!(ground.tags().await, ["sha-1", "sha-2", "sha-3"]);
}

#[tokio::test]
async fn superseded_digests_make_room_first_where_the_policy_allows_it() {
    for (remove_superseded, tags) in [(RemoveSuperseded::OnPressure, 5), (RemoveSuperseded::Never, 4)] {
        let ground = four(Policy { remove_superseded, ..guarded() }).await;
        ground.publish("base:1", &FakeImage::new("base2", &[("os2", 50 * MB)]));
        let answers = ground.keeper.prewarm(&[name("base:1")], 0).await.unwrap();
        ground.end(&answers[0].job.id).await;
        let old = FakeImage::new("base3", &[("os3", 50 * MB)]);
        ground.publish("base:1", &old);
        let answers = ground.keeper.prewarm(&[name("base:1")], 0).await.unwrap();
        ground.end(&answers[0].job.id).await;
        assert_eq!(ground.keeper.status().await.superseded_bytes, 150 * MB);
        ground.free(FLOOR + PEAK - 50 * MB);
        let row = ground.ship("app:sha-5").await;
        let gone = row.outcome.pressure.unwrap().removals;
        let superseded = gone.iter().filter(|removal| removal.name.contains('@')).count();
        assert_eq!((superseded > 0, gone.len() - superseded), (tags == 5, 5 - tags), "{gone:?}");
        assert_eq!(ground.tags().await.len(), tags, "{remove_superseded:?}: {gone:?}");
    }
}

#[tokio::test]
async fn nothing_goes_for_a_pull_while_removals_are_blocked() {
    let ground = four(guarded()).await;
    ground.engine.set_down(true);
    ground.until("it is seen as away", async |ground| !ground.keeper.is_ready()).await;
    ground.engine.set_down(false);
    ground.until("it is back", async |ground| ground.keeper.is_ready()).await;
    ground.wind(HOUR * 2);
    ground.free(FLOOR + PEAK - 50 * MB);
    ground.publish("app:sha-5", &crate::ground::app("app:sha-5"));
    let row = ground.deploy("app:sha-5", None).await;
    assert_eq!(row.job.state, JobState::Refused);
    assert_eq!(ground.tags().await.len(), 4);
    // somebody makes room
    ground.free(FLOOR + PEAK);
    assert_eq!(ground.deploy("app:sha-5", None).await.job.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_name_that_is_only_to_be_made_needs_no_room() {
    let ground = four(guarded()).await;
    ground.free(0);
    let inventory = ground.engine.inventory().await.unwrap();
    let digest = inventory.named(&name("app:sha-4")).unwrap().digests_in(&name("app:x").repository).next().unwrap();
    ground.publish("app:sha-6", &crate::ground::app("app:sha-4"));
    let row = ground.deploy("app:sha-6", Some(digest)).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
}
