//! 2: `docker system prune -a` takes all that was pulled ahead, and then the registry is down.

use std::time::{Duration, Instant};

use layerkeeper_core::job::JobKind;
use layerkeeper_core::{Bytes, JobState};
use layerkeeper_store::{JobFilter, JobRow, Options, Store};
use layerkeeper_testkit::{Auth, EngineKind, Registry};
use layerkeeper_tests::chain::Chain;
use layerkeeper_tests::host::Host;

use crate::{Seen, on_own, until};

const KEPT: [&str; 3] = ["base:1", "cache-python:1", "cache-node:1"];

async fn heals(host: &Host) -> Vec<JobRow> {
    let filter = JobFilter { kinds: vec![JobKind::Heal], limit: 500, ..JobFilter::default() };
    let mut rows = host.keeper.jobs(filter).await.unwrap();
    rows.sort_by_key(|row| row.job.seq);
    rows
}

fn all_here(seen: &Seen) -> bool {
    let status = &seen.status;
    status.queued == 0 && status.running.is_none() && status.losses.is_empty() && status.kept.iter().all(|k| k.present)
}

#[tokio::test(flavor = "multi_thread")]
async fn field_failure_02_a_prune_of_everything_takes_the_set_that_was_pulled_ahead() {
    on_own(|engine, number| async move {
        let mut registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(4900 + number, 1).unwrap();
        chain.push_kept(&registry).unwrap();
        chain.runtime(1, Bytes(300_000)).unwrap().push(&registry, "acme/app:sha-1").unwrap();
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(&engine, &registry.host(), store, |settings, _| {
            settings.look_every = Duration::from_secs(1);
        })
        .await;
        host.ship("sha-1", None).await;
        until(&host, "all is here", all_here).await;

        engine.run_docker(["system", "prune", "--all", "--force"]).unwrap();
        let pruned = Instant::now();
        until(&host, "healing runs", |seen| {
            seen.jobs.iter().any(|row| row.job.intent.kind() == JobKind::Heal && row.started.is_some())
        })
        .await;
        assert!(pruned.elapsed() < Duration::from_secs(5), "took {:?}", pruned.elapsed());
        until(&host, "all is back", all_here).await;
        let rows = heals(&host).await;
        let images: Vec<String> = rows.iter().map(|row| row.job.intent.image().unwrap().to_string()).collect();
        let wanted: Vec<String> = KEPT.iter().chain(&["app:sha-1"]).map(|text| host.name(text).to_string()).collect();
        assert_eq!(images, wanted, "in the order of the file, and then what the last plan kept");
        assert!(rows.iter().all(|row| row.job.state == JobState::Succeeded), "{rows:?}");
        // 26.1 with the containerd store tells of no image that a prune takes (measured), and we do not guess
        let cause = if engine.kind() == EngineKind::C { "unknown" } else { "prune" };
        let metrics = host.keeper.metrics_text().await;
        for image in &wanted {
            let counted = format!("layerkeeper_heals_total{{cause=\"{cause}\",image=\"{image}\"}} 1\n");
            assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
        }

        // once more, and nobody to bring it back from
        registry.stop();
        engine.run_docker(["system", "prune", "--all", "--force"]).unwrap();
        let all = wanted.len();
        until(&host, "every loss has had its try", |seen| {
            let losses = &seen.status.losses;
            losses.len() == all && losses.iter().all(|loss| loss.next_try.is_some() && loss.cause == cause)
        })
        .await;
        let tries = heals(&host).await.len();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(heals(&host).await.len(), tries, "four looks later it has not asked again: it does not spin");
        let status = host.keeper.status().await;
        assert!(status.kept.iter().all(|kept| !kept.present) && status.engine.up, "{status:?}");
        registry.start_again().unwrap();
        host.wind(Duration::from_secs(7200));
        until(&host, "all is back again", all_here).await;
    })
    .await;
}
