//! What is expected of a kept image's content.

use layerkeeper_core::{Digest, Expect, ImageName, JobState, Keep, Policy, StoreKind};
use layerkeeper_engine::fake::{Call, FakeImage, FakeLayer};
use layerkeeper_engine::{Engine, EngineError};
use layerkeeper_keeper::status::KeptStatus;
use layerkeeper_store::{JobRow, Options, Store};

use crate::ground::{Ground, name, policy, settings};

const BOTH: [StoreKind; 2] = [StoreKind::Graphdriver, StoreKind::Containerd];

fn cudnn() -> Vec<Expect> {
    vec![
        Expect::Package { name: "libcudnn8".to_owned(), version: Some("8.9.*".to_owned()) },
        Expect::File { path: "/usr/lib/libcudnn.so.8".to_owned() },
    ]
}

fn expecting() -> Policy {
    let mut policy = policy();
    policy.keep[0].expect = cudnn();
    policy
}

/// A base image of this package's version, with its library or without.
fn base(version: &str, library: bool) -> FakeImage {
    let status = format!("Package: libcudnn8\nStatus: install ok installed\nVersion: {version}\n");
    let mut files = vec![("/var/lib/dpkg/status", status.as_str())];
    if library {
        files.push(("/lib/libcudnn.so.8.9", "elf"));
    }
    let links: &[_] = if library { &[("/usr/lib/libcudnn.so.8", "../../lib/libcudnn.so.8.9")] } else { &[] };
    let layer = FakeLayer::new(&format!("os {version} {library}"), 50_000_000).with_files(&files).with_links(links);
    FakeImage::of_layers(&format!("base {version} {library}"), vec![layer])
}

/// A host that keeps a good base, and the digest of that.
async fn ground(kind: StoreKind, store: Store) -> (Ground, Digest) {
    let ground = Ground::over(kind, policy(), store).await;
    ground.here("base:1").await;
    ground.here("cache-python:1").await;
    let good = ground.publish("base:1", &base("8.9.0-1", true));
    ground.keeper.reload(settings(expecting()));
    warm(&ground, JobState::Succeeded).await;
    (ground, good)
}

async fn warm(ground: &Ground, end: JobState) -> JobRow {
    let answers = ground.keeper.prewarm(&[name("base:1")], 0).await.unwrap();
    let row = ground.end(&answers[0].job.id).await;
    assert_eq!(row.job.state, end, "{:?}", row.outcome);
    row
}

async fn kept(ground: &Ground) -> KeptStatus {
    ground.keeper.status().await.kept.remove(0)
}

async fn stands_for(ground: &Ground, image: &ImageName, digest: Digest) -> bool {
    let inventory = ground.engine.inventory().await.unwrap();
    inventory.named(image).is_some_and(|image| image.has_digest(&name("base:1").repository, digest))
}

fn pulls(ground: &Ground) -> usize {
    ground.engine.log().iter().filter(|call| matches!(call, Call::Pull { .. })).count()
}

const LOST: &str = "package libcudnn8 (wanted: 8.9.*) has version 9.1.0-1";

#[tokio::test]
async fn an_image_that_lost_what_is_expected_gets_no_name_and_is_pulled_once() {
    for kind in BOTH {
        let (ground, good) = ground(kind, Store::open_in_memory(Options::default()).unwrap()).await;
        assert_eq!((kept(&ground).await.present, kept(&ground).await.unmet), (true, vec![]));
        let bad = ground.publish("base:1", &base("9.1.0-1", false));
        let row = warm(&ground, JobState::Failed).await;
        let error = row.outcome.error.unwrap();
        assert_eq!(error.class, "unmet");
        assert!(error.detail.contains(LOST) && error.detail.contains(&bad.to_string()), "{error:?}");
        assert!(error.detail.contains("file /usr/lib/libcudnn.so.8 is not there"), "{error:?}");
        assert!(stands_for(&ground, &name("base:1"), good).await, "{kind}: the last good one stays under its name");
        let told = kept(&ground).await;
        assert!(told.present && told.last_error.is_some(), "{told:?}");
        assert_eq!((told.unmet.len(), told.unmet_digest), (2, Some(bad.to_string())));
        let metrics = ground.keeper.metrics_text().await;
        assert!(metrics.contains("kept_image_unmet_expectations{image=\"ghcr.io/acme/base:1\"} 2"), "{metrics}");
        assert!(metrics.contains("kept_image_present{image=\"ghcr.io/acme/base:1\"} 1"), "{metrics}");
        let trail = ground.keeper.events(20).await.unwrap();
        assert!(trail.iter().any(|event| event.kind == "unexpected content" && event.message.contains(LOST)));
        let left = ground.keeper.status().await.superseded;
        assert!(left.iter().any(|old| old.reference.ends_with(&bad.to_string())), "{kind}: it is listed: {left:?}");

        // what came for nothing is removed by hand: it does not come again, and is told as long as the tag shows it
        let by_digest = name("base:1").repository.by_digest(bad);
        ground.engine.foreign_remove(&by_digest).unwrap();
        let before = pulls(&ground);
        for _ in 0..3 {
            warm(&ground, JobState::Failed).await;
            assert_eq!(pulls(&ground), before, "{kind}: what failed once is not brought again");
            let told = kept(&ground).await;
            assert_eq!((told.present, told.unmet_digest), (true, Some(bad.to_string())), "{kind}");
            let metrics = ground.keeper.metrics_text().await;
            assert!(metrics.contains("unmet_expectations{image=\"ghcr.io/acme/base:1\"} 2"), "{metrics}");
        }
        assert!(ground.engine.inventory().await.unwrap().containers.is_empty());

        let mended = ground.publish("base:1", &base("8.9.7-1", true));
        warm(&ground, JobState::Succeeded).await;
        assert!(stands_for(&ground, &name("base:1"), mended).await);
        assert_eq!(kept(&ground).await.unmet, [""; 0]);
        assert!(ground.keeper.metrics_text().await.contains("unmet_expectations{image=\"ghcr.io/acme/base:1\"} 0"));

        ground.publish("base:1", &base("9.1.0-1", false));
        warm(&ground, JobState::Failed).await;
        assert_eq!(kept(&ground).await.unmet.len(), 2);
        ground.engine.registry().remove_tag(&name("base:1"));
        warm(&ground, JobState::Failed).await;
        assert_eq!(kept(&ground).await.unmet, [""; 0], "{kind}: the tag that showed it is gone");
    }
}

/// The engine knows what is here by the manifest's digest, and the tag shows an index around it.
#[tokio::test]
async fn an_index_around_what_is_here_is_held_to_what_is_expected() {
    for kind in BOTH {
        let (ground, good) = ground(kind, Store::open_in_memory(Options::default()).unwrap()).await;
        let index = ground.publish("base:1", &base("8.9.0-1", true).in_index());
        assert_ne!(index, good);
        let mut more = expecting();
        more.keep[0].expect.pop();
        ground.keeper.reload(settings(more));
        let pulled = pulls(&ground);
        let row = warm(&ground, JobState::Succeeded).await;
        assert_eq!((row.outcome.moved_bytes, pulls(&ground)), (0, pulled), "{kind}: the content is here");
        assert!(kept(&ground).await.present, "{kind}: {:?}", kept(&ground).await);
        let status = ground.keeper.status().await;
        assert!(status.losses.is_empty(), "{kind}: nobody took anything: {:?}", status.losses);
    }
}

#[tokio::test]
async fn a_pin_that_is_here_and_not_as_expected_counts_as_missing() {
    for kind in BOTH {
        let ground = Ground::new(kind, policy()).await;
        ground.here("base:1").await;
        ground.here("cache-python:1").await;
        let here: Digest = kept(&ground).await.digest.unwrap().parse().unwrap();
        let mut pinned = expecting();
        pinned.keep[0].pin = Some(here);
        ground.keeper.reload(settings(pinned));
        ground.until("it is held to it", async |ground| kept(ground).await.finding == "not as expected").await;
        assert!(!kept(&ground).await.present);
        assert!(ground.keeper.metrics_text().await.contains("kept_image_present{image=\"ghcr.io/acme/base:1\"} 0"));
    }
}

#[tokio::test]
async fn the_last_good_one_comes_back_when_it_is_taken_away() {
    for kind in BOTH {
        let (ground, good) = ground(kind, Store::open_in_memory(Options::default()).unwrap()).await;
        for checked_before in [false, true] {
            ground.publish("base:1", &base("9.1.0-1", checked_before));
            if checked_before {
                warm(&ground, JobState::Failed).await;
            }
            ground.engine.foreign_remove(&name("base:1").to_reference()).unwrap();
            let back = async |ground: &Ground| stands_for(ground, &name("base:1"), good).await;
            ground.until("the last good one is back", back).await;
            ground.here("base:1").await;
            let told = kept(&ground).await;
            assert!(!told.unmet.is_empty(), "{kind}: {told:?}");
            assert!(told.last_error.is_some_and(|error| error.contains(LOST)), "{kind}: why the newest is not here");
            assert!(told.last_refresh < Some(ground.now().0), "{kind}: the registry has confirmed nothing");
        }
        assert!(kept(&ground).await.present);
    }
}

#[tokio::test]
async fn one_that_never_was_as_expected_is_not_kept_and_a_deploy_goes_on() {
    for kind in BOTH {
        let ground = Ground::new(kind, policy()).await;
        ground.here("cache-python:1").await;
        let mut more = expecting();
        more.keep.insert(0, Keep { expect: cudnn(), ..Keep::new(name("cuda:12"), None) });
        let bad = ground.publish("cuda:12", &base("9.1.0-1", true));
        ground.keeper.reload(settings(more));
        let seen = async |ground: &Ground| !kept(ground).await.unmet.is_empty();
        ground.until("it was looked into", seen).await;
        let told = kept(&ground).await;
        assert_eq!((told.present, told.finding.as_str(), told.unmet), (false, "absent", vec![LOST.to_owned()]));
        assert!(!stands_for(&ground, &name("cuda:12"), bad).await);
        let row = ground.ship("app:sha-1").await;
        assert!(row.outcome.warnings.iter().any(|warning| warning.contains(LOST)), "{:?}", row.outcome.warnings);
    }
}

#[tokio::test]
async fn what_is_here_is_held_to_what_a_reload_expects_and_counts_again_when_that_goes() {
    for kind in BOTH {
        let ground = Ground::new(kind, policy()).await;
        ground.here("base:1").await;
        ground.here("cache-python:1").await;
        assert!(kept(&ground).await.present);
        ground.keeper.reload(settings(expecting()));
        let fallen = async |ground: &Ground| kept(ground).await.finding == "not as expected";
        ground.until("it is held to it", fallen).await;
        let told = kept(&ground).await;
        assert!(!told.present, "{told:?}");
        assert_eq!(
            told.unmet[0],
            "package libcudnn8 (wanted: 8.9.*) cannot be found out: the image has no dpkg database (/var/lib/dpkg)"
        );
        assert!(ground.keeper.metrics_text().await.contains("kept_image_present{image=\"ghcr.io/acme/base:1\"} 0"));
        assert!(ground.engine.inventory().await.unwrap().named(&name("base:1")).is_some(), "nothing is removed for it");
        ground.keeper.reload(settings(policy()));
        ground.until("it counts again", async |ground: &Ground| kept(ground).await.present).await;
        assert_eq!(kept(&ground).await.unmet, [""; 0]);
    }
}

#[tokio::test]
async fn a_pin_that_is_not_as_expected_is_not_brought() {
    let ground = Ground::new(StoreKind::Containerd, policy()).await;
    ground.here("base:1").await;
    let bad = ground.publish("cuda:12", &base("9.1.0-1", true));
    let mut pinned = policy();
    pinned.keep.insert(0, Keep { expect: cudnn(), ..Keep::new(name("cuda:12"), Some(bad)) });
    ground.keeper.reload(settings(pinned));
    ground.until("it was looked into", async |ground: &Ground| !kept(ground).await.unmet.is_empty()).await;
    assert!(!stands_for(&ground, &name("cuda:12"), bad).await);
}

/// Such as by `docker container prune`: it removes what was never started.
#[tokio::test]
async fn a_container_that_somebody_removes_in_mid_look_is_no_verdict_on_the_image() {
    for kind in BOTH {
        let (ground, _) = ground(kind, Store::open_in_memory(Options::default()).unwrap()).await;
        let newer = ground.publish("base:1", &base("8.9.7-1", true));
        ground.engine.lose_opened(&[true]);
        let row = warm(&ground, JobState::Succeeded).await;
        assert_eq!(row.job.attempts, 2, "{:?}", row.outcome);
        assert!(stands_for(&ground, &name("base:1"), newer).await);
        assert_eq!(kept(&ground).await.unmet, [""; 0]);
    }
}

#[tokio::test]
async fn a_container_that_does_not_go_at_once_costs_no_verdict_and_goes_later() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let owner = store.owner().await.unwrap();
    let (ground, _) = ground(StoreKind::Containerd, store).await;
    for (version, end) in [("8.9.7-1", JobState::Succeeded), ("9.1.0-1", JobState::Failed)] {
        ground.publish("base:1", &base(version, true));
        ground.engine.spoil_next_close(EngineError::Other("device or resource busy".to_owned()));
        let row = warm(&ground, end).await;
        assert_eq!(row.job.attempts, 1, "{:?}", row.outcome);
        ground.until("it goes", async |ground| ground.engine.left_open(&owner).await.unwrap().is_empty()).await;
    }
    assert_eq!(kept(&ground).await.unmet, [LOST]);
}

#[tokio::test]
async fn a_restart_remembers_what_failed_and_what_passed() {
    for kind in BOTH {
        let store = Store::open_in_memory(Options::default()).unwrap();
        let (ground, good) = ground(kind, store.clone()).await;
        let bad = ground.publish("base:1", &base("9.1.0-1", true));
        warm(&ground, JobState::Failed).await;
        let again = ground.restarted(store).await;
        again.keeper.reload(settings(expecting()));
        // it comes no more, and what passed is not opened again
        let by_digest = name("base:1").repository.by_digest(bad);
        again.engine.foreign_remove(&by_digest).unwrap();
        let before = pulls(&again);
        again.engine.stall_archives(true);
        warm(&again, JobState::Failed).await;
        assert_eq!(pulls(&again), before);
        assert!(stands_for(&again, &name("base:1"), good).await);
    }
}
