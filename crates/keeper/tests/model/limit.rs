//! What a repository's budget and limit are, beside what a deploy would move, and where the limit cannot be held.

use std::sync::atomic::Ordering;

use layerkeeper_core::{Bytes, JobState, Policy, StoreKind};
use layerkeeper_keeper::DeployRequest;
use layerkeeper_store::record::ShareRecord;

use crate::ground::{Ground, app, name, policy};

const STORES: [StoreKind; 2] = [StoreKind::Graphdriver, StoreKind::Containerd];

/// The policy with this limit.
fn limited(limit: u64) -> Policy {
    let mut policy = policy();
    policy.runtime[0].download_budget = Bytes(12_345_678);
    policy.runtime[0].download_limit = Some(Bytes(limit));
    policy
}

fn share(tag: &str, here: bool, bytes: u64, layers: usize) -> ShareRecord {
    ShareRecord { image: name(tag).to_string(), here, bytes, layers }
}

#[tokio::test]
async fn a_plan_has_budget_and_limit_and_what_each_kept_image_shares_to_the_byte() {
    for kind in STORES {
        let ground = Ground::new(kind, limited(987_654_321)).await;
        ground.ship("app:sha-1").await;
        ground.publish("app:sha-2", &app("app:sha-2"));
        let plan = async |tag: &str| ground.keeper.plan(&name(tag).to_reference()).await.unwrap();
        let told = plan("app:sha-2").await;
        assert_eq!((told.budget_bytes, told.limit_bytes), (Some(12_345_678), Some(987_654_321)), "{kind}");
        let both = [share("base:1", true, 50_000_000, 1), share("cache-python:1", true, 950_000_000, 2)];
        assert_eq!(told.estimate.shares, both, "{kind}");
        let kept = plan("base:1").await;
        assert_eq!((kept.budget_bytes, kept.limit_bytes), (None, None), "{kind}: nobody deploys it");

        let outcome = ground.ship("app:sha-2").await.outcome;
        assert_eq!(outcome.budget_bytes, Some(12_345_678), "{kind}");
        assert_eq!(outcome.pull.unwrap().estimate.unwrap().shares, both, "{kind}: the deploy's record has them, too");

        // it would be healed
        ground.keeper.forget(&name("cache-python:1"), 0).await.unwrap();
        ground.engine.foreign_remove(&name("cache-python:1").to_reference()).unwrap();
        let gone = [both[0].clone(), share("cache-python:1", false, 0, 0)];
        ground.until("it is missed", async |_| plan("app:sha-2").await.estimate.shares == gone).await;
    }
}

#[tokio::test]
async fn a_limit_that_cannot_be_held_without_a_manifest_is_a_warning_and_the_deploy_goes_on() {
    for kind in STORES {
        let ground = Ground::new(kind, Policy { keep: Vec::new(), ..limited(15_000_000) }).await;
        for tag in ["app:sha-1", "app:sha-2"] {
            ground.publish(tag, &app(tag));
        }
        let refused = ground.deploy("app:sha-1", None).await;
        assert_eq!(refused.job.state, JobState::Refused, "{kind}: {:?}", refused.outcome);
        assert_eq!((refused.outcome.error.unwrap().class.as_str(), refused.outcome.moved_bytes), ("over_limit", 0));

        // the engine reaches the registry, and we do not
        ground.shelf.down.store(true, Ordering::SeqCst);
        let row = ground.deploy("app:sha-1", None).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{kind}: {:?}", row.outcome);
        let warned = "the registry gave no manifest, so the download_limit of 15.0 MB could not be held";
        assert!(row.outcome.warnings.contains(&warned.to_owned()), "{kind}: {:?}", row.outcome.warnings);

        let request = DeployRequest { image: name("app:sha-2"), digest: None, over_limit: true };
        let asked = ground.keeper.deploy(request, 0).await.unwrap();
        let row = ground.end(&asked.job.id).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{kind}: {:?}", row.outcome);
        let about = |warning: &String| warning.contains("download_limit");
        assert!(!row.outcome.warnings.iter().any(about), "{kind}: nobody asked for it: {:?}", row.outcome.warnings);
    }
}
