//! A pull lives exactly as long as its stream.

use std::time::Duration;

use futures_util::StreamExt;
use layerkeeper_core::ImageName;
use layerkeeper_core::progress::PullProgress;
use tokio::time::{Instant, sleep, timeout};

use super::{Case, Recipe, ok};

/// Far less than the pull would need.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn all(case: &Case<'_>) {
    let recipe = Recipe {
        label: "cancel".to_owned(),
        layers: vec![("cancel a".to_owned(), 2_000_000), ("cancel b".to_owned(), 2_000_000)],
        ..Recipe::default()
    };
    let published = case.subject.publish("cancel/app:t", &recipe).await;
    let name: ImageName = ok(format!("{}/cancel/app:t", case.subject.slow_registry()).parse(), "a name");
    let reference = name.to_reference();
    let mut stream = ok(case.engine().pull(&reference, None).await, "pull");
    let mut progress = PullProgress::default();
    // a line that tells of bytes may be long in coming: the containerd store counts them a megabyte at a time
    let begin = async {
        while progress.layers.is_empty() {
            match stream.next().await {
                Some(event) => progress.apply(&ok(event, "a pull under way")),
                None => panic!("the pull was over before it began to download"),
            };
        }
    };
    ok(timeout(LIMIT, begin).await, "waiting for the download");
    until(|| case.subject.slow_pulls() > 0, "the pull moves no bytes").await;
    drop(stream);
    until(|| case.subject.slow_pulls() == 0, "the engine goes on pulling for nobody").await;
    case.must_lack(&reference).await;
    assert!(!case.holds_layers(&published.diff_ids).await);
    // and over the fast line it comes whole
    let fast = case.name("cancel/app:t");
    case.pull_tag(&fast).await;
    assert_eq!(case.must_have(&fast.to_reference()).await.layers, published.diff_ids);
    case.remove(&fast.to_reference()).await;
}

async fn until(reached: impl Fn() -> bool, otherwise: &str) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < LIMIT, "{otherwise}");
        sleep(Duration::from_millis(50)).await;
    }
}
