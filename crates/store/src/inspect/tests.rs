//! What a look tells, and that it leaves no trace.

use std::collections::BTreeMap;
use std::path::Path;

use layerkeeper_core::{Digest, ImageId, Timestamp};
use rusqlite::Connection;

use super::*;
use crate::deploys::DeployRow;
use crate::engine::PruneGate;
use crate::events::Event;
use crate::schema::VERSION;
use crate::store::{Options, Store};
use crate::testing::{ENGINE, copy_state, deploy, id, name, overwrite_page_of};
use crate::tombstones::Tombstone;

/// Every file with its content.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

async fn filled(dir: &Path) -> Store {
    let store = Store::open(dir, Options::default()).unwrap();
    store.enqueue(deploy(1, "acme/app:sha-1", None)).await.unwrap();
    store.take_next(Timestamp(2)).await.unwrap().unwrap();
    store.enqueue(deploy(3, "acme/other:sha-3", None)).await.unwrap();
    for (n, tag) in [(4, "sha-1"), (5, "sha-2")] {
        let row = DeployRow {
            instance: ENGINE.to_owned(),
            name: name(&format!("acme/app:{tag}")),
            digest: Digest::of(tag.as_bytes()),
            manifest: None,
            image_id: ImageId::of(b"image"),
        };
        store.record_deploy(&id(n), row, Timestamp(i64::from(n))).await.unwrap();
    }
    let tombstone =
        Tombstone { image: name("acme/gone:1"), who: "uid 0".into(), reason: "old".into(), at: Timestamp(6) };
    store.bury(tombstone).await.unwrap();
    store.set_prune_gate(Some(PruneGate { since: Timestamp(7), reason: "away".into() })).await.unwrap();
    store.append(Event::new(Timestamp(8), "test", None, None, "happened")).await.unwrap();
    store
}

fn assert_told(seen: &StateSummary) {
    assert!(seen.is_good() && seen.problem.is_none() && seen.unread.is_empty(), "{seen:?}");
    assert_eq!(seen.version, Some(VERSION));
    assert_eq!((seen.rows["jobs"], seen.rows["deploys"], seen.rows["manifests"]), (2, 2, 0));
    assert_eq!(seen.jobs, BTreeMap::from([("queued".into(), 1), ("running".into(), 1)]));
    let unfinished: Vec<_> = seen.unfinished.iter().map(|job| (&*job.state, job.created, job.attempts)).collect();
    assert_eq!(unfinished, [("running", 1, 1), ("queued", 3, 0)]);
    assert_eq!((seen.oldest, seen.newest), (Some(1), Some(8)));
    let [deploy] = &seen.deploys[..] else { panic!("{:?}", seen.deploys) };
    assert_eq!((&*deploy.image, deploy.at), ("docker.io/acme/app:sha-2", 5));
    assert_eq!(seen.tombstones[0].image, "docker.io/acme/gone:1");
    assert_eq!(seen.prune_gate, Some(Gate { since: 7, reason: "away".into() }));
}

#[tokio::test]
async fn what_is_in_it_is_told_beside_the_daemon_and_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path()).await;
    let before = contents(dir.path());
    let seen = inspect(dir.path());
    assert_told(&seen);
    assert!(seen.wal_bytes > 0);
    let mut after = contents(dir.path());
    // a reader that runs beside the writer marks there what it reads
    after.insert(format!("{FILE}-shm"), before[&format!("{FILE}-shm")].clone());
    assert!(after == before, "something was changed");
    store.close().await;
    let before = contents(dir.path());
    assert_eq!(before.keys().collect::<Vec<_>>(), [FILE, "lock"]);
    assert_told(&inspect(dir.path()));
    assert!(contents(dir.path()) == before, "something was changed, or made");
}

#[tokio::test]
async fn what_waits_in_the_wal_after_a_kill_is_told_and_left_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path()).await;
    let killed = tempfile::tempdir().unwrap();
    copy_state(dir.path(), killed.path());
    let before = contents(killed.path());
    assert_told(&inspect(killed.path()));
    assert!(contents(killed.path()) == before, "something was changed, or made");
    std::fs::copy(dir.path().join(format!("{FILE}-shm")), killed.path().join(format!("{FILE}-shm"))).unwrap();
    let before = contents(killed.path()).into_keys().collect::<Vec<_>>();
    assert_told(&inspect(killed.path()));
    assert_eq!(contents(killed.path()).into_keys().collect::<Vec<_>>(), before);
    store.close().await;
}

#[tokio::test]
async fn a_damaged_page_leaves_the_rest_to_be_told() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await.close().await;
    overwrite_page_of("tombstones", dir.path());
    let before = contents(dir.path());
    let seen = inspect(dir.path());
    assert_eq!(seen.verdict, Verdict::Damaged);
    assert!(seen.problem.as_ref().is_some_and(|told| told.contains(FILE) && told.contains("copy")), "{seen:?}");
    assert!(!seen.damage.is_empty());
    assert_eq!(seen.unread.len(), 1, "{:?}", seen.unread);
    assert_eq!((seen.rows["jobs"], seen.unfinished.len(), seen.deploys.len()), (2, 2, 1));
    assert!(contents(dir.path()) == before);
}

#[tokio::test]
async fn a_newer_file_is_told_as_far_as_it_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await.close().await;
    let newer = VERSION + 1;
    let change = "ALTER TABLE tombstones RENAME COLUMN who TO by_whom; CREATE TABLE later (a)";
    let change = format!("{change}; PRAGMA user_version = {newer}");
    Connection::open(dir.path().join(FILE)).unwrap().execute_batch(&change).unwrap();
    let before = contents(dir.path());
    let seen = inspect(dir.path());
    assert_eq!((seen.verdict, seen.version), (Verdict::Newer, Some(newer)));
    assert!(seen.problem.as_ref().is_some_and(|told| told.contains("newer")), "{seen:?}");
    assert_eq!(seen.damage, Vec::<String>::new());
    assert_eq!((seen.rows["later"], seen.rows["jobs"], seen.unfinished.len()), (0, 2, 2));
    assert_eq!(seen.unread.len(), 1, "{:?}", seen.unread);
    assert!(contents(dir.path()) == before);
}

#[test]
fn no_file_an_empty_one_nonsense_and_a_strangers_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let seen = inspect(dir.path());
    assert_eq!((seen.verdict, seen.is_good()), (Verdict::Unreadable, false));
    assert!(seen.problem.is_some_and(|told| told.contains("No such file")));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let file = dir.path().join(FILE);
    std::fs::write(&file, "").unwrap();
    let seen = inspect(dir.path());
    assert_eq!((seen.verdict, seen.is_good(), seen.version), (Verdict::Empty, true, None));
    std::fs::write(&file, "no database ".repeat(1000)).unwrap();
    let seen = inspect(dir.path());
    assert_eq!((seen.verdict, seen.bytes), (Verdict::Damaged, 12_000));
    std::fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let seen = inspect(dir.path());
    assert_eq!((seen.verdict, seen.version), (Verdict::Foreign, None));
    assert_eq!(seen.rows, BTreeMap::from([("theirs".into(), 0)]));
}
