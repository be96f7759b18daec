//! What has really gone wrong on deploy servers, each on real engines, under the number that it has in the field notes:
//! a prune in mid-pull, a cleaned host, a full disk, a restarted engine, a moving tag, a held image, stale credentials, a
//! registry that has enough, a webhook out of time, another image store.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod cleaned;
mod credentials;
mod disk_full;
mod enough;
mod flip;
mod held;
mod moving_tag;
mod prune_in_flight;
mod restart;
mod webhook;

use std::time::{Duration, Instant};

use layerkeeper_core::{Bytes, JobId};
use layerkeeper_keeper::Status;
use layerkeeper_store::{JobFilter, JobRow};
use layerkeeper_testkit::{Engine, EngineKind, EngineOptions};
use layerkeeper_tests::host::Host;

/// For what takes an engine with it.
const SOON: Duration = Duration::from_secs(90);

/// Runs the test on an engine of its own of each kind: what is done there would hurt other tests.
async fn on_own<F, T>(test: F)
where
    F: Fn(Engine, u64) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let mut runs = Vec::new();
    for (number, kind) in (1..).zip(EngineKind::ALL) {
        let engine = tokio::task::spawn_blocking(move || Engine::with(kind, &EngineOptions::default()).unwrap());
        runs.push((kind, tokio::spawn(test(engine.await.unwrap(), number))));
    }
    for (kind, run) in runs {
        run.await.unwrap_or_else(|error| panic!("on {kind:?}: {error}"));
    }
}

/// Waits until the job's pull has moved so much.
async fn moved(host: &Host, id: &JobId, bytes: Bytes) {
    let mut follow = host.keeper.follow(id).await.unwrap().unwrap();
    let wanted = follow.wait_for(|progress| progress.moved_bytes >= bytes.0 || progress.is_final());
    let waited = tokio::time::timeout(SOON, wanted).await.map(|progress| progress.unwrap().clone());
    let progress = waited.unwrap_or_else(|_| panic!("it does not move {bytes}: {:?}", *follow.borrow()));
    assert!(!progress.is_final(), "it ended before the test could do anything: {progress:?}");
}

/// What a keeper tells.
struct Seen {
    status: Status,
    /// The newest first.
    jobs: Vec<JobRow>,
}

/// Waits for something that the keeper tells.
async fn until(host: &Host, what: &str, wanted: impl Fn(&Seen) -> bool) {
    let begun = Instant::now();
    loop {
        let jobs = host.keeper.jobs(JobFilter { limit: 500, ..JobFilter::default() }).await.unwrap();
        let seen = Seen { status: host.keeper.status().await, jobs };
        if wanted(&seen) {
            return;
        }
        assert!(begun.elapsed() < SOON, "{what}: {:#?} {:#?}", seen.status, seen.jobs);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
