//! What is counted of jobs and deploys.

use layerkeeper_core::{Bytes, JobState, StoreKind};

use crate::ground::{Ground, name, policy, settings};

/// The value behind this name and these labels, where it is told.
async fn counted(ground: &Ground, metric: &str) -> Option<u64> {
    let text = ground.keeper.metrics_text().await;
    text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')).map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn a_job_that_failed_or_was_refused_is_counted_once_by_its_class() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    let not_found = "layerkeeper_job_failures_total{class=\"not_found\",kind=\"deploy\"}";
    let row = ground.deploy("app:sha-9", None).await;
    assert_eq!(row.job.state, JobState::Failed);
    assert!(row.job.attempts > 1, "it waited for its tag before, and that is no failure");
    assert_eq!(counted(&ground, not_found).await, Some(1));
    ground.deploy("app:sha-9", None).await;
    assert_eq!(counted(&ground, not_found).await, Some(2));

    ground.ship("app:sha-1").await;
    ground.free(1_000_000);
    ground.publish("app:sha-2", &crate::ground::app("app:sha-2"));
    assert_eq!(ground.deploy("app:sha-2", None).await.job.state, JobState::Refused);
    assert_eq!(counted(&ground, "layerkeeper_job_failures_total{class=\"no_room\",kind=\"deploy\"}").await, Some(1));
    let text = ground.keeper.metrics_text().await;
    assert_eq!(text.matches("layerkeeper_job_failures_total{").count(), 2, "what succeeded is not counted: {text}");
}

#[tokio::test]
async fn what_the_last_deploy_moved_stands_beside_its_budget_and_a_reload_changes_the_budget() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    let budget = "layerkeeper_download_budget_bytes{repository=\"ghcr.io/acme/app\"}";
    let moved = "layerkeeper_last_deploy_moved_bytes{repository=\"ghcr.io/acme/app\"}";
    assert_eq!((counted(&ground, budget).await, counted(&ground, moved).await), (Some(300_000_000), None));
    ground.ship("app:sha-1").await;
    let row = ground.ship("app:sha-2").await;
    assert!(row.outcome.moved_bytes >= 20_000_000);
    assert_eq!(counted(&ground, moved).await, Some(row.outcome.moved_bytes));
    // a rollback to what is here moves nothing
    ground.deploy("app:sha-1", row_digest(&ground, "app:sha-1").await).await;
    assert_eq!(counted(&ground, moved).await, Some(0));

    let mut policy = policy();
    policy.runtime[0].download_budget = Bytes(7);
    ground.keeper.reload(settings(policy.clone()));
    assert_eq!(counted(&ground, budget).await, Some(7));
    policy.runtime.clear();
    ground.keeper.reload(settings(policy));
    assert_eq!(counted(&ground, budget).await, None, "a repository that went has no budget");
}

/// Somebody prunes in the moment between estimate and pull, and all moves that was to be reused.
#[tokio::test]
async fn by_how_much_an_estimate_was_wrong_is_in_the_record_and_counted() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    let of = |what: &str| {
        format!("layerkeeper_estimate_error_bytes_{what}{{kind=\"deploy\",repository=\"ghcr.io/acme/app\"}}")
    };
    let right = ground.ship("app:sha-1").await;
    assert_eq!(right.outcome.pull.unwrap().estimate_error_bytes, Some(0));
    assert_eq!((counted(&ground, &of("sum")).await, counted(&ground, &of("count")).await), (Some(0), Some(1)));

    let engine = ground.engine.clone();
    ground.once_at("estimated", move || engine.foreign_prune_unheard());
    let pull = ground.ship("app:sha-2").await.outcome.pull.unwrap();
    let estimate = pull.estimate.unwrap();
    assert_eq!((estimate.fetch_bytes_least, estimate.fetch_bytes_most), (20_000_000, 20_000_000));
    assert_eq!((pull.downloaded_bytes, pull.estimate_error_bytes), (970_000_000, Some(950_000_000)));
    assert_eq!(pull.certainty, "inferred", "{:?}", pull.doubts);
    assert_eq!(counted(&ground, &of("sum")).await, Some(950_000_000));
    assert_eq!(counted(&ground, &of("count")).await, Some(2));
}

async fn row_digest(ground: &Ground, tag: &str) -> Option<layerkeeper_core::Digest> {
    let images = ground.keeper.images().await;
    let image = images.iter().find(|image| image.names.contains(&name(tag).to_string()))?;
    image.digests.first()?.split_once('@')?.1.parse().ok()
}
