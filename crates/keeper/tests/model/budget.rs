//! A registry in trouble: its jobs wait together, and nobody else's.

use std::sync::atomic::Ordering;
use std::time::Duration;

use layerkeeper_core::{ImageName, JobState, Policy, StoreKind};
use layerkeeper_keeper::DeployRequest;
use layerkeeper_registry::Error;

use crate::ground::{Ground, app, name, policy};

fn too_many(wait: u64) -> Error {
    let retry_after = Some(Duration::from_secs(wait));
    Error::TooManyRequests { registry: "ghcr.io".to_owned(), retry_after, detail: Default::default() }
}

#[tokio::test]
async fn what_a_registry_asks_to_wait_is_waited_in_the_queue_and_blocks_no_other_repository() {
    let elsewhere: ImageName = "other.example/acme/app:sha-1".parse().unwrap();
    let mut policy = policy();
    let mut other = policy.runtime[0].clone();
    other.repository = elsewhere.repository.clone();
    policy.runtime.push(other);
    let ground = Ground::new(StoreKind::Graphdriver, Policy { keep: Vec::new(), ..policy }).await;
    ground.publish("app:sha-1", &app("app:sha-1"));
    ground.publish_as(&elsewhere, &app("elsewhere"));
    *ground.shelf.trouble.lock().unwrap() = Some(too_many(600));
    let waits = ground.ask(&name("app:sha-1")).await;
    let row = || async { ground.keeper.job(&waits).await.unwrap().unwrap() };
    while row().await.outcome.error.is_none() {
        tokio::task::yield_now().await;
    }
    let asked = ground.shelf.asked.load(Ordering::SeqCst);
    let waiting = row().await;
    assert_eq!(waiting.outcome.error.unwrap().class, "too_many_requests");
    let not_before = waiting.job.not_before.unwrap();
    let wait = not_before - ground.now();
    assert!(wait > Duration::from_secs(590) && wait <= Duration::from_secs(600), "{wait:?}");
    // a second job of that registry joins the wait and asks nothing
    let second = ground.ask(&name("app:sha-2")).await;
    ground
        .until("it waits, too", async |ground| {
            ground.keeper.job(&second).await.unwrap().unwrap().job.not_before.is_some_and(|at| at >= not_before)
        })
        .await;
    assert_eq!(ground.shelf.asked.load(Ordering::SeqCst), asked, "nobody asked a registry that wants to be left alone");
    let deployed = ground.ask(&elsewhere).await;
    assert_eq!(ground.end(&deployed).await.job.state, JobState::Succeeded, "another registry's deploy goes on");
    *ground.shelf.trouble.lock().unwrap() = None;
    ground.publish("app:sha-2", &app("app:sha-2"));
    ground.wind(Duration::from_secs(600));
    assert_eq!(ground.end(&second).await.job.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_registry_that_fails_is_asked_ever_less_and_an_answer_ends_the_pause() {
    let ground = Ground::new(StoreKind::Graphdriver, Policy { keep: Vec::new(), ..policy() }).await;
    ground.publish("app:sha-1", &app("app:sha-1"));
    let server =
        Error::Server { registry: "ghcr.io".to_owned(), status: 502, retry_after: None, detail: Default::default() };
    *ground.shelf.trouble.lock().unwrap() = Some(server);
    // ten wishes within a minute, each of which would be tried three times
    for n in 0..10 {
        let request = DeployRequest { image: name(&format!("app:sha-x{n}")), digest: None, over_limit: false };
        ground.keeper.deploy(request, 0).await.unwrap();
        ground.wind(Duration::from_secs(6));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = ground.shelf.asked.load(Ordering::SeqCst);
    assert!((2..=20).contains(&asked), "asked {asked} times");
    *ground.shelf.trouble.lock().unwrap() = None;
    ground.wind(Duration::from_secs(60));
    assert_eq!(ground.deploy("app:sha-1", None).await.job.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_pause_does_not_outlast_a_clock_that_is_set_back() {
    let ground = Ground::new(StoreKind::Graphdriver, Policy { keep: Vec::new(), ..policy() }).await;
    ground.publish("app:sha-1", &app("app:sha-1"));
    *ground.shelf.trouble.lock().unwrap() = Some(too_many(600));
    let job = ground.ask(&name("app:sha-1")).await;
    let waits = async |ground: &Ground| ground.keeper.job(&job).await.unwrap().unwrap().job.not_before.is_some();
    ground.until("it waits", waits).await;
    *ground.shelf.trouble.lock().unwrap() = None;
    ground.set_back(Duration::from_secs(86_400));
    assert_eq!(ground.end(&job).await.job.state, JobState::Succeeded);
}
