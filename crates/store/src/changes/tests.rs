//! A name that came, moved and went, looked back at.

use super::*;
use crate::testing::{ENGINE, id, store};

fn diff(word: &str) -> DiffId {
    DiffId::of(word.as_bytes())
}

fn image(word: &str) -> ImageId {
    ImageId::of(word.as_bytes())
}

fn came(name: &str, word: &str) -> Change {
    let digest = Some(Digest::of(word.as_bytes()));
    Change { name: name.to_owned(), to: Some(Standing { image: image(word), digest }) }
}

fn went(name: &str) -> Change {
    Change { name: name.to_owned(), to: None }
}

async fn record(store: &Store, at: i64, changes: Vec<Change>, stacks: &[(&str, &[&str])]) {
    let stacks = stacks.iter().map(|(word, layers)| (image(word), layers.iter().map(|l| diff(l)).collect())).collect();
    store.record_changes(ENGINE, changes, stacks, Some(id(1)), Timestamp(at)).await.unwrap();
}

/// `python` stood from 10 on, moved at 20, and went at 30.
async fn three_days() -> Store {
    let store = store();
    let first: &[(&str, &[&str])] = &[("old", &["os", "torch1"]), ("app", &["os", "code"])];
    record(&store, 10, vec![came("r/python:1", "old"), came("r/app:1", "app")], first).await;
    record(&store, 20, vec![came("r/python:1", "new")], &[("new", &["os", "torch2"])]).await;
    record(&store, 30, vec![went("r/python:1")], &[]).await;
    store
}

#[tokio::test]
async fn what_was_here_on_a_day_has_an_answer() {
    let store = three_days().await;
    let at = async |at: i64| -> Vec<(String, ImageId)> {
        let rows = store.names_at(ENGINE, Timestamp(at)).await.unwrap();
        rows.into_iter().map(|row| (row.change.name, row.change.to.unwrap().image)).collect()
    };
    let app = ("r/app:1".to_owned(), image("app"));
    assert_eq!(at(9).await, []);
    assert_eq!(at(10).await, [app.clone(), ("r/python:1".to_owned(), image("old"))]);
    assert_eq!(at(29).await, [app.clone(), ("r/python:1".to_owned(), image("new"))]);
    assert_eq!(at(1000).await, [app]);
    assert_eq!(store.standing(ENGINE).await.unwrap().into_keys().collect::<Vec<_>>(), ["r/app:1"]);
    assert_eq!(store.standing("other/overlay2").await.unwrap(), BTreeMap::new());
    let then = store.names_at(ENGINE, Timestamp(29)).await.unwrap();
    assert_eq!((then[1].at.0, then[1].layers.len()), (20, 2), "since when, and of which layers");
}

#[tokio::test]
async fn the_record_of_a_name_is_newest_first_with_its_layers() {
    let store = three_days().await;
    let filter = ChangeFilter { name: Some("r/python:1".to_owned()), ..ChangeFilter::default() };
    let rows = store.changes(ENGINE, filter.clone()).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.at.0, row.change.to.as_ref().map(|to| to.image))).collect();
    assert_eq!(told, [(30, None), (20, Some(image("new"))), (10, Some(image("old")))]);
    assert_eq!(rows[1].layers, [diff("os"), diff("torch2")]);
    assert_eq!((rows[0].layers.len(), rows[0].job.clone()), (0, Some(id(1))));
    let until = ChangeFilter { until: Some(Timestamp(20)), limit: 1, ..filter };
    assert_eq!(store.changes(ENGINE, until).await.unwrap()[0].at, Timestamp(20));
    assert_eq!(store.changes(ENGINE, ChangeFilter::default()).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_layer_was_last_held_until_its_name_moved_or_went() {
    let store = three_days().await;
    let wanted = ["os", "torch1", "torch2", "code", "never"].map(diff);
    let held = store.last_held(ENGINE, wanted.into_iter().collect()).await.unwrap();
    let of = |word: &str| held.get(&diff(word)).map(|last| (last.name.as_str(), last.gone.0));
    assert_eq!(of("torch1"), Some(("r/python:1", 20)), "it moved");
    assert_eq!(of("torch2"), Some(("r/python:1", 30)), "it went");
    assert_eq!(of("os"), Some(("r/python:1", 30)), "the last one that went");
    assert_eq!((of("code"), of("never")), (None, None), "its image is still here; it never was");
}

#[tokio::test]
async fn old_lines_go_and_what_still_stands_stays_with_its_layers() {
    let store = three_days().await;
    let keep = crate::Retention { traces: std::time::Duration::from_millis(1), ..crate::Retention::default() };
    let swept = store.sweep(Timestamp(1000), &keep).await.unwrap();
    assert_eq!(swept.changes, 3);
    let rows = store.changes(ENGINE, ChangeFilter::default()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.change.name.as_str()).collect::<Vec<_>>(), ["r/app:1"]);
    assert_eq!(rows[0].layers, [diff("os"), diff("code")]);
    let stacks = |db: &rusqlite::Connection| Ok(db.query_row("SELECT count(*) FROM stacks", [], |row| row.get(0))?);
    assert_eq!(store.read(stacks).await, Ok(1i64), "the layers of what went, went with it");
    let few = crate::Retention { max_changes: 0, ..crate::Retention::default() };
    assert_eq!(store.sweep(Timestamp(1000), &few).await.unwrap().changes, 0, "what still stands stays");
}

#[tokio::test]
async fn the_lines_of_an_image_are_found_without_reading_all_of_them() {
    let store = three_days().await;
    let plan = |sql: &'static str| {
        store.read(move |connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let mut rows = statement.raw_query();
            let mut steps = Vec::new();
            while let Some(row) = rows.next()? {
                steps.push(row.get::<_, String>("detail")?);
            }
            Ok(steps)
        })
    };
    for sql in [WENT, crate::retention::STACKS] {
        let steps = plan(sql).await.unwrap();
        assert!(steps.iter().any(|step| step.contains("INDEX changes_image")), "{steps:?}");
        assert!(
            !steps.iter().any(|step| step.starts_with("SCAN held") || step.starts_with("SCAN changes")),
            "{steps:?}"
        );
    }
}
