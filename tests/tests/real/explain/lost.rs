//! What was here and went: when, and by which call.

use std::time::Duration;

use layerkeeper_core::job::JobKind;
use layerkeeper_core::{Bytes, JobState};
use layerkeeper_store::{JobFilter, Options, Store};
use layerkeeper_testkit::{Auth, Image, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use super::{advice, kept, said, words};
use crate::reuse::foretold;

/// Somebody untags the newest tag while the registry is away, so that nothing brings it back at once; and then nothing is to.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_here_is_told_as_lost_with_the_time_and_the_call() {
    on_each(|engine, number| async move {
        let mut registry = Registry::start(Auth::Open).unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(engine, &registry.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.max_attempts = 1;
        })
        .await;
        let image = Image::new().layer(layer(64, number, 1, Bytes(200_000))).layer(layer(64, number, 2, Bytes(90_000)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        host.ship("sha-1", None).await;
        registry.stop();
        let name = host.name("app:sha-1");
        // it came an hour before it went; and no look that shows it gone has begun before this
        host.wind(Duration::from_secs(3600));
        let before = host.now();
        let looked = async || {
            host.keeper.plan_prune(false).await.unwrap();
            host.keeper.status().await.engine.seen_at.is_some_and(|at| at >= before.0)
        };
        eventually(Duration::from_secs(30), looked).await;
        engine.run_docker(["rmi", &name.to_string()]).unwrap();
        let gave_up = async || {
            let filter = JobFilter { kinds: vec![JobKind::Heal], ..JobFilter::default() };
            host.keeper.jobs(filter).await.unwrap().iter().any(|row| row.job.state == JobState::Failed)
        };
        eventually(Duration::from_secs(60), gave_up).await;
        let after = host.now();
        host.keeper.forget(&name, 0).await.unwrap();
        registry.start_again().unwrap();

        let (_, pull) = foretold(&host, &registry, "sha-1", &pushed).await;
        assert_eq!(Bytes(pull.downloaded_bytes), pushed.layer_bytes());
        let estimate = kept(&pull);
        assert_eq!(words(estimate), [["lost"], ["lost"]], "{estimate:?}");
        for at in 0..2 {
            let gone = estimate.layers[at].causes[0].at.unwrap();
            assert!((before.0..=after.0).contains(&gone), "{gone} is not in {} to {}", before.0, after.0);
            let said = said(estimate, at);
            assert!(said.starts_with(&format!("it was here in {name}, which was gone at ")), "{said}");
            assert!(said.contains("untag") || said.contains("delete"), "{said}");
            assert!(advice(estimate, at).contains("layerkeeper doctor"), "{estimate:?}");
        }
    })
    .await;
}
