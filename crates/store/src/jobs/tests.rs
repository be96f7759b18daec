//! The queue's rules, one by one. `property.rs` tries them in all orders.

use layerkeeper_core::job::{Intent, JobState, Trigger};
use layerkeeper_core::{Digest, ImageId, Timestamp};

use crate::deploys::DeployRow;
use crate::error::StoreError;
use crate::jobs::{Accepted, Enqueued, JobFilter, NewJob, WebhookAccepted, WebhookIdRecord};
use crate::record::Outcome;
use crate::store::{Options, Store};
use crate::testing::{ENGINE, deploy, id, name, new, store};

const APP: &str = "ghcr.io/acme/app:sha-1";
const APP2: &str = "ghcr.io/acme/app:sha-2";
const BASE: &str = "ghcr.io/acme/base:1";

fn joined(accepted: &Accepted) -> bool {
    matches!(accepted.enqueued, Enqueued::Joined(_))
}

fn outcome(summary: &str) -> Outcome {
    Outcome { summary: summary.to_owned(), ..Outcome::default() }
}

async fn state(store: &Store, n: u32) -> JobState {
    store.job(&id(n)).await.unwrap().unwrap().job.state
}

#[tokio::test]
async fn a_deploy_with_a_digest_joins_a_queued_and_a_running_one() {
    let store = store();
    assert!(!joined(&store.enqueue(deploy(1, APP, Some("d"))).await.unwrap()));
    let again = store.enqueue(deploy(2, APP, Some("d"))).await.unwrap();
    assert_eq!((joined(&again), &again.job().id), (true, &id(1)));
    assert_eq!(store.take_next(Timestamp(9)).await.unwrap().unwrap().id, id(1));
    let again = store.enqueue(deploy(3, APP, Some("d"))).await.unwrap();
    assert_eq!((joined(&again), again.job().state), (true, JobState::Running));
    assert!(!joined(&store.enqueue(deploy(4, APP, Some("other"))).await.unwrap()));
}

#[tokio::test]
async fn a_deploy_without_a_digest_joins_only_a_queued_one() {
    let store = store();
    store.enqueue(deploy(1, APP, None)).await.unwrap();
    assert!(joined(&store.enqueue(deploy(2, APP, None)).await.unwrap()));
    store.take_next(Timestamp(9)).await.unwrap().unwrap();
    let next = store.enqueue(deploy(3, APP, None)).await.unwrap();
    assert!(!joined(&next), "the running one may have asked the registry before the tag moved");
}

/// kill -9 between a deploy's number and its job's end: it has happened, whatever is asked for next.
#[tokio::test]
async fn a_deploy_that_has_its_number_is_neither_superseded_nor_joined() {
    let store = store();
    store.enqueue(deploy(1, APP, None)).await.unwrap();
    store.take_next(Timestamp(5)).await.unwrap().unwrap();
    let row = DeployRow {
        instance: ENGINE.to_owned(),
        name: name(APP),
        digest: Digest::of(b"d"),
        manifest: None,
        image_id: ImageId::of(b"i"),
    };
    store.record_deploy(&id(1), row, Timestamp(6)).await.unwrap();
    store.requeue_running().await.unwrap();
    assert_eq!(state(&store, 1).await, JobState::Queued);
    // its tag may have moved since
    assert!(!joined(&store.enqueue(deploy(2, APP, None)).await.unwrap()));
    let newer = store.enqueue(deploy(3, APP2, None)).await.unwrap();
    assert_eq!(newer.superseded, [id(2)]);
    assert_eq!(store.take_next(Timestamp(9)).await.unwrap().unwrap().id, id(1), "it goes on to its end");
}

#[tokio::test]
async fn a_newer_deploy_supersedes_a_queued_one_of_its_repository_but_never_a_running_one() {
    let store = store();
    store.enqueue(deploy(1, APP, None)).await.unwrap();
    store.enqueue(deploy(2, "ghcr.io/acme/other:sha-1", None)).await.unwrap();
    let newer = store.enqueue(deploy(3, APP2, None)).await.unwrap();
    assert_eq!(newer.superseded, [id(1)]);
    let row = store.job(&id(1)).await.unwrap().unwrap();
    assert_eq!(
        (row.job.state, row.superseded_by, row.finished),
        (JobState::Superseded, Some(id(3)), Some(Timestamp(3)))
    );
    assert_eq!(state(&store, 2).await, JobState::Queued);

    assert_eq!(store.take_next(Timestamp(9)).await.unwrap().unwrap().id, id(2));
    store.finish(&id(2), JobState::Failed, &outcome("no"), Timestamp(9)).await.unwrap();
    assert_eq!(store.take_next(Timestamp(9)).await.unwrap().unwrap().id, id(3));
    assert_eq!(store.enqueue(deploy(4, APP, None)).await.unwrap().superseded, []);
    assert_eq!(state(&store, 3).await, JobState::Running);
}

#[tokio::test]
async fn the_newest_wish_for_a_repository_is_carried_out_last() {
    let store = store();
    // 1 runs, 2 is queued behind it, then 1's image is wanted again: that is a third job, not the running first
    store.enqueue(deploy(1, APP, Some("a"))).await.unwrap();
    store.take_next(Timestamp(9)).await.unwrap().unwrap();
    store.enqueue(deploy(2, APP2, Some("b"))).await.unwrap();
    let again = store.enqueue(deploy(3, APP, Some("a"))).await.unwrap();
    assert_eq!((joined(&again), again.superseded), (false, vec![id(2)]));
    // 1 is put back to wait, 3 overtakes it: 1 must not come after it
    store.put_back(&id(1), Some(Timestamp(1000)), &Outcome::default()).await.unwrap();
    let taken = store.take(Timestamp(10)).await.unwrap().unwrap();
    assert_eq!((taken.job.id, taken.superseded), (id(3), vec![id(1)]));
    let row = store.job(&id(1)).await.unwrap().unwrap();
    assert_eq!((row.job.state, row.superseded_by), (JobState::Superseded, Some(id(3))));
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_no_job_waiting() {
    let (store, day) = (store(), 86_400_000);
    store.enqueue(deploy(1, APP, None)).await.unwrap();
    store.take_next(Timestamp(day)).await.unwrap().unwrap();
    store.put_back(&id(1), Some(Timestamp(day + 3000)), &Outcome::default()).await.unwrap();
    assert_eq!(store.take_next(Timestamp(day)).await.unwrap(), None);
    assert_eq!(store.take_next(Timestamp(1000)).await.unwrap().unwrap().id, id(1));
}

#[tokio::test]
async fn warm_joins_a_running_one_unless_somebody_knows_of_something_new() {
    let warm = |n, trigger| NewJob { trigger, ..new(n, Intent::Warm { image: name(BASE), digest: None }) };
    let store = store();
    store.enqueue(warm(1, Trigger::Start)).await.unwrap();
    store.take_next(Timestamp(9)).await.unwrap().unwrap();
    assert!(joined(&store.enqueue(warm(2, Trigger::Schedule)).await.unwrap()));
    assert!(!joined(&store.enqueue(warm(3, Trigger::Webhook("w".to_owned()))).await.unwrap()));
    let fourth = store.enqueue(warm(4, Trigger::Operator { uid: 0 })).await.unwrap();
    assert_eq!((joined(&fourth), &fourth.job().id), (true, &id(3)));
    let named = |n| warm(n, Trigger::Webhook(format!("w{n}")));
    let named =
        |n, of: &[u8]| NewJob { intent: Intent::Warm { image: name(BASE), digest: Some(Digest::of(of)) }, ..named(n) };
    let named_a = store.enqueue(named(6, b"a")).await.unwrap();
    assert!(!joined(&named_a), "nobody would compare what comes with its digest");
    assert!(joined(&store.enqueue(named(7, b"a")).await.unwrap()));
    assert!(!joined(&store.enqueue(named(8, b"b")).await.unwrap()));
    let heal = store.enqueue(new(5, Intent::Heal { image: name(BASE) })).await.unwrap();
    assert!(!joined(&heal), "another kind of job");
}

#[tokio::test]
async fn prune_joins_a_queued_one_with_the_same_flag() {
    let prune = |n, superseded| new(n, Intent::Prune { superseded });
    let store = store();
    store.enqueue(prune(1, false)).await.unwrap();
    assert!(joined(&store.enqueue(prune(2, false)).await.unwrap()));
    assert!(!joined(&store.enqueue(prune(3, true)).await.unwrap()));
    assert_eq!(store.take_next(Timestamp(9)).await.unwrap().unwrap().intent, Intent::Prune { superseded: false });
    assert!(!joined(&store.enqueue(prune(4, false)).await.unwrap()));
}

#[tokio::test]
async fn joining_pulls_a_start_forward_but_never_a_backoff() {
    let warm = |n, not_before: Option<i64>| NewJob {
        not_before: not_before.map(Timestamp),
        ..new(n, Intent::Warm { image: name(BASE), digest: None })
    };
    let store = store();
    store.enqueue(warm(1, Some(500))).await.unwrap();
    assert_eq!(store.enqueue(warm(2, Some(900))).await.unwrap().job().not_before, Some(Timestamp(500)));
    assert_eq!(store.enqueue(warm(3, Some(300))).await.unwrap().job().not_before, Some(Timestamp(300)));
    assert_eq!(store.enqueue(warm(4, None)).await.unwrap().job().not_before, None);
    store.take_next(Timestamp(9)).await.unwrap().unwrap();
    store.put_back(&id(1), Some(Timestamp(700)), &Outcome::default()).await.unwrap();
    assert_eq!(store.enqueue(warm(5, None)).await.unwrap().job().not_before, Some(Timestamp(700)));
    assert_eq!(store.take_next(Timestamp(699)).await.unwrap(), None);
}

#[tokio::test]
async fn jobs_are_taken_by_kind_then_by_age_and_not_before_their_time() {
    let store = store();
    store.enqueue(new(1, Intent::Prune { superseded: false })).await.unwrap();
    store.enqueue(new(2, Intent::Warm { image: name(BASE), digest: None })).await.unwrap();
    store.enqueue(new(3, Intent::Heal { image: name(BASE) })).await.unwrap();
    store.enqueue(NewJob { not_before: Some(Timestamp(50)), ..deploy(4, APP, None) }).await.unwrap();
    store.enqueue(deploy(5, "ghcr.io/acme/other:sha-1", None)).await.unwrap();
    let waiting: Vec<_> = store.queued().await.unwrap().into_iter().map(|job| job.seq).collect();
    assert_eq!(waiting, [4, 5, 3, 2, 1]);
    assert_eq!(store.next_wake().await.unwrap(), Some(Timestamp(0)));
    let mut order = Vec::new();
    while let Some(job) = store.take_next(Timestamp(49)).await.unwrap() {
        assert_eq!((job.state, job.attempts), (JobState::Running, 1));
        store.finish(&job.id, JobState::Succeeded, &Outcome::default(), Timestamp(49)).await.unwrap();
        order.push(job.seq);
    }
    assert_eq!(order, [5, 3, 2, 1]);
    assert_eq!(store.next_wake().await.unwrap(), Some(Timestamp(50)));
    assert_eq!(store.take_next(Timestamp(50)).await.unwrap().unwrap().id, id(4));
    assert_eq!(store.next_wake().await.unwrap(), None);
}

#[tokio::test]
async fn a_job_comes_to_one_final_state() {
    let store = store();
    store.enqueue(deploy(1, APP, None)).await.unwrap();
    store.take_next(Timestamp(5)).await.unwrap().unwrap();
    store.finish(&id(1), JobState::Failed, &outcome("first"), Timestamp(6)).await.unwrap();
    let again = store.finish(&id(1), JobState::Succeeded, &outcome("second"), Timestamp(7)).await.unwrap_err();
    assert!(matches!(again, StoreError::WrongState { state: JobState::Failed, .. }), "{again}");
    let saved = store.save_outcome(&id(1), &outcome("late")).await.unwrap_err();
    assert!(matches!(saved, StoreError::WrongState { .. }), "{saved}");
    let back = store.put_back(&id(1), None, &outcome("late")).await.unwrap_err();
    assert!(matches!(back, StoreError::WrongState { .. }), "{back}");
    let unknown = store.finish(&id(77), JobState::Failed, &outcome(""), Timestamp(7)).await.unwrap_err();
    assert_eq!(unknown, StoreError::NoSuchJob(id(77)));
    assert!(store.finish(&id(1), JobState::Queued, &outcome(""), Timestamp(7)).await.is_err());
    let row = store.job(&id(1)).await.unwrap().unwrap();
    assert_eq!((row.job.state, &*row.outcome.summary, row.finished), (JobState::Failed, "first", Some(Timestamp(6))));
    // not even the statement behind all of this can
    let forced = store.write(|db| Ok(db.execute("UPDATE jobs SET state = 'queued', finished = NULL", [])?)).await;
    assert!(forced.is_err());
}

#[tokio::test]
async fn what_ran_in_a_crash_is_queued_again_with_what_it_had_done() {
    let store = store();
    store.enqueue(deploy(1, APP, Some("d"))).await.unwrap();
    store.take_next(Timestamp(5)).await.unwrap().unwrap();
    store.save_outcome(&id(1), &outcome("half")).await.unwrap();
    let back = store.requeue_running().await.unwrap();
    assert_eq!((back.len(), back[0].state, back[0].attempts), (1, JobState::Queued, 1));
    let taken = store.take_next(Timestamp(8)).await.unwrap().unwrap();
    assert_eq!((taken.id, taken.attempts), (id(1), 2));
    let row = store.job(&id(1)).await.unwrap().unwrap();
    assert_eq!((&*row.outcome.summary, row.started), ("half", Some(Timestamp(5))));
}

#[tokio::test]
async fn a_full_queue_takes_no_more_and_remembers_nothing() {
    let store = Store::open_in_memory(Options { max_queued: 2, ..Options::default() }).unwrap();
    store.enqueue(deploy(1, APP, None)).await.unwrap();
    store.enqueue(new(2, Intent::Warm { image: name(BASE), digest: None })).await.unwrap();
    assert_eq!(store.enqueue(new(3, Intent::Heal { image: name(BASE) })).await, Err(StoreError::QueueFull));
    let webhook = WebhookIdRecord { id: "w".to_owned(), body_sha256: [1; 32], timestamp: Timestamp(3) };
    let other = deploy(4, "ghcr.io/acme/other:sha-1", None);
    assert_eq!(store.accept_webhook(webhook.clone(), other.clone()).await, Err(StoreError::QueueFull));
    assert_eq!(store.newest_webhook_time(), None);
    // a deploy that takes a queued one's place does not make the queue longer
    assert_eq!(store.enqueue(deploy(5, APP2, None)).await.unwrap().superseded, [id(1)]);
    store.take_next(Timestamp(9)).await.unwrap().unwrap();
    assert!(matches!(store.accept_webhook(webhook, other).await, Ok(WebhookAccepted::Accepted(_))));
}

#[tokio::test]
async fn lists_are_newest_first_filtered_and_paged() {
    let store = store();
    for n in 1..=6 {
        store.enqueue(deploy(n, &format!("ghcr.io/acme/app{}:sha-{n}", n % 2), None)).await.unwrap();
    }
    let seqs = async |filter: JobFilter| -> Vec<u64> {
        store.jobs(filter).await.unwrap().into_iter().map(|row| row.job.seq).collect()
    };
    assert_eq!(seqs(JobFilter::default()).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(seqs(JobFilter { limit: 2, before_seq: Some(5), ..JobFilter::default() }).await, [4, 3]);
    assert_eq!(seqs(JobFilter { states: vec![JobState::Queued], ..JobFilter::default() }).await, [6, 5]);
    let repository = Some(name("ghcr.io/acme/app0:x").repository);
    assert_eq!(seqs(JobFilter { repository, ..JobFilter::default() }).await, [6, 4, 2]);
    let image = Some(name("ghcr.io/acme/app1:sha-3"));
    assert_eq!(seqs(JobFilter { image, ..JobFilter::default() }).await, [3]);
    let counts = store.job_counts().await.unwrap();
    assert_eq!(counts.len(), 6);
    assert_eq!((counts[0], counts[5]), ((JobState::Queued, 2), (JobState::Superseded, 4)));
}
