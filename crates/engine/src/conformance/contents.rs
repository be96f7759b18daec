//! Reading what is inside an image.

use std::collections::BTreeSet;

use layerkeeper_core::{Digest, Reference};

use super::{Case, err, ok};
use crate::EngineError;
use crate::contents;

const OWNER: &str = "0123456789abcdef";

pub(super) async fn all(case: &Case<'_>) {
    files_are_read_through_a_container_that_nobody_else_sees(case).await;
    what_is_not_there_is_not_found(case).await;
}

/// Every file below a path, by name and content.
async fn read(case: &Case<'_>, image: &Reference, path: &str) -> BTreeSet<(String, Digest)> {
    let id = ok(case.engine().open(image, OWNER).await, "open");
    let archive = ok(case.engine().archive(&id, path).await, "archive");
    let mut files = BTreeSet::new();
    let read = contents::files(path, archive, |file| {
        files.insert((file.path, file.digest));
    });
    ok(read.await, "files");
    ok(case.engine().close(&id).await, "close");
    files
}

async fn files_are_read_through_a_container_that_nobody_else_sees(case: &Case<'_>) {
    let (one, _) = case.publish("inside/app:one", &["shared", "own one"]).await;
    let (two, _) = case.publish("inside/app:two", &["shared", "own two"]).await;
    case.pull_tag(&one).await;
    case.pull_tag(&two).await;
    let (in_one, in_two) =
        (read(case, &one.to_reference(), "/data").await, read(case, &two.to_reference(), "/data").await);
    assert_eq!((in_one.len(), in_two.len()), (2, 2), "{in_one:?} {in_two:?}");
    assert_eq!(in_one.intersection(&in_two).count(), 1, "the shared layer's file: {in_one:?} {in_two:?}");
    assert!(in_one.iter().all(|(path, _)| path.starts_with("/data/")), "{in_one:?}");

    let before = ok(case.engine().containers().await, "containers");
    let id = ok(case.engine().open(&one.to_reference(), OWNER).await, "open");
    assert_eq!(ok(case.engine().left_open(OWNER).await, "left open"), std::slice::from_ref(&id));
    assert_eq!(ok(case.engine().containers().await, "containers"), before, "it is none of the host's");
    assert!(ok(case.engine().left_open("fedcba9876543210").await, "left open").is_empty(), "another's is not ours");
    let error = err(case.engine().remove(&one.to_reference()).await, "removing what is being read");
    assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    ok(case.engine().close(&id).await, "close");
    ok(case.engine().close(&id).await, "closing once more");
    assert!(ok(case.engine().left_open(OWNER).await, "left open").is_empty());
    case.remove(&one.to_reference()).await;
    case.remove(&two.to_reference()).await;
    case.must_lack(&one.to_reference()).await;
}

async fn what_is_not_there_is_not_found(case: &Case<'_>) {
    let (name, _) = case.publish("inside/empty:t", &["a"]).await;
    let error = err(case.engine().open(&name.to_reference(), OWNER).await, "reading what is not here");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    case.pull_tag(&name).await;
    let id = ok(case.engine().open(&name.to_reference(), OWNER).await, "open");
    let error = err(case.engine().archive(&id, "/nowhere").await.map(drop), "a path that is not there");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    ok(case.engine().close(&id).await, "close");
    case.remove(&name.to_reference()).await;
}
