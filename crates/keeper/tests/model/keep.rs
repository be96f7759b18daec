//! Kept images.

use layerkeeper_core::{JobState, StoreKind};
use layerkeeper_engine::Engine;
use layerkeeper_engine::fake::{FakeImage, Fault};
use layerkeeper_keeper::DeployRequest;
use layerkeeper_store::{Options, Store};

use crate::ground::{Ground, name, policy, python};

#[tokio::test]
async fn what_is_not_here_at_start_comes() {
    let ground = Ground::new(StoreKind::Containerd, policy()).await;
    ground.here("base:1").await;
    ground.here("cache-python:1").await;
}

#[tokio::test]
async fn a_refresh_moves_a_name_that_moved_at_the_registry_and_lists_the_old_digest() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.here("cache-python:1").await;
    let old = python().resolved();
    let newer = FakeImage::new("python2", &[("os", 50_000_000), ("torch2", 800_000_000)]);
    let digest = ground.publish("cache-python:1", &newer);
    let answers = ground.keeper.prewarm(&[name("cache-python:1")], 0).await.unwrap();
    let row = ground.end(&answers[0].job.id).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert_eq!(row.outcome.digest, Some(digest.to_string()));
    let status = ground.keeper.status().await;
    assert_eq!(status.superseded.len(), 1);
    assert!(status.superseded[0].reference.ends_with(&old.to_string()));
    assert_eq!(status.superseded[0].size, Some(3 * 900_000_000));
    assert!(status.kept.iter().all(|kept| kept.present), "{:?}", status.kept);
}

#[tokio::test]
async fn a_digest_that_a_sender_names_for_a_kept_image_is_compared_with_what_came() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.here("cache-python:1").await;
    let newer = FakeImage::new("python2", &[("os", 50_000_000), ("torch2", 800_000_000)]);
    let digest = ground.publish("cache-python:1", &newer);
    let said = async |digest| {
        let request = DeployRequest { image: name("cache-python:1"), digest: Some(digest), over_limit: false };
        let answer = ground.keeper.deploy(request, 0).await.unwrap();
        ground.end(&answer.job.id).await
    };
    for (said_to_be, warnings) in [(digest, 0), (newer.manifest_digest(), 0), (python().resolved(), 1)] {
        let row = said(said_to_be).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        assert_eq!(row.outcome.digest, Some(digest.to_string()), "the tag is followed, whatever was said");
        assert_eq!(row.outcome.warnings.len(), warnings, "{:?}", row.outcome);
    }
    let warning = said(python().resolved()).await.outcome.warnings.remove(0);
    assert!(
        warning.contains(&format!("was said to be {}, and is not: its tag shows", python().resolved())),
        "{warning}"
    );
}

#[tokio::test]
async fn a_pin_is_held_when_its_tag_moves() {
    for store in [StoreKind::Graphdriver, StoreKind::Containerd] {
        let mut pinned = policy();
        pinned.keep[1].pin = Some(python().resolved());
        let ground = Ground::new(store, pinned).await;
        ground.here("cache-python:1").await;
        ground.publish("cache-python:1", &FakeImage::new("python2", &[("os", 50_000_000), ("torch2", 8)]));
        ground.engine.foreign_remove(&name("cache-python:1").to_reference()).unwrap();
        let answers = ground.keeper.prewarm(&[name("cache-python:1")], 0).await.unwrap();
        let row = ground.end(&answers[0].job.id).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let inventory = ground.engine.inventory().await.unwrap();
        assert_eq!(inventory.named(&name("cache-python:1")).unwrap().layers, python().diff_ids());
        let kept = &ground.keeper.status().await.kept[1];
        assert!(kept.present && kept.pin_unresolvable, "{kept:?}");
        assert!(kept.tag_shows.is_some(), "the tag has moved on, it is not gone: {kept:?}");
        // CI built it anew and says so; the pin stays, and that is told
        let said = kept.tag_shows.as_ref().and_then(|digest| digest.parse().ok());
        let request = DeployRequest { image: name("cache-python:1"), digest: said, over_limit: false };
        let answer = ground.keeper.deploy(request, 0).await.unwrap();
        let warnings = ground.end(&answer.job.id).await.outcome.warnings;
        assert!(matches!(&warnings[..], [one] if one.contains("and is not: it is pinned to")), "{warnings:?}");
    }
}

/// The daemon dies when a kept image has come on the way to a deploy, and before anything was told of it.
#[tokio::test]
async fn a_kept_image_that_came_right_before_a_kill_is_told_as_moved() {
    for kind in [StoreKind::Graphdriver, StoreKind::Containerd] {
        let store = Store::open_in_memory(Options::default()).unwrap();
        let ground = Ground::over(kind, policy(), store.clone()).await;
        ground.here("cache-python:1").await;
        let newer = ground.publish("base:1", &FakeImage::new("base2", &[("os2", 50_000_000)]));
        let reference = name("base:1").repository.by_digest(newer);
        // after its last layer's line
        let lines = if kind == StoreKind::Graphdriver { 9 } else { 5 };
        ground.engine.spoil_next_pull(Fault::HangAt(lines));
        ground.publish("app:sha-1", &crate::ground::app("app:sha-1"));
        let deploy = DeployRequest { image: name("app:sha-1"), digest: None, over_limit: false };
        let job = ground.keeper.deploy(deploy, 0).await.unwrap().job.id;
        let come = async |ground: &Ground| ground.engine.image(&reference).await.unwrap().is_some();
        ground.until("it has come", come).await;
        let again = ground.restarted(store).await;
        let row = again.end(&job).await;
        let pull = row.outcome.kept.iter().find(|pull| pull.image == name("base:1").to_string()).unwrap();
        assert_eq!((pull.downloaded_bytes, pull.reused_bytes), (50_000_000, 0), "{kind}: {pull:?}");
        assert!(row.outcome.moved_bytes >= 70_000_000, "{kind}: {row:?}");
    }
}
