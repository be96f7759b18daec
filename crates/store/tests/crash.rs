//! A job that was accepted is there after kill -9, whenever that comes.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use layerkeeper_core::job::{Intent, JobId, JobState, Trigger};
use layerkeeper_core::{Digest, Timestamp};
use layerkeeper_store::{JobFilter, NewJob, Options, Store, WebhookAccepted, WebhookIdRecord, inspect};

const DIR: &str = "LAYERKEEPER_TEST_STATE";

fn job(n: u64) -> NewJob {
    let mut bits = [0; 16];
    bits[8..].copy_from_slice(&n.to_be_bytes());
    let image = format!("ghcr.io/acme/app{n}:sha-1").parse().unwrap();
    let intent = Intent::Deploy { image, digest: Some(Digest::of(b"d")), over_limit: false };
    let trigger = Trigger::Webhook(format!("w{n}"));
    NewJob { id: JobId::from_bits(bits), intent, trigger, not_before: None, now: Timestamp(n as i64) }
}

fn webhook(n: u64) -> WebhookIdRecord {
    WebhookIdRecord { id: format!("w{n}"), body_sha256: [7; 32], timestamp: Timestamp(n as i64) }
}

/// Accepts webhooks from several tasks and prints each number only when the store has answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test below"]
async fn child_accepts_until_it_is_killed() {
    let dir = std::env::var(DIR).unwrap();
    let options = Options { max_queued: u64::MAX, ..Options::default() };
    let store = Store::open(Path::new(&dir), options).unwrap();
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in (task..).step_by(8) {
                    let accepted = store.accept_webhook(webhook(n), job(n)).await.unwrap();
                    assert!(matches!(accepted, WebhookAccepted::Accepted(_)));
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "accepted {n}").and_then(|()| out.flush()).unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn accepted_before_the_kill(dir: &Path, enough: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child_accepts_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    let mut read = |told: &mut Vec<u64>| match lines.next() {
        Some(line) => {
            // the test harness talks, too
            told.extend(line.unwrap().rsplit_once("accepted ").and_then(|(_, n)| n.parse::<u64>().ok()));
            true
        }
        None => false,
    };
    while told.len() < enough {
        assert!(read(&mut told), "the child ended by itself");
    }
    child.kill().unwrap();
    // what it said before it died counts as well
    while read(&mut told) {}
    child.wait().unwrap();
    told
}

#[tokio::test]
async fn every_accepted_webhook_survives_kill_9() {
    for enough in [1, 37, 400] {
        let dir = tempfile::tempdir().unwrap();
        let told = accepted_before_the_kill(dir.path(), enough);
        let seen = inspect(dir.path());
        assert!(seen.is_good() && seen.damage.is_empty() && seen.unread.is_empty(), "{seen:?}");
        let store = Store::open(dir.path(), Options { max_queued: u64::MAX, ..Options::default() }).unwrap();
        for n in &told {
            let row = store.job(&job(*n).id).await.unwrap();
            assert_eq!(row.map(|row| row.job.state), Some(JobState::Queued), "job {n} was told, and is lost");
            let retry = store.accept_webhook(webhook(*n), job(*n)).await.unwrap();
            assert_eq!(retry, WebhookAccepted::Seen(job(*n).id), "the webhook's id was committed with its job");
        }
        let newest = told.iter().max().map(|n| Timestamp(*n as i64));
        assert!(store.newest_webhook_time() >= newest);
        let listed = store.jobs(JobFilter { limit: 500, ..JobFilter::default() }).await.unwrap();
        assert!(listed.len() >= enough.min(500));
        store.close().await;
    }
}
