//! The same on every real engine, at the same time.

use layerkeeper_testkit::{Engine, EngineKind, Engines};

/// Runs the test on A, B and C; the number tells them apart, for content of their own. Panics when one of them did.
pub async fn on_each<F, T>(test: F)
where
    F: Fn(&'static Engine, u64) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    on(&EngineKind::ALL, test).await;
}

/// As [`on_each`], on these only.
pub async fn on<F, T>(kinds: &[EngineKind], test: F)
where
    F: Fn(&'static Engine, u64) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let engines = (1..).zip(Engines::all()).filter(|(_, engine)| kinds.contains(&engine.kind()));
    let runs: Vec<_> = engines.map(|(number, engine)| (engine.kind(), tokio::spawn(test(engine, number)))).collect();
    let mut failed = Vec::new();
    for (kind, run) in runs {
        if run.await.is_err() {
            failed.push(kind);
        }
    }
    assert!(failed.is_empty(), "failed on {failed:?}");
}
