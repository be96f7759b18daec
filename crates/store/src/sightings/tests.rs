//! Places, stays and deploys of names.

use layerkeeper_core::{Digest, ImageId, Timestamp};

use crate::deploys::DeployRow;
use crate::sightings::{NameHistory, Sighting};
use crate::store::Store;
use crate::testing::{ENGINE, deploy, id, name, sighting, store};
use crate::tombstones::Tombstone;

async fn look(store: &Store, names: &[(&str, bool)], now: i64) {
    let seen = names.iter().map(|(text, held)| sighting(text, *held)).collect();
    store.observe_names(ENGINE, seen, Timestamp(now)).await.unwrap();
}

async fn history(store: &Store, text: &str) -> NameHistory {
    store.name_history(ENGINE).await.unwrap()[&name(text)]
}

async fn deployed(store: &Store, n: u32, text: &str, instance: &str, now: i64) -> u64 {
    if store.job(&id(n)).await.unwrap().is_none() {
        store.enqueue(deploy(n, text, None)).await.unwrap();
    }
    let row = DeployRow {
        instance: instance.to_owned(),
        name: name(text),
        digest: Digest::of(b"d"),
        manifest: None,
        image_id: ImageId::of(b"i"),
    };
    store.record_deploy(&id(n), row, Timestamp(now)).await.unwrap()
}

#[tokio::test]
async fn names_of_one_first_look_share_a_place_and_later_ones_come_after() {
    let store = store();
    look(&store, &[("a:1", false), ("a:2", false)], 10).await;
    look(&store, &[("a:1", false), ("a:2", false), ("a:3", false)], 20).await;
    assert_eq!(history(&store, "a:1").await.place, history(&store, "a:2").await.place);
    assert!(history(&store, "a:3").await.place > history(&store, "a:2").await.place);
    assert_eq!(history(&store, "a:1").await.first_seen, Timestamp(10));
    assert_eq!(history(&store, "a:3").await.first_seen, Timestamp(20));
}

#[tokio::test]
async fn a_tag_that_we_removed_and_somebody_made_again_before_a_look_is_new() {
    let store = store();
    look(&store, &[("a:1", false), ("a:2", false)], 10).await;
    let before = history(&store, "a:1").await;
    store.name_went(ENGINE, &name("a:1"), Timestamp(20)).await.unwrap();
    assert!(!store.name_history(ENGINE).await.unwrap().contains_key(&name("a:1")));
    look(&store, &[("a:1", false), ("a:2", false)], 30).await;
    let after = history(&store, "a:1").await;
    assert_eq!((after.first_seen, after.place), (Timestamp(30), before.place));
    assert_eq!(history(&store, "a:2").await.first_seen, Timestamp(10));
}

#[tokio::test]
async fn a_tag_that_somebody_moved_keeps_its_place_and_starts_its_stay_anew() {
    let store = store();
    look(&store, &[("a:1", false)], 10).await;
    let before = history(&store, "a:1").await;
    let moved = || vec![Sighting { image: ImageId::of(b"another"), ..sighting("a:1", false) }];
    for now in [20, 30] {
        store.observe_names(ENGINE, moved(), Timestamp(now)).await.unwrap();
        let after = history(&store, "a:1").await;
        assert_eq!((after.first_seen, after.place), (Timestamp(20), before.place), "at {now}");
    }
    // by our own deploy as well, whatever is looked at first
    deployed(&store, 1, "a:1", ENGINE, 40).await;
    look(&store, &[("a:1", false)], 50).await;
    assert_eq!(history(&store, "a:1").await.first_seen, Timestamp(40));
}

/// Version 1 did not write down which image it was.
#[tokio::test]
async fn a_tag_that_was_seen_by_version_1_stays_as_old_as_it_is() {
    let store = store();
    look(&store, &[("a:1", false)], 10).await;
    store.write_alone(|db| Ok(db.execute("UPDATE names SET image_id = NULL", []).map(drop)?)).await.unwrap();
    look(&store, &[("a:1", false)], 20).await;
    assert_eq!(history(&store, "a:1").await.first_seen, Timestamp(10));
    let moved = Sighting { image: ImageId::of(b"another"), ..sighting("a:1", false) };
    store.observe_names(ENGINE, vec![moved], Timestamp(30)).await.unwrap();
    assert_eq!(history(&store, "a:1").await.first_seen, Timestamp(30));
}

#[tokio::test]
async fn a_name_that_comes_back_keeps_its_place_and_starts_its_stay_anew() {
    let store = store();
    look(&store, &[("a:1", true), ("a:2", false)], 10).await;
    let before = history(&store, "a:1").await;
    look(&store, &[("a:2", false)], 20).await;
    assert!(!store.name_history(ENGINE).await.unwrap().contains_key(&name("a:1")), "it is gone");
    look(&store, &[("a:1", false), ("a:2", false), ("a:9", false)], 30).await;
    let after = history(&store, "a:1").await;
    assert_eq!((after.place, after.first_seen), (before.place, Timestamp(30)));
    assert_eq!(after.last_held, Some(Timestamp(10)));
    assert!(history(&store, "a:9").await.place > after.place);
}

#[tokio::test]
async fn holding_is_taken_down_at_each_look() {
    let store = store();
    look(&store, &[("a:1", false)], 10).await;
    assert_eq!(history(&store, "a:1").await.last_held, None);
    look(&store, &[("a:1", true)], 20).await;
    look(&store, &[("a:1", true)], 30).await;
    look(&store, &[("a:1", false)], 40).await;
    assert_eq!(history(&store, "a:1").await.last_held, Some(Timestamp(30)));
    assert_eq!(history(&store, "a:1").await.first_seen, Timestamp(10));
}

#[tokio::test]
async fn deploys_and_sightings_are_numbered_from_one_sequence() {
    let store = store();
    look(&store, &[("a:1", false)], 10).await;
    let first = deployed(&store, 1, "a:2", ENGINE, 20).await;
    look(&store, &[("a:1", false), ("a:2", false), ("a:3", false)], 30).await;
    let third = history(&store, "a:3").await.place;
    assert!(history(&store, "a:1").await.place < first && first < third);
    assert_eq!(history(&store, "a:2").await.place, first, "seen first when it was deployed, not at the next look");
    assert_eq!(history(&store, "a:2").await.deployed, Some((first, Timestamp(20))));
    // the old tag is deployed once more: a rollback makes it the newest
    let rollback = deployed(&store, 2, "a:1", ENGINE, 40).await;
    assert!(rollback > third);
    assert_eq!(history(&store, "a:1").await.place, rollback);
    assert_eq!(history(&store, "a:1").await.first_seen, Timestamp(10), "it was here all the time");
    let seqs: Vec<u64> =
        store.deploys(&name("a:x").repository, 9).await.unwrap().iter().map(|deploy| deploy.seq).collect();
    assert_eq!(seqs, [rollback, first]);
}

#[tokio::test]
async fn a_job_that_is_run_again_keeps_its_number() {
    let store = store();
    let first = deployed(&store, 1, "a:1", ENGINE, 10).await;
    deployed(&store, 2, "a:2", ENGINE, 20).await;
    assert_eq!(deployed(&store, 1, "a:1", ENGINE, 30).await, first);
    assert_eq!(store.deploys(&name("a:x").repository, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_deploy_counts_for_its_engine_and_lifts_the_tombstone() {
    let store = store();
    for image in ["a:1", "a:2"] {
        let tombstone =
            Tombstone { image: name(image), who: "uid 0".to_owned(), reason: "forget".to_owned(), at: Timestamp(1) };
        store.bury(tombstone).await.unwrap();
    }
    deployed(&store, 1, "a:1", ENGINE, 10).await;
    assert!(store.has_deployed_on(ENGINE).await.unwrap());
    assert!(!store.has_deployed_on("AAAA:BBBB/containerd").await.unwrap());
    let left: Vec<_> = store.tombstones().await.unwrap().into_iter().map(|tombstone| tombstone.image).collect();
    assert_eq!(left, [name("a:2")]);
    assert!(store.lift(&name("a:2")).await.unwrap());
    assert!(!store.lift(&name("a:2")).await.unwrap());
}

#[tokio::test]
async fn after_a_flip_of_the_store_deployed_names_keep_their_order() {
    let store = store();
    let first = deployed(&store, 1, "a:1", ENGINE, 10).await;
    let second = deployed(&store, 2, "a:2", ENGINE, 20).await;
    let other = "AAAA:BBBB/containerd";
    store.observe_names(other, vec![sighting("a:1", false), sighting("a:2", false)], Timestamp(30)).await.unwrap();
    let there = store.name_history(other).await.unwrap();
    assert_eq!((there[&name("a:1")].place, there[&name("a:2")].place), (first, second));
    assert_eq!(there[&name("a:1")].first_seen, Timestamp(30));
}
