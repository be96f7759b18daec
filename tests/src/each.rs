//! The same on every real engine, at the same time.

use std::cell::RefCell;
use std::collections::BTreeSet;

use layerkeeper_testkit::{Engine, Engines};
use tokio::task::JoinError;

tokio::task_local! {
    /// Registries whose images the test in hand brings here.
    static USED: RefCell<BTreeSet<String>>;
}

/// Runs the test on A, B and C; the number tells them apart, for content of their own. Panics when one of them did.
/// What it brought goes afterwards: every look at an engine takes in all that is there.
pub async fn on_each<F, T>(test: F)
where
    F: Fn(&'static Engine, u64) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let engines = (1..).zip(Engines::all());
    let run = |(number, engine): (u64, &'static Engine)| {
        let test = test(engine, number);
        (engine.kind(), tokio::spawn(USED.scope(RefCell::default(), and_clean(engine, test))))
    };
    let runs: Vec<_> = engines.map(run).collect();
    let mut failed = String::new();
    for (kind, run) in runs {
        if let Err(ended) = run.await {
            failed += &format!("\non {kind:?}: {}", why(ended));
        }
    }
    assert!(failed.is_empty(), "failed{failed}");
}

/// What the panic said: the last lines of a long log are all that some CI shows.
fn why(ended: JoinError) -> String {
    match ended.try_into_panic() {
        Ok(panic) => match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => {
                panic.downcast::<&str>().map_or_else(|_| "a panic without words".into(), |text| (*text).into())
            }
        },
        Err(ended) => ended.to_string(),
    }
}

/// Remembers that the test in hand brings images of this registry here.
pub(crate) fn uses(registry: &str) {
    // a test on an engine of its own cleans up by dropping it
    let _ = USED.try_with(|used| used.borrow_mut().insert(registry.to_owned()));
}

async fn and_clean(engine: &'static Engine, test: impl Future<Output = ()>) {
    test.await;
    let used = USED.with(|used| used.take());
    let listed = engine.list_images(&["--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]).unwrap_or_default();
    let names = listed.lines().filter_map(|line| {
        let (repository, rest) = line.split_once(' ')?;
        used.iter().any(|registry| repository.starts_with(registry)).then_some(())?;
        let (tag, digest) = rest.split_once(' ')?;
        Some(if tag == "<none>" { format!("{repository}@{digest}") } else { format!("{repository}:{tag}") })
    });
    let names: Vec<String> = names.collect();
    if !names.is_empty() {
        // what is left is only in the way of the next test's time
        let _ = engine.run_docker(["rmi", "--force"].into_iter().map(str::to_owned).chain(names));
    }
}
