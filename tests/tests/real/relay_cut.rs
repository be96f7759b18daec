//! The registry goes at each step of a pull through the relay: it costs time, and no byte twice that was here.

use std::time::Duration;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_testkit::http::Head;
use layerkeeper_testkit::{Agent, Auth, Fault, Proxy, Registry, eventually};
use layerkeeper_tests::each::on_each;

use crate::relay::{relaying, rows, version};
use crate::reuse::layers;

const MB: u64 = 1_000_000;
const LONG: Duration = Duration::from_secs(60);

fn is_engines(head: &Head) -> bool {
    head.get("user-agent").is_some_and(|agent| agent.starts_with("docker/"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_killed_in_mid_relay_is_waited_for_and_what_came_stays() {
    on_each(|engine, number| async move {
        let mut registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let pushed = version(number + 100, 1).push(&registry, "acme/app:sha-1").unwrap();
        let host = relaying(engine, &proxy.host()).await;
        let mark = registry.mark();
        proxy.hold_after(Bytes(6 * MB));
        let job = host.ask("sha-1", None).await.job.id;
        eventually(LONG, async || proxy.is_holding()).await;
        registry.kill9();
        proxy.release();
        registry.start_again().unwrap();
        let row = host.end(&job).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome.error);
        // what each connection had in hand may come again
        let logged = registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Layerkeeper)
            + registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Engine);
        assert!(logged <= pushed.layer_bytes() + Bytes(5 * MB), "{logged} of {}", pushed.layer_bytes());
        assert_eq!(host.spooled(), Bytes::ZERO);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_real_name_cannot_be_pulled_the_relays_name_holds_the_content_until_it_can() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let pushed = version(number + 110, 1).push(&registry, "acme/app:sha-1").unwrap();
        // the relay asks for the manifest itself; the engine's own request is of the real name
        proxy.add(Fault::answer(503).on_path("/manifests/").when(is_engines));
        let host = relaying(engine, &proxy.host()).await;
        let mark = registry.mark();
        let job = host.ask("sha-1", None).await.job.id;
        let ours = || rows(engine, "/acme/app").into_iter().filter(|row| row.contains(&pushed.digest.to_string()));
        eventually(LONG, async || ours().next().is_some()).await;
        assert!(
            ours().all(|row| !row.starts_with(&proxy.host())),
            "only under the relay's name: {:?}",
            rows(engine, "/acme/app")
        );
        proxy.clear();
        let row = host.end(&job).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome.error);
        let logged = registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Layerkeeper)
            + registry.bytes_of_layers(mark, &layers(&[&pushed]), Agent::Engine);
        assert_eq!(logged, pushed.layer_bytes(), "every layer moved once");
        let pull = row.outcome.pull.unwrap();
        assert_eq!((Bytes(pull.downloaded_bytes), pull.wasted_bytes), (pushed.layer_bytes(), 0), "{:?}", pull.attempts);
        eventually(LONG, async || ours().all(|row| row.starts_with(&proxy.host()))).await;
    })
    .await;
}

/// The daemon reaches the registry and the engine does not, for long: what the relay brought is named here, and confirmed later.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_engine_alone_cannot_ask_the_registry_the_deploy_succeeds_and_is_confirmed_later() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let pushed = version(number + 170, 1).push(&registry, "acme/app:sha-1").unwrap();
        proxy.add(Fault::answer(503).on_path("/manifests/").when(is_engines));
        let host = relaying(engine, &proxy.host()).await;
        host.reload(|settings| settings.look_every = Duration::from_secs(1));
        let row = host.deploy("sha-1", None).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        assert!(host.has("app:sha-1").await);
        assert_eq!(
            host.store().provenance().await.unwrap().len(),
            1,
            "the engine has yet to hear it from the registry"
        );
        proxy.clear();
        eventually(LONG, async || host.store().provenance().await.unwrap().is_empty()).await;
        let ours = || rows(engine, "/acme/app").into_iter().filter(|row| row.contains(&pushed.digest.to_string()));
        eventually(LONG, async || ours().next().is_some() && ours().all(|row| row.starts_with(&proxy.host()))).await;
    })
    .await;
}
