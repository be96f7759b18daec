//! Who is recognised, for how long, and what a clock that jumps must not change.

use super::*;
use crate::jobs::Enqueued;
use crate::retention::Retention;
use crate::testing::{deploy, id, store};

const DAY: i64 = 86_400_000;
const MINUTE: i64 = 60_000;
const T: Timestamp = Timestamp(20_000 * DAY);
const APP: &str = "ghcr.io/acme/app:sha-1";

fn webhook(id: &str, body: u8, timestamp: Timestamp) -> WebhookIdRecord {
    WebhookIdRecord { id: id.to_owned(), body_sha256: [body; 32], timestamp }
}

fn after(millis: i64) -> Timestamp {
    Timestamp(T.0 + millis)
}

/// Posts with our clock at `now`; the number is the job's.
async fn post(store: &Store, webhook: WebhookIdRecord, now: Timestamp, n: u32) -> WebhookAccepted {
    let job = NewJob { now, ..deploy(n, &format!("ghcr.io/acme/app{n}:sha-1"), None) };
    store.accept_webhook(webhook, job).await.unwrap()
}

#[tokio::test]
async fn a_webhook_is_recognised_by_id_and_body_for_a_week() {
    let store = store();
    let post = async |webhook, now, n| {
        store.accept_webhook(webhook, NewJob { now, ..deploy(n, APP, Some("d")) }).await.unwrap()
    };
    assert!(matches!(post(webhook("w1", 1, T), T, 1).await, WebhookAccepted::Accepted(_)));
    assert_eq!(post(webhook("w1", 1, after(-9)), after(9), 2).await, WebhookAccepted::Seen(id(1)));
    assert_eq!(post(webhook("w1", 2, after(9)), after(9), 3).await, WebhookAccepted::Conflict);
    assert_eq!(store.newest_webhook_time(), Some(T), "a conflict leaves nothing behind");
    // another id that joins stands for the joined job from then on
    let WebhookAccepted::Accepted(accepted) = post(webhook("w2", 1, after(10)), after(10), 4).await else {
        panic!("a new id is accepted")
    };
    assert!(matches!(accepted.enqueued, Enqueued::Joined(_)));
    assert_eq!(post(webhook("w2", 1, after(10)), after(10), 5).await, WebhookAccepted::Seen(id(1)));
    assert_eq!(store.newest_webhook_time(), Some(after(10)));
    // a week after its last try it is new again
    let late = after(8 * DAY);
    assert!(matches!(post(webhook("w1", 9, late), late, 6).await, WebhookAccepted::Accepted(_)));
}

#[tokio::test]
async fn a_clock_that_steps_back_and_forth_makes_no_replay_new() {
    let store = store();
    post(&store, webhook("w1", 1, T), T, 1).await;
    // eight days back: the sender's time is judged by the newest
    let sent = after(1000);
    let first = post(&store, webhook("w2", 1, sent), after(-8 * DAY), 2).await;
    assert!(matches!(first, WebhookAccepted::Accepted(_)));
    // and right again, with the request still young enough to be believed
    let now = after(2 * MINUTE);
    store.sweep(now, &Retention::default()).await.unwrap();
    assert_eq!(post(&store, webhook("w2", 1, sent), now, 3).await, WebhookAccepted::Seen(id(2)));
}

#[tokio::test]
async fn a_clock_that_runs_ahead_for_a_while_makes_no_replay_new() {
    let few = Retention { max_webhook_ids: 0, ..Retention::default() };
    for keep in [Retention::default(), few] {
        let store = store();
        post(&store, webhook("w1", 1, T), T, 1).await;
        let ahead = after(8 * DAY);
        assert_eq!(store.sweep(ahead, &keep).await.unwrap().webhook_ids, 0);
        assert_eq!(post(&store, webhook("w1", 1, T), after(MINUTE), 2).await, WebhookAccepted::Seen(id(1)));
        assert_eq!(post(&store, webhook("w1", 1, T), ahead, 3).await, WebhookAccepted::Seen(id(1)));
    }
}

#[tokio::test]
async fn a_retry_is_no_easier_to_replay_than_the_first_try() {
    let store = store();
    post(&store, webhook("w1", 1, T), T, 1).await;
    let retried = after(6 * DAY);
    assert_eq!(post(&store, webhook("w1", 1, retried), retried, 2).await, WebhookAccepted::Seen(id(1)));
    // a week after the first try, less than one after the second
    store.sweep(after(7 * DAY + MINUTE), &Retention::default()).await.unwrap();
    assert_eq!(post(&store, webhook("w1", 1, retried), retried, 3).await, WebhookAccepted::Seen(id(1)));
}

#[tokio::test]
async fn a_sender_that_is_ahead_does_not_lead_our_time_away() {
    let store = store();
    for n in 1..=50 {
        let newest = store.newest_webhook_time().unwrap_or(T).max(T);
        // as far ahead as is believed
        post(&store, webhook(&format!("w{n}"), 1, newest.plus(WEBHOOK_TOLERANCE)), T, n).await;
    }
    assert_eq!(store.newest_webhook_time(), Some(T));
    post(&store, webhook("late", 1, after(-MINUTE)), T, 51).await;
    assert_eq!(store.newest_webhook_time(), Some(T), "nor does one that is behind");
}
