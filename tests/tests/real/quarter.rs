//! A kept image of which every quarter brings another one.

use std::time::Duration;

use layerkeeper_core::{Bytes, JobState, Quarter, Series};
use layerkeeper_keeper::{KeepSeries, Settings};
use layerkeeper_store::{ChangeFilter, Options, Store};
use layerkeeper_testkit::{Agent, Auth, Image, Pushed, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

fn following(registry: &str, quarter: Option<Quarter>) -> KeepSeries {
    let template = format!("{registry}/acme/cache:python-{{quarter}}").parse().unwrap();
    KeepSeries { series: Series { template, quarter, pin: None, expect: Vec::new() }, after: 0, schedule: None }
}

/// The kept names, each with whether it is here.
async fn kept(host: &Host) -> Vec<(String, bool)> {
    host.keeper.status().await.kept.into_iter().map(|kept| (kept.image, kept.present)).collect()
}

async fn keeps_only(host: &Host, pushed: &Pushed) {
    let wanted = [(pushed.name.to_string(), true)];
    let seen = || async { (kept(host).await == wanted).then_some(()) };
    eventually(Duration::from_secs(60), seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_quarter_moves_what_is_new_in_it_and_going_back_moves_nothing() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let following = |quarter| following(&registry.host(), quarter);
        let store = Store::open_in_memory(Options::default()).unwrap();
        let host = Host::over(engine, &registry.host(), store, |settings, _| {
            settings.policy.keep.clear();
            settings.series = vec![following(None)];
        })
        .await;
        let this = following(None).today(host.now());
        let last = this.previous().unwrap();
        let shared = layer(66, number, 1, Bytes(200_000));
        let push = |quarter: Quarter, own: u64| {
            let image = Image::new().layer(shared.clone()).layer(layer(66, number, own, Bytes(90_000)));
            image.push(&registry, &format!("acme/cache:python-{quarter}")).unwrap()
        };
        let old = push(last, 2);
        let row = host.prewarm().await.remove(0);
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        keeps_only(&host, &old).await;

        let new = push(this, 3);
        let mark = registry.mark();
        let row = host.prewarm().await.remove(0);
        assert_eq!(row.outcome.kept.len(), 1, "brought in the old one's job: {:?}", row.outcome);
        let own = new.layers.last().unwrap();
        let moved = registry.bytes_of_layers(mark, &new.layer_digests(), Agent::Engine);
        assert_eq!((moved, Bytes(row.outcome.kept[0].downloaded_bytes)), (own.size, own.size));
        keeps_only(&host, &new).await;
        assert!(host.has(&format!("cache:python-{last}")).await, "the old one is nobody's to remove");
        assert_eq!(host.keeper.status().await.kept[0].left_here, [old.name.to_string()]);

        let mark = registry.mark();
        host.keeper.reload(Settings { series: vec![following(Some(last))], ..host.settings() });
        keeps_only(&host, &old).await;
        assert_eq!(registry.bytes_of_layers(mark, &old.layer_digests(), Agent::Engine), Bytes(0));
        for pushed in [&old, &new] {
            let filter = ChangeFilter { name: Some(pushed.name.to_string()), ..ChangeFilter::default() };
            let changes = host.keeper.changes(filter).await.unwrap();
            assert_eq!(
                changes.last().unwrap().row.change.to.as_ref().unwrap().digest,
                Some(pushed.digest),
                "which digest each tag had: {changes:?}"
            );
        }
    })
    .await;
}
