//! What was here and went: when, and by which call.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, Image, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;

use super::{said, words};
use crate::reuse::bare;

/// Somebody untags the newest tag while the registry is away, so that nothing brings it back at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_here_is_told_as_lost_with_the_time_and_the_call() {
    on_each(|engine, number| async move {
        let mut registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        let image = Image::new().layer(layer(64, number, 1, Bytes(200_000))).layer(layer(64, number, 2, Bytes(90_000)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        host.ship("sha-1", None).await;
        registry.stop();
        let name = host.name("app:sha-1");
        let before = host.now();
        engine.run_docker(["rmi", &name.to_string()]).unwrap();
        eventually(Duration::from_secs(30), async || {
            host.keeper.status().await.losses.iter().any(|loss| loss.image == name.to_string())
        })
        .await;
        registry.start_again().unwrap();
        let plan = host.keeper.plan(&name.to_reference()).await.unwrap();
        assert_eq!(words(&plan.estimate), [["lost"], ["lost"]], "{plan:?}");
        let said = said(&plan.estimate, 0);
        assert!(said.contains(&format!("it was here in {name}, which was gone at 20")), "{said}");
        assert!(said.contains("untag") || said.contains("delete"), "{said}");
        assert!(host.now() >= before);
        assert_eq!(Bytes(plan.estimate.fetch_bytes_least), pushed.layer_bytes());
    })
    .await;
}
