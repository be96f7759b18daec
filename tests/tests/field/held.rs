//! 6: one image that a stopped container holds (aws/amazon-ecs-agent#1980: it blocked the whole cycle).

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, Image, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

#[tokio::test(flavor = "multi_thread")]
async fn field_failure_06_a_stopped_container_holds_an_image() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = Host::new(engine, &registry.host(), |policy, _| policy.keep.clear()).await;
        for n in 1..=4 {
            let image = Image::new().layer(layer(98, number, n, Bytes(120_000))).command(&["/none"]);
            image.push(&registry, &format!("acme/app:sha-{n}")).unwrap();
            host.ship(&format!("sha-{n}"), None).await;
        }
        let container = format!("field-06-{number}");
        engine.run_docker(["create", "--name", &container, &host.name("app:sha-1").to_string()]).unwrap();
        host.wind(Duration::from_secs(7200));
        let prune = host.prune(false).await;
        let stays = prune.kept.iter().find(|kept| kept.name.ends_with("sha-1")).unwrap();
        assert_eq!((&*stays.class, stays.reason.contains(&container)), ("held", true), "{stays:?}");
        assert!(host.has("app:sha-1").await && host.has("app:sha-4").await);
        assert!(!host.has("app:sha-2").await && !host.has("app:sha-3").await, "the rest goes: {prune:?}");
        // a rollback to it works, and it is the newest then
        host.ship("sha-1", None).await;
        engine.run_docker(["rm", &container]).unwrap();
    })
    .await;
}
