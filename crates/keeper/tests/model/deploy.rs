//! Deploys.

use std::sync::atomic::Ordering;
use std::time::Duration;

use layerkeeper_core::ContainerState::Created;
use layerkeeper_core::{ImageId, Intent, JobId, JobState, StoreKind, Timestamp, Trigger};
use layerkeeper_engine::fake::{Call, FakeImage, FakeLayer, Fault, PullEnd};
use layerkeeper_engine::{Engine, EngineError};
use layerkeeper_keeper::{DeployRequest, Refusal, Settings};
use layerkeeper_store::{DeployRow, NewJob, Options, Store};

use crate::ground::{Ground, app, name, policy, settings};

const STORES: [StoreKind; 2] = [StoreKind::Graphdriver, StoreKind::Containerd];

#[tokio::test]
async fn the_second_version_moves_only_its_last_layer() {
    for store in STORES {
        let ground = Ground::new(store, policy()).await;
        ground.ship("app:sha-1").await;
        let row = ground.ship("app:sha-2").await;
        let pull = row.outcome.pull.unwrap();
        assert_eq!((pull.downloaded_bytes, pull.reused_bytes), (20_000_000, 950_000_000), "{store}");
        assert_eq!(pull.certainty, "exact", "{store}: {:?}", pull.doubts);
        assert_eq!(ground.tags().await, ["sha-1", "sha-2"]);
    }
}

#[tokio::test]
async fn kept_images_come_before_the_tag_and_in_the_order_of_the_file() {
    for store in STORES {
        let ground = Ground::new(store, policy()).await;
        let row = ground.ship("app:sha-1").await;
        let served = ground.engine.registry().served();
        let wanted: Vec<_> = app("app:sha-1").layers.iter().map(|layer| layer.blob).collect();
        assert_eq!(served, wanted, "{store}: base, then what cache-python adds, then the tag's own");
        assert_eq!(row.outcome.pull.unwrap().downloaded_bytes, 20_000_000);
    }
}

/// By the engine's events all is as it was.
#[tokio::test]
async fn a_prune_that_nobody_was_told_of_is_seen_before_anything_is_pulled() {
    for store in STORES {
        let ground = Ground::new(store, policy()).await;
        ground.ship("app:sha-1").await;
        ground.wind(Duration::from_secs(1));
        let container = ground.engine.create_container("passing", &name("app:sha-1").to_reference(), Created);
        ground.engine.remove_container(&container);
        let now = ground.now();
        let looked = async |ground: &Ground| ground.keeper.status().await.engine.seen_at >= Some(now.0);
        ground.until("the last look", looked).await;
        ground.engine.foreign_prune_unheard();
        let row = ground.ship("app:sha-2").await;
        let kept: Vec<u64> = row.outcome.kept.iter().map(|pull| pull.downloaded_bytes).collect();
        assert_eq!(kept.iter().sum::<u64>(), 950_000_000, "{store}: the kept images came back first: {kept:?}");
        let pull = row.outcome.pull.unwrap();
        assert_eq!(
            (pull.downloaded_bytes, pull.certainty.as_str()),
            (20_000_000, "exact"),
            "{store}: {:?}",
            pull.doubts
        );
    }
}

/// The containerd store does not list it: it skipped the lowest layer, which had come in another blob.
#[tokio::test]
async fn what_a_pull_that_broke_off_at_its_end_left_here_is_not_counted_as_moved_again() {
    for (store, lines) in [(StoreKind::Graphdriver, 23), (StoreKind::Containerd, 5)] {
        let ground = Ground::new(store, policy()).await;
        ground.ship("app:sha-1").await;
        let layers = [FakeLayer::compressed_as("os", "zstd", 40_000_000), FakeLayer::new("torch", 900_000_000)];
        let own = FakeLayer::new("own", 20_000_000);
        ground.publish("app:sha-2", &FakeImage::of_layers("sha-2", layers.into_iter().chain([own]).collect()));
        ground.engine.spoil_next_pull(Fault::CutAt(lines));
        let before = ground.engine.registry().served().len();
        let row = ground.deploy("app:sha-2", None).await;
        assert_eq!((row.job.state, row.job.attempts), (JobState::Succeeded, 2), "{store}: {:?}", row.outcome);
        let moved = ground.engine.registry().served().len() - before;
        assert_eq!(moved, if store == StoreKind::Containerd { 1 } else { 3 }, "{store}: all in the first attempt");
        let pull = row.outcome.pull.unwrap();
        assert_eq!((pull.downloaded_bytes, pull.reused_bytes), (0, 960_000_000), "{store}: {:?}", pull.doubts);
        let all = if store == StoreKind::Containerd { 20_000_000 } else { 960_000_000 };
        assert_eq!((pull.certainty.as_str(), pull.wasted_bytes), ("exact", all), "{store}: {:?}", pull.doubts);
    }
}

#[tokio::test]
async fn a_rollback_by_digest_needs_no_registry() {
    for store in STORES {
        let ground = Ground::new(store, policy()).await;
        let first = ground.publish("app:sha-1", &app("app:sha-1"));
        assert_eq!(ground.deploy("app:sha-1", Some(first)).await.job.state, JobState::Succeeded);
        ground.ship("app:sha-2").await;
        ground.shelf.down.store(true, Ordering::SeqCst);
        ground.engine.registry().make_unreachable("ghcr.io");
        let row = ground.deploy("app:sha-1", Some(first)).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        assert_eq!(row.outcome.moved_bytes, 0);
        let without = ground.deploy("app:sha-1", None).await;
        assert_eq!(without.job.state, JobState::Failed);
        let error = without.outcome.error.unwrap();
        assert_eq!(error.class, "no_digest");
        assert!(
            error.detail.contains(&format!("layerkeeper deploy {} --digest {first}", name("app:sha-1"))),
            "{}",
            error.detail
        );
    }
}

#[tokio::test]
async fn what_a_failed_attempt_moved_is_wasted_and_told_apart() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    ground.publish("app:sha-2", &app("app:sha-2"));
    ground.engine.spoil_next_pull(Fault::FailAt(6, EngineError::Vanished("lease does not exist".to_owned())));
    let row = ground.deploy("app:sha-2", None).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    let pull = row.outcome.pull.unwrap();
    assert_eq!(pull.attempts.len(), 2);
    assert_eq!(pull.downloaded_bytes, 20_000_000);
    assert_eq!(pull.wasted_bytes, pull.attempts[0].moved_bytes);
    assert!(pull.wasted_bytes > 0);
    let counted = format!(
        "layerkeeper_pull_wasted_bytes_total{{kind=\"deploy\",repository=\"ghcr.io/acme/app\"}} {}\n",
        pull.wasted_bytes
    );
    let metrics = ground.keeper.metrics_text().await;
    assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
}

/// The pull by digest succeeds and the tag that makes the name does not. The next take of the job finds the content here,
/// or, where somebody was quicker, gone again. Either way the record tells of every byte that moved.
#[tokio::test]
async fn what_a_pull_moved_stays_in_the_record_whatever_fails_after_it() {
    for taken_away in [false, true] {
        let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
        let first = ground.ship("app:sha-1").await.outcome.pull.unwrap().downloaded_bytes;
        let digest = ground.publish("app:sha-2", &app("app:sha-2"));
        let trouble = || EngineError::RegistryUnreachable("connection reset".to_owned());
        ground.engine.spoil_next_tag(trouble());
        let request = DeployRequest { image: name("app:sha-2"), digest: None, over_limit: false };
        let id = ground.keeper.deploy(request, 0).await.unwrap().job.id;
        let row = || async { ground.keeper.job(&id).await.unwrap().unwrap() };
        while row().await.outcome.error.is_none() {
            assert!(!row().await.job.state.is_final(), "{:?}", row().await.outcome);
            tokio::task::yield_now().await;
        }
        let waiting = row().await;
        assert_eq!(waiting.job.state, JobState::Queued);
        assert_eq!(waiting.outcome.pull.as_ref().map(|pull| pull.downloaded_bytes), Some(20_000_000));
        if taken_away {
            ground.engine.foreign_remove(&name("app:sha-2").repository.by_digest(digest)).unwrap();
        }
        let ended = ground.end(&id).await;
        assert_eq!(ended.job.state, JobState::Succeeded, "{:?}", ended.outcome);
        let pull = ended.outcome.pull.unwrap();
        let wasted = if taken_away { 20_000_000 } else { 0 };
        assert_eq!((pull.downloaded_bytes, pull.wasted_bytes), (20_000_000, wasted), "{:?}", pull.attempts);
        assert_eq!(pull.attempts.len(), if taken_away { 2 } else { 1 });
        assert!(ended.outcome.moved_bytes >= 20_000_000 + wasted);
        let metrics = ground.keeper.metrics_text().await;
        let counted = |metric: &str, more: &str| {
            let line = format!("{metric}{{kind=\"deploy\",repository=\"ghcr.io/acme/app\"{more}}} ");
            metrics.lines().find_map(|text| text.strip_prefix(&line)).map(|value| value.parse::<u64>().unwrap())
        };
        let moved = first + 20_000_000 + wasted;
        assert_eq!(counted("layerkeeper_pull_bytes_total", ",source=\"downloaded\""), Some(moved));
        assert_eq!(counted("layerkeeper_pull_wasted_bytes_total", ""), Some(0), "each byte counts once");
    }
}

#[tokio::test]
async fn a_tag_that_is_not_there_yet_is_waited_for_and_a_missing_one_fails() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.here("base:1").await;
    let request = DeployRequest { image: name("app:sha-9"), digest: None, over_limit: false };
    let answer = ground.keeper.deploy(request, 0).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    ground.publish("app:sha-9", &app("app:sha-9"));
    assert_eq!(ground.end(&answer.job.id).await.job.state, JobState::Succeeded);
    let row = ground.deploy("app:sha-never", None).await;
    assert_eq!(row.job.state, JobState::Failed);
    assert_eq!(row.outcome.error.unwrap().class, "not_found");
}

#[tokio::test]
async fn what_the_policy_does_not_name_is_refused_and_nothing_is_queued() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    for image in ["app:latest", "other:sha-1"] {
        let refused =
            ground.keeper.deploy(DeployRequest { image: name(image), digest: None, over_limit: false }, 0).await;
        assert!(matches!(refused, Err(Refusal::Policy(_))), "{refused:?}");
    }
    assert_eq!(ground.keeper.status().await.queued, 0);
}

/// A crash between the deploy's record and the job's end: the tag may be gone by now, and the registry, too, but this
/// deploy has happened. Only its prune is left to do.
#[tokio::test]
async fn a_deploy_that_is_recorded_goes_straight_on_to_its_prune() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let now = Timestamp(1_800_000_000_000);
    let intent = Intent::Deploy { image: name("app:sha-1"), digest: None, over_limit: false };
    let (id, trigger) = (JobId::from_bits([7; 16]), Trigger::Operator { uid: 0 });
    store.enqueue(NewJob { id: id.clone(), intent, trigger, not_before: None, now }).await.unwrap();
    store.take_next(now).await.unwrap().unwrap();
    let row = DeployRow {
        instance: "FAKE/graphdriver".to_owned(),
        name: name("app:sha-1"),
        digest: app("app:sha-1").resolved(),
        manifest: None,
        image_id: ImageId::of(b"1"),
    };
    let number = store.record_deploy(&id, row, now).await.unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    ground.shelf.down.store(true, Ordering::SeqCst);
    let row = ground.end(&id).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert!(row.outcome.prune.is_some() && row.outcome.error.is_none(), "{:?}", row.outcome);
    assert_eq!(store.deploy_of(&id).await.unwrap(), Some(number));
    assert!(ground.tags().await.is_empty(), "nothing was pulled");
}

/// The engine answers its ping, and its pull says nothing more.
#[tokio::test]
async fn a_pull_that_stalls_is_cancelled_and_tried_again_with_twice_the_patience() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    let patience = Duration::from_millis(200);
    ground.keeper.reload(Settings { stall_timeout: patience, ..settings(policy()) });
    ground.publish("app:sha-2", &app("app:sha-2"));
    ground.engine.spoil_next_pull(Fault::HangAt(5));
    ground.engine.spoil_next_pull(Fault::HangAt(5));
    let row = ground.deploy("app:sha-2", None).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    let attempts = row.outcome.pull.unwrap().attempts;
    assert_eq!(attempts.len(), 3);
    for (attempt, times) in attempts.iter().zip([1, 2]) {
        assert!(attempt.failure.as_ref().unwrap().contains("stalled"), "{attempt:?}");
        assert!(attempt.duration_ms >= 200 * times, "{attempt:?}");
    }
    let cancelled = |call: &&Call| matches!(call, Call::PullEnded { end: PullEnd::Cancelled, .. });
    assert_eq!(ground.engine.log().iter().filter(cancelled).count(), 2);
}

/// The engine says how far a download is, and then nothing for as long as the link stands still.
#[tokio::test]
async fn the_last_words_of_a_pull_that_falls_silent_are_told_and_kept() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    ground.publish("app:sha-2", &app("app:sha-2"));
    ground.engine.registry().make_slow("ghcr.io");
    let asked = ground
        .keeper
        .deploy(DeployRequest { image: name("app:sha-2"), digest: None, over_limit: false }, 0)
        .await
        .unwrap();
    let id = asked.job.id;
    let mut follow = ground.keeper.follow(&id).await.unwrap().unwrap();
    let told = follow.wait_for(|progress| progress.moved_bytes > 0);
    let told = tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap().moved_bytes;
    ground
        .until("what moved is in the record", async |ground| {
            let row = ground.keeper.job(&id).await.unwrap().unwrap();
            row.outcome.attempts.iter().any(|attempt| attempt.moved_bytes == told)
        })
        .await;
    ground.engine.release();
    assert_eq!(ground.end(&id).await.job.state, JobState::Succeeded);
}

/// It was created after the deploy had looked at the containers: only those listed right before the local tag count.
#[tokio::test]
async fn a_container_that_is_created_from_the_name_while_its_digest_is_pulled_keeps_the_name() {
    let ground = Ground::new(StoreKind::Containerd, policy()).await;
    let first = ground.ship("app:sha-1").await.outcome.pull.unwrap().digest;
    // the tag moves on at the registry, and the deploy wants what it showed before
    let wanted = ground.publish("app:sha-1", &app("app:sha-1, built anew"));
    ground.publish("app:sha-1", &app("app:sha-1, built once more"));
    ground.engine.spoil_next_pull(Fault::HangAt(3));
    let image = name("app:sha-1");
    let request = DeployRequest { image: image.clone(), digest: Some(wanted), over_limit: false };
    let id = ground.keeper.deploy(request, 0).await.unwrap().job.id;
    let pulls = async |ground: &Ground| {
        let wanted = image.repository.by_digest(wanted);
        let begun = |call: &Call| matches!(call, Call::Pull { reference, .. } if *reference == wanted);
        ground.engine.log().iter().any(begun)
    };
    ground.until("its digest is pulled", pulls).await;
    ground.engine.create_container("web", &image.to_reference(), Created);
    ground.engine.release();
    let row = ground.end(&id).await;
    assert_eq!(row.job.state, JobState::Refused, "{:?}", row.outcome);
    let detail = row.outcome.error.unwrap().detail;
    assert!(detail.contains("web"), "{detail}");
    let inventory = ground.engine.inventory().await.unwrap();
    let here: Vec<_> = inventory.named(&image).unwrap().digests_in(&image.repository).map(|d| d.to_string()).collect();
    assert!(here.contains(&first.unwrap()), "{here:?}");
}

/// CI names the platform's manifest; what is here is the index that holds it. Who knows that is our own record, so it
/// outlives the daemon.
#[tokio::test]
async fn a_rollback_by_the_platforms_digest_needs_no_registry_even_after_a_restart() {
    for kind in STORES {
        let store = Store::open_in_memory(Options::default()).unwrap();
        let ground = Ground::over(kind, policy(), store.clone()).await;
        let image = app("app:sha-1").in_index();
        ground.publish("app:sha-1", &image);
        let (index, platforms) = (image.resolved(), image.manifest_digest());
        assert_ne!(index, platforms);
        assert_eq!(ground.deploy("app:sha-1", Some(platforms)).await.job.state, JobState::Succeeded);
        ground.ship("app:sha-2").await;
        let again = ground.restarted(store).await;
        again.shelf.down.store(true, Ordering::SeqCst);
        again.engine.registry().make_unreachable("ghcr.io");
        let row = again.deploy("app:sha-1", Some(platforms)).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{kind}: {:?}", row.outcome);
        assert_eq!((row.outcome.moved_bytes, row.outcome.digest), (0, Some(index.to_string())));
    }
}

/// Between the pull by digest and the naming, hours may go by.
#[tokio::test]
async fn a_naming_that_failed_and_an_abandoned_digest_are_listed_with_what_they_hold() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    ground.publish("app:sha-2", &app("app:sha-2"));
    let no = || EngineError::RegistryUnreachable("no".to_owned());
    (0..4).for_each(|_| ground.engine.spoil_next_tag(no()));
    let row = ground.deploy("app:sha-2", None).await;
    assert_eq!(row.job.state, JobState::Failed, "{:?}", row.outcome);
    ground.engine.clear_faults();
    ground.ship("app:sha-3").await;
    let status = ground.keeper.status().await;
    assert_eq!(status.superseded.len(), 1, "{:?}", status.superseded);
    assert_eq!(status.superseded[0].size, Some(60_000_000));
    // with its name it is no longer left behind
    ground.ship("app:sha-2").await;
    assert!(ground.keeper.status().await.superseded.is_empty());
}

#[tokio::test]
async fn a_tag_that_is_not_there_is_not_waited_for_a_day_when_the_clock_is_set_back() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    let job = ground.ask(&name("app:sha-1")).await;
    let waits = async |ground: &Ground| ground.keeper.job(&job).await.unwrap().unwrap().job.not_before.is_some();
    ground.until("it waits", waits).await;
    ground.set_back(Duration::from_secs(86_400));
    let row = ground.end(&job).await;
    assert_eq!((row.job.state, row.outcome.error.unwrap().class.as_str()), (JobState::Failed, "not_found"));
}

/// The record of what a name leaves behind is made before the name moves; where the job fails in between, a person's later
/// move of the tag is not ours.
#[tokio::test]
async fn what_a_name_was_to_leave_behind_and_has_not_is_not_superseded() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    // brought by somebody else: a row of our own pull may go without a tag
    ground.engine.preload(&name("app:sha-1").to_reference(), &app("app:sha-1"));
    ground.ship("app:sha-2").await;
    let kept = ground.engine.image(&name("app:sha-1").to_reference()).await.unwrap().unwrap();
    ground.publish("app:sha-1", &app("app:sha-1 built again"));
    let no = || EngineError::RegistryUnreachable("no".to_owned());
    ground.engine.spoil_next_pull(Fault::FailAt(usize::MAX, no()));
    for _ in 0..3 {
        ground.engine.spoil_next_pull(Fault::Refuse(no()));
    }
    let row = ground.deploy("app:sha-1", None).await;
    assert_eq!(row.job.state, JobState::Failed, "{:?}", row.outcome);
    ground.engine.foreign_tag(&name("app:sha-2").to_reference(), &name("app:sha-1")).unwrap();
    ground.engine.clear_faults();
    assert_eq!(ground.deploy("app:sha-1", None).await.job.state, JobState::Succeeded);
    let answer = ground.keeper.prune(true, 0).await.unwrap();
    let prune = ground.end(&answer.job.id).await.outcome.prune.unwrap();
    let gone = prune.removals.iter().find(|removal| removal.image_id == kept.id.to_string());
    assert_eq!(gone, None, "a person moved the tag");
    let by_digest = kept.digests_in(&name("app:sha-1").repository).next().unwrap();
    let by_digest = name("app:sha-1").repository.by_digest(by_digest);
    assert!(ground.engine.image(&by_digest).await.unwrap().is_some());
}
