//! Opening, refusing to open, and writing together.

use std::path::Path;

use layerkeeper_core::{Digest, Timestamp};
use rusqlite::Connection;

use crate::error::StoreError;
use crate::events::{Event, EventFilter};
use crate::provenance::Provenance;
use crate::schema::{APPLICATION_ID, VERSION};
use crate::store::{FILE, Options, Store};
use crate::testing::{copy_state, deploy, id, overwrite_page_of, store};

fn open(dir: &Path) -> Result<Store, StoreError> {
    Store::open(dir, Options::default())
}

fn both(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    (std::fs::read(dir.join(FILE)).unwrap(), std::fs::read(dir.join(format!("{FILE}-wal"))).unwrap())
}

fn event(n: i64) -> Event {
    Event::new(Timestamp(n), "test", None, None, "happened")
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("not/yet/there");
    let first = open(&state).unwrap();
    first.enqueue(deploy(1, "a:1", Some("d"))).await.unwrap();
    first.close().await;
    assert!(!state.join(format!("{FILE}-wal")).exists(), "a closed store is one file");
    let again = open(&state).unwrap();
    assert_eq!(again.job(&id(1)).await.unwrap().unwrap().job.intent, deploy(1, "a:1", Some("d")).intent);
    again.close().await;
}

#[tokio::test]
async fn one_directory_has_one_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert_eq!(refused, StoreError::Locked { dir: dir.path().to_owned(), pid: Some(std::process::id()) });
    assert!(refused.to_string().contains(&dir.path().display().to_string()), "{refused}");
    first.close().await;
    open(dir.path()).unwrap().close().await;
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let clone = store.clone();
    store.close().await;
    assert_eq!(clone.append(event(1)).await, Err(StoreError::Closed));
    assert_eq!(clone.queued().await, Err(StoreError::Closed));
    clone.close().await;
}

#[tokio::test]
async fn files_that_are_not_ours_are_left_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "{error}");
        assert!(error.to_string().contains(FILE), "{error}");
        error
    };
    assert!(matches!(refused(&b"this is no database at all ".repeat(200)), StoreError::Corrupt { .. }));

    let other = |sql: &str| {
        let path = dir.path().join("other.db");
        let _ = std::fs::remove_file(&path);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        std::fs::read(&path).unwrap()
    };
    let error = refused(&other("CREATE TABLE t (a); PRAGMA application_id = 252006673;"));
    assert!(matches!(error, StoreError::NotOurs { application_id: 252_006_673, .. }), "{error}");
    let error = refused(&other("CREATE TABLE t (a)"));
    assert!(matches!(error, StoreError::NotOurs { application_id: 0, .. }), "{error}");
    let newer = format!("CREATE TABLE t (a); PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99;");
    let error = refused(&other(&newer));
    assert_eq!(error, StoreError::Newer { file: file.clone(), found: 99, known: VERSION });
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_to_date_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sql = include_str!("../schema.sql");
    let rows = "INSERT INTO engines (instance, first_seen, last_seen) VALUES ('e/overlay2', 5, 5);
        INSERT INTO names (engine, image, sighting, first_seen) SELECT id, 'ghcr.io/acme/app:sha-1', 3, 7 FROM engines;";
    let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;");
    Connection::open(dir.path().join(FILE)).unwrap().execute_batch(&format!("{sql}{rows}{marks}")).unwrap();
    let store = open(dir.path()).unwrap();
    let history = store.name_history("e/overlay2").await.unwrap();
    let (name, record) = history.first_key_value().unwrap();
    assert_eq!((name.to_string().as_str(), record.first_seen.0, record.place), ("ghcr.io/acme/app:sha-1", 7, 3));
    store.close().await;
    let version = Connection::open(dir.path().join(FILE)).unwrap();
    let version: u32 = version.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, VERSION);
}

#[tokio::test]
async fn what_version_6_vouched_for_is_vouched_for_by_name_and_digest() {
    let dir = tempfile::tempdir().unwrap();
    let scripts = [
        include_str!("../schema.sql"),
        include_str!("../schema_2.sql"),
        include_str!("../schema_3.sql"),
        include_str!("../schema_4.sql"),
        include_str!("../schema_5.sql"),
        include_str!("../schema_6.sql"),
    ];
    let (digest, job) = (Digest::of(b"manifest"), id(7));
    let row = format!(
        "INSERT INTO provenance (name, digest, image_id, layers, alias, source, job, at)
         VALUES ('ghcr.io/acme/app:sha-1', '{digest}', '{digest}', '{digest}', '127.0.0.1:4/acme/app@{digest}', 'mirror.lan', '{job}', 9);
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 6;"
    );
    Connection::open(dir.path().join(FILE)).unwrap().execute_batch(&(scripts.concat() + &row)).unwrap();
    let store = open(dir.path()).unwrap();
    let mut all = store.provenance().await.unwrap();
    let first = all.pop().unwrap();
    assert_eq!((all.len(), first.digest, first.source.as_str(), first.at.0), (0, digest, "mirror.lan", 9));
    store.save_provenance(Provenance { digest: Digest::of(b"next"), ..first }).await.unwrap();
    assert_eq!(store.provenance().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_page_that_is_damaged_under_a_running_store_is_reported_by_the_call_that_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for n in 0..200 {
        store.append(event(n)).await.unwrap();
    }
    // or the page would be read from the -wal file
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    store.write_alone(move |db| Ok(db.query_row(checkpoint, [], |_| Ok(()))?)).await.unwrap();
    overwrite_page_of("events", dir.path());
    let error = store.events(EventFilter::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
    assert!(!error.is_transient());
    assert!(store.queued().await.is_ok(), "what is whole can be read");
    store.close().await;
}

#[tokio::test]
async fn a_file_with_a_damaged_page_is_not_opened_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for n in 0..200 {
        store.append(event(n)).await.unwrap();
    }
    store.close().await;
    overwrite_page_of("events", dir.path());
    let before = std::fs::read(dir.path().join(FILE)).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("check-state"), "{error}");
    assert!(std::fs::read(dir.path().join(FILE)).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn a_newer_file_is_left_alone_with_what_waits_in_its_wal() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(event(1)).await.unwrap();
    store.write_alone(|db| Ok(db.pragma_update(None, "user_version", 99)?)).await.unwrap();
    // as kill -9 leaves it: the -wal file holds what the database does not
    let killed = tempfile::tempdir().unwrap();
    copy_state(dir.path(), killed.path());
    store.close().await;
    let before = both(killed.path());
    assert!(before.1.len() > 4096, "nothing waits");
    let error = open(killed.path()).unwrap_err();
    assert_eq!(error, StoreError::Newer { file: killed.path().join(FILE), found: 99, known: VERSION });
    assert!(both(killed.path()) == before, "the files were changed");
}

#[tokio::test]
async fn writes_that_wait_together_share_commits_and_each_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    // the writer is held until all of them wait
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let held = tokio::spawn({
        let store = store.clone();
        async move { store.write_alone(move |_| Ok(gate.recv().is_ok())).await }
    });
    let writes: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.append(event(n)).await })
        })
        .collect();
    while store.waiting() < 200 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    let mut numbers = Vec::new();
    for write in writes {
        numbers.push(write.await.unwrap().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<u64>>());
    assert!(store.commits() <= 3, "{} commits for 200 writes", store.commits());
    store.close().await;
}

#[tokio::test]
async fn a_failing_or_panicking_write_hurts_no_neighbour() {
    let store = store();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let writes = async {
        tokio::join!(
            store.write_alone(move |_| Ok(gate.recv().is_ok())),
            store.append(event(1)),
            store.write(|db| {
                db.execute("INSERT INTO events (at, kind, message) VALUES (7, 'lost', '')", [])?;
                Ok(db.execute("INSERT INTO events (at, kind, message) VALUES (7, 'no message', NULL)", [])?)
            }),
            store.write(|db| -> Result<(), _> {
                db.execute("INSERT INTO events (at, kind, message) VALUES (8, 'lost', '')", [])?;
                panic!("a defect of the test's making")
            }),
            store.append(event(2)),
        )
    };
    let release = async {
        while store.waiting() < 4 {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
    };
    let ((_, first, failed, panicked, second), ()) = tokio::join!(writes, release);
    assert!(first.is_ok() && second.is_ok());
    assert!(matches!(failed, Err(StoreError::Sqlite { .. })), "{failed:?}");
    assert_eq!(panicked, Err(StoreError::Defect("a defect of the test's making".to_owned())));
    assert_eq!(store.commits(), 1, "all four were one transaction");
    let left: Vec<_> = store.events(EventFilter::default()).await.unwrap();
    assert_eq!(left.into_iter().map(|row| row.event.at.0).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(event(1)).await.unwrap();
    let limit = |pages: i64| {
        store.write_alone(move |db| {
            Ok(db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))?)
        })
    };
    limit(1).await.unwrap();
    let large = Event { message: "x".repeat(100_000), ..event(2) };
    let error = store.append(large.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.is_transient());
    limit(100_000).await.unwrap();
    store.append(large).await.unwrap();
    assert_eq!(store.events(EventFilter::default()).await.unwrap().len(), 2);
    store.close().await;
}

#[tokio::test]
async fn durability_is_what_it_is_meant_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let pragma = async |name: &'static str| {
        store
            .write_alone(
                move |db| Ok(db.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))?),
            )
            .await
            .unwrap()
    };
    assert_eq!(pragma("journal_mode").await, "wal".to_owned().into());
    assert_eq!(pragma("synchronous").await, 2.into(), "FULL");
    assert_eq!(pragma("foreign_keys").await, 1.into());
    assert_eq!(pragma("auto_vacuum").await, 2.into(), "INCREMENTAL");
    let tried = store.read(|db| Ok(db.execute("DELETE FROM events", [])?)).await.unwrap_err();
    assert!(matches!(tried, StoreError::ReadOnly { .. }), "{tried}");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(dir.path().join(FILE)).unwrap());
    assert_eq!(mode & 0o077, 0, "job ids are capabilities");
    store.close().await;
}

#[tokio::test]
async fn what_was_committed_comes_into_the_file_while_the_store_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for n in 0..200 {
        store.append(event(n)).await.unwrap();
    }
    let copy = dir.path().join("copy.db");
    let in_the_file = || {
        std::fs::copy(dir.path().join(FILE), &copy).unwrap();
        let file = Connection::open(&copy).unwrap();
        file.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap_or(0)
    };
    let begun = std::time::Instant::now();
    while in_the_file() < 192 {
        assert!(begun.elapsed().as_secs() < 10, "{} of 200 are in the file", in_the_file());
        tokio::task::yield_now().await;
    }
    store.close().await;
}
