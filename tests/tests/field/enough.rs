//! 8: the registry has enough: 429 with a Retry-After that nobody can mean (ghcr has sent `880µs`).

use std::time::Duration;

use layerkeeper_core::Timestamp;
use layerkeeper_core::{Bytes, JobState};
use layerkeeper_keeper::schedule::jitter;
use layerkeeper_testkit::{Auth, Fault, Image, Proxy, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use crate::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn field_failure_08_too_many_requests() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let image = Image::new().layer(layer(99, number, 1, Bytes(120_000)));
        image.push(&registry, "acme/app:sha-1").unwrap();
        let host = Host::new(engine, &proxy.host(), |policy, _| policy.keep.clear()).await;
        for (asked, least, most) in [("880µs", 1, 1), ("36000", 900, 900), ("in a while", 0, 5)] {
            proxy.add(Fault::answer(429).header("Retry-After", asked).times(1));
            let row = host.ask("sha-1", None).await.job;
            let waiting = eventually(SOON, || async {
                let now = host.keeper.job(&row.id).await.unwrap().unwrap();
                (now.job.not_before.is_some() || now.job.state.is_final()).then_some(now)
            })
            .await;
            let wait = waiting.job.not_before.map_or(Duration::ZERO, |at| at - host.now());
            assert!(wait <= Duration::from_secs(most), "{asked}: {wait:?}");
            assert!(wait + Duration::from_secs(2) >= Duration::from_secs(least), "{asked}: {wait:?}");
            host.wind(Duration::from_secs(most));
            let ended = host.end(&row.id).await;
            assert_eq!(ended.job.state, JobState::Succeeded, "{asked}: {:?}", ended.outcome);
        }
    })
    .await;
}

/// All hosts tick at 00:00.
#[test]
fn a_fleet_does_not_come_all_at_once() {
    let most = Duration::from_secs(300);
    let due = Timestamp(1_800_000_000_000);
    let delays: Vec<u64> = (0..200).map(|host| jitter(&format!("host-{host}"), due, most).as_secs()).collect();
    for minute in 0..5 {
        let in_it = delays.iter().filter(|delay| **delay / 60 == minute).count();
        assert!((20..=60).contains(&in_it), "{in_it} of 200 hosts in minute {minute}");
    }
}
