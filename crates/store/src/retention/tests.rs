//! A year of load stays small; and what a sweep may never take.

use layerkeeper_core::job::{Intent, JobState};
use layerkeeper_core::layers::{LayerRecord, Origin};
use layerkeeper_core::{Bytes, ChainId, DiffId, Digest, ImageId, Timestamp};

use crate::deploys::DeployRow;
use crate::events::{Event, EventFilter};
use crate::heals::Heal;
use crate::jobs::{JobFilter, JobRow, WebhookIdRecord};
use crate::record::{EstimateRecord, LayerEstimateRecord, LayerRecordJson, Outcome, PullRecord};
use crate::retention::Retention;
use crate::store::{FILE, Options, Store};
use crate::testing::{ENGINE, deploy, id, name, new, sighting, store};
use crate::tombstones::Tombstone;

const DAY: i64 = 86_400_000;

fn report(layers: usize, n: u32) -> Outcome {
    let digest = |i: usize| Digest::of(format!("{n} {i}").as_bytes()).to_string();
    let created_by = Some("RUN /bin/sh -c pip install --no-cache-dir -r requirements.txt # buildkit".to_owned());
    let layer = |i| LayerRecordJson {
        digest: digest(i),
        diff_id: Some(digest(i + 1000)),
        size: Some(123_456_789),
        source: "reused".to_owned(),
        downloaded_bytes: 0,
        created_by: created_by.clone(),
    };
    let expected = |i| LayerEstimateRecord {
        digest: digest(i),
        diff_id: digest(i + 1000),
        size: 123_456_789,
        presence: "here".to_owned(),
        created_by: created_by.clone(),
        causes: Vec::new(),
    };
    let estimate = EstimateRecord {
        total_bytes: 9,
        here_bytes: 9,
        fetch_bytes_least: 0,
        fetch_bytes_most: 0,
        layers: (0..layers).map(expected).collect(),
        ..EstimateRecord::default()
    };
    let pull = PullRecord {
        image: "ghcr.io/acme/app:sha-1".to_owned(),
        digest: Some(digest(0)),
        reused_bytes: 3_400_000_000,
        downloaded_bytes: 12_345_678,
        overhead_bytes: 1,
        wasted_bytes: 0,
        reuse_ratio: Some(0.99),
        certainty: "exact".to_owned(),
        doubts: Vec::new(),
        layers: (0..layers).map(layer).collect(),
        estimate: Some(estimate),
        estimate_error_bytes: Some(0),
        attempts: Vec::new(),
        duration_ms: 5,
        transfer: None,
        phases: None,
    };
    Outcome { summary: "3.40 GB reused, 12.3 MB downloaded".to_owned(), pull: Some(pull), ..Outcome::default() }
}

/// Finished jobs, written as fast as SQLite can: the road through the queue is tested elsewhere.
async fn fill(store: &Store, first: u32, count: u32, outcome: Option<&Outcome>, at: i64) {
    let json = outcome.map(|outcome| serde_json::to_string(outcome).unwrap());
    let fill = move |db: &rusqlite::Connection| {
        let mut jobs = db.prepare_cached(
            "INSERT INTO jobs (id, kind, priority, image, repository, trigger, state, attempts, created, started, finished)
             VALUES (?1, 'deploy', 0, 'ghcr.io/acme/app:sha-1', 'ghcr.io/acme/app', 'schedule', 'succeeded', 1, ?2, ?2, ?2)
             RETURNING seq",
        )?;
        let mut outcomes = db.prepare_cached("INSERT INTO outcomes (job, bytes, json) VALUES (?1, ?2, ?3)")?;
        for n in first..first + count {
            let seq: i64 = jobs.query_row((id(n).as_str(), at), |row| row.get(0))?;
            if let Some(json) = &json {
                outcomes.execute((seq, json.len() as i64, json))?;
            }
        }
        Ok(())
    };
    store.write(fill).await.unwrap();
}

/// Events as fast as SQLite can.
async fn chatter(store: &Store, count: u32, at: i64) {
    let fill = move |db: &rusqlite::Connection| {
        let sql = "INSERT INTO events (at, kind, subject, message) VALUES (?1, 'pulled', 'ghcr.io/acme/app:sha-1', ?2)";
        let mut statement = db.prepare_cached(sql)?;
        for _ in 0..count {
            statement.execute((at, "3.40 GB reused, 12.3 MB downloaded, in 4s; ".repeat(5)))?;
        }
        Ok(())
    };
    store.write(fill).await.unwrap();
}

fn layers_of(row: &JobRow) -> usize {
    row.outcome.pull.as_ref().map_or(0, |pull| pull.layers.len())
}

#[tokio::test]
async fn a_year_of_load_stays_under_64_mb() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let size = || std::fs::metadata(dir.path().join(FILE)).unwrap().len();
    let large = report(60, 1);
    let (mut next, mut largest) = (1, 0);
    for week in 0..52i64 {
        let at = week * 7 * DAY;
        fill(&store, next, 1924, Some(&report(1, 2)), at).await;
        fill(&store, next + 1924, 97, Some(&large), at).await;
        chatter(&store, 1000, at).await;
        next += 2021;
        let swept = store.sweep(Timestamp(at), &Retention::default()).await.unwrap();
        assert_eq!(swept.file_bytes, size(), "in week {week}");
        largest = largest.max(swept.file_bytes);
        assert!(swept.file_bytes < 64_000_000, "{} bytes in week {week}", swept.file_bytes);
    }
    assert!(largest > 10_000_000, "the load was no load: {largest}");
    let counts = store.job_counts().await.unwrap();
    assert_eq!(counts.iter().find(|(state, _)| *state == JobState::Succeeded), Some(&(JobState::Succeeded, 5000)));
    store.close().await;
}

#[tokio::test]
async fn large_reports_lose_their_lists_before_their_jobs_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let large = report(60, 1);
    let bytes = serde_json::to_string(&large).unwrap().len();
    assert!(bytes > 30_000, "a report of the real size, not {bytes}");
    let (mut next, mut stripped) = (1, 0);
    for _ in 0..6 {
        fill(&store, next, 250, Some(&large), 1).await;
        next += 250;
        let swept = store.sweep(Timestamp(2), &Retention::default()).await.unwrap();
        stripped += swept.stripped_reports;
        assert_eq!(swept.jobs, 0);
        assert!(swept.file_bytes < 64_000_000, "{}", swept.file_bytes);
    }
    let whole = 40_000_000 / bytes as u64;
    assert!((1500 - whole..1500 - whole + 100).contains(&stripped), "{stripped} stripped, {whole} could be whole");
    let newest = store.jobs(JobFilter { limit: 1, ..JobFilter::default() }).await.unwrap();
    assert_eq!(layers_of(&newest[0]), 60);
    let oldest = store.job(&id(1)).await.unwrap().unwrap();
    assert_eq!((layers_of(&oldest), oldest.outcome.warnings.len()), (0, 1));
    assert_eq!(oldest.outcome.pull.map(|pull| pull.reused_bytes), Some(3_400_000_000), "sums stay");

    // with no room at all the oldest jobs go, and their pages with them
    let none = Retention { max_report_bytes: 100_000, ..Retention::default() };
    let swept = store.sweep(Timestamp(3), &none).await.unwrap();
    assert!(swept.jobs > 1000 && swept.jobs < 1500, "{swept:?}");
    assert!(swept.file_bytes < 4_000_000, "{swept:?}");
    store.close().await;
}

#[tokio::test]
async fn an_unfinished_job_and_a_live_name_s_deploy_stay_whatever_their_age() {
    let store = store();
    let row = |image: &str| DeployRow {
        instance: ENGINE.to_owned(),
        name: name(image),
        digest: Digest::of(b"d"),
        manifest: None,
        image_id: ImageId::of(b"i"),
    };
    for (n, image) in [(1, "a:1"), (2, "a:2"), (3, "a:1")] {
        store.enqueue(deploy(n, image, None)).await.unwrap();
        store.take_next(Timestamp(5)).await.unwrap().unwrap();
        store.record_deploy(&id(n), row(image), Timestamp(5)).await.unwrap();
        store.finish(&id(n), JobState::Succeeded, &Outcome::default(), Timestamp(5)).await.unwrap();
    }
    store.enqueue(new(4, Intent::Warm { image: name("base:1"), digest: None })).await.unwrap();
    store.observe_names(ENGINE, vec![sighting("a:1", false)], Timestamp(6)).await.unwrap();
    let swept = store.sweep(Timestamp(400 * DAY), &Retention::default()).await.unwrap();
    assert_eq!((swept.jobs, swept.deploys, swept.names, swept.engines), (3, 2, 1, 0), "{swept:?}");
    let left = store.jobs(JobFilter::default()).await.unwrap();
    assert_eq!(left.iter().map(|row| row.job.id.clone()).collect::<Vec<_>>(), [id(4)]);
    let deploys = store.deploys(&name("a:1").repository, 9).await.unwrap();
    assert_eq!(deploys.iter().map(|deploy| deploy.job.clone()).collect::<Vec<_>>(), [id(3)]);
    assert_eq!(store.name_history(ENGINE).await.unwrap()[&name("a:1")].place, deploys[0].seq);
    assert!(store.has_deployed_on(ENGINE).await.unwrap());
}

#[tokio::test]
async fn only_engines_of_the_past_are_forgotten_with_all_that_was_on_them() {
    let store = store();
    let diff_id = DiffId::of(b"l");
    let layer = LayerRecord {
        chain: ChainId::stacked(None, diff_id),
        diff_id,
        blob: Digest::of(b"b"),
        size: Bytes(1),
        origin: Origin::Downloaded,
    };
    for (instance, at) in [("old/overlay2", 1), (ENGINE, 2)] {
        store.record_layers(instance, vec![layer.clone()], Timestamp(at)).await.unwrap();
        store.observe_names(instance, vec![sighting("a:1", true)], Timestamp(at)).await.unwrap();
    }
    let swept = store.sweep(Timestamp(50 * DAY), &Retention::default()).await.unwrap();
    assert_eq!(swept.engines, 0, "it may come back within the time");
    let swept = store.sweep(Timestamp(100 * DAY), &Retention::default()).await.unwrap();
    assert_eq!(swept.engines, 1);
    assert_eq!(store.layer_records("old/overlay2").await.unwrap(), []);
    assert_eq!(store.name_history("old/overlay2").await.unwrap().len(), 0);
    assert_eq!(store.layer_records(ENGINE).await.unwrap(), [layer]);
    assert_eq!(store.name_history(ENGINE).await.unwrap().len(), 1);
}

#[tokio::test]
async fn each_limit_takes_the_oldest_and_no_more() {
    let store = store();
    for n in 1..=6u32 {
        let at = i64::from(n) * DAY;
        let webhook = WebhookIdRecord { id: format!("w{n}"), body_sha256: [0; 32], timestamp: Timestamp(at) };
        let image = format!("app{n}:1");
        let job = crate::jobs::NewJob { now: Timestamp(at), ..deploy(n, &image, None) };
        store.accept_webhook(webhook, job).await.unwrap();
        store.append(Event::new(Timestamp(at), "k", None, None, "m")).await.unwrap();
        let (who, reason) = ("uid 0".to_owned(), "forget".to_owned());
        store.bury(Tombstone { image: name(&image), who, reason, at: Timestamp(at) }).await.unwrap();
        let heal = Heal { image: name(&image), at: Timestamp(at), cause: "prune".to_owned(), by: None };
        store.record_heal(heal).await.unwrap();
        let diff_id = DiffId::of(&[n as u8]);
        let (chain, blob) = (ChainId::stacked(None, diff_id), Digest::of(&[n as u8]));
        let layer = LayerRecord { chain, diff_id, blob, size: Bytes(1), origin: Origin::Reused };
        store.record_layers(ENGINE, vec![layer], Timestamp(at)).await.unwrap();
    }
    let keep =
        Retention { max_events: 4, max_webhook_ids: 3, max_layers: 2, max_tombstones: 5, ..Retention::default() };
    let swept = store.sweep(Timestamp(7 * DAY), &keep).await.unwrap();
    assert_eq!((swept.events, swept.webhook_ids, swept.layers, swept.tombstones), (2, 3, 4, 1), "{swept:?}");
    assert_eq!((swept.heals, swept.jobs), (0, 0), "{swept:?}");
    let ages: Vec<i64> =
        store.events(EventFilter::default()).await.unwrap().into_iter().map(|row| row.event.at.0 / DAY).collect();
    assert_eq!(ages, [6, 5, 4, 3]);
    assert!(store.tombstones().await.unwrap().iter().all(|tombstone| tombstone.at.0 > DAY));
    let again = store.sweep(Timestamp(7 * DAY), &keep).await.unwrap();
    assert_eq!((again.events, again.webhook_ids, again.layers, again.tombstones), (0, 0, 0, 0));
    let later = store.sweep(Timestamp(94 * DAY), &keep).await.unwrap();
    // the newest webhook's id could still be replayed if the clock went back
    assert_eq!((later.events, later.webhook_ids, later.heals), (1, 2, 3), "{later:?}");

    let young = Timestamp(94 * DAY);
    for n in 11..=15u32 {
        let webhook = WebhookIdRecord { id: format!("w{n}"), body_sha256: [0; 32], timestamp: young };
        let job = crate::jobs::NewJob { now: young, ..deploy(n, &format!("app{n}:1"), None) };
        store.accept_webhook(webhook, job).await.unwrap();
    }
    let few = Retention { max_webhook_ids: 1, ..keep };
    assert_eq!(store.sweep(young, &few).await.unwrap().webhook_ids, 1, "an hour's ids stay, however many");
}

#[tokio::test]
async fn a_job_that_a_webhook_id_stands_for_stays_with_it_within_a_bound() {
    let store = store();
    let finish = async |n: u32, at: i64, webhook: Option<&str>| {
        let job = crate::jobs::NewJob { now: Timestamp(at), ..deploy(n, &format!("app{n}:1"), None) };
        match webhook {
            None => drop(store.enqueue(job).await.unwrap()),
            Some(id) => {
                let webhook = WebhookIdRecord { id: id.to_owned(), body_sha256: [0; 32], timestamp: Timestamp(at) };
                store.accept_webhook(webhook, job).await.unwrap();
            }
        }
        store.take_next(Timestamp(at)).await.unwrap().unwrap();
        store.finish(&id(n), JobState::Succeeded, &Outcome::default(), Timestamp(at)).await.unwrap();
    };
    let here = async || {
        let jobs = store.jobs(JobFilter::default()).await.unwrap();
        jobs.into_iter().map(|row| row.job.id).rev().collect::<Vec<_>>()
    };
    finish(1, DAY, None).await;
    finish(2, DAY, Some("w2")).await;
    finish(3, DAY, Some("w3")).await;
    finish(4, 4 * DAY, None).await;
    let keep = Retention { jobs: std::time::Duration::from_secs(86_400), max_jobs: 2, ..Retention::default() };
    let swept = store.sweep(Timestamp(5 * DAY), &keep).await.unwrap();
    assert_eq!((swept.jobs, here().await), (1, vec![id(2), id(3), id(4)]), "only the one that no id stands for");
    let tight = Retention { max_named_jobs: 2, ..keep.clone() };
    store.sweep(Timestamp(5 * DAY), &tight).await.unwrap();
    assert_eq!(here().await, [id(3), id(4)], "never more than the bound");
    finish(5, 9 * DAY, Some("w5")).await;
    store.sweep(Timestamp(9 * DAY), &keep).await.unwrap();
    assert_eq!(here().await, [id(5)], "with the id goes the job");
}
