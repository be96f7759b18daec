//! 5: a tag moves while containers run on what it was (portainer/portainer#2252, openkruise/kruise#1814).

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_engine::Engine as _;
use layerkeeper_testkit::{Auth, Image, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

#[tokio::test(flavor = "multi_thread")]
async fn field_failure_05_the_tag_moves_while_containers_run() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let push = |n| {
            let image = Image::new().layer(layer(97, number, n, Bytes(150_000))).command(&["/none"]);
            image.push(&registry, "acme/base:1").unwrap()
        };
        let old = push(1);
        let host = Host::new(engine, &registry.host(), |policy, _| policy.keep.truncate(1)).await;
        host.prewarm().await;
        let name = host.name("base:1").to_string();
        let container = format!("field-05-{number}");
        engine.run_docker(["create", "--name", &container, &name]).unwrap();
        let new = push(2);
        let row = host.prewarm().await.remove(0);
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let kept = host.keeper.status().await.kept.remove(0);
        assert!(kept.present, "{kept:?}");
        assert_eq!(kept.digest, Some(new.digest.to_string()), "present means this digest, not just the name");
        // a second refresh pulls nothing: the digests are compared
        let mark = registry.mark();
        host.prewarm().await;
        assert!(registry.accesses(mark).iter().all(|access| access.method == "HEAD"));
        // what the container runs on is still whole
        let inventory = host.engine.inventory().await.unwrap();
        let held = inventory.containers.iter().find(|c| c.name == container).unwrap();
        assert!(held.image.is_some());
        engine.run_docker(["cp", &format!("{container}:/"), "-"]).map(drop).unwrap();
        let gone = host.prune(true).await;
        assert!(gone.removals.iter().all(|removal| removal.outcome != "removed"), "a container holds it: {gone:?}");
        engine.run_docker(["rm", &container]).unwrap();
        let _ = old;
    })
    .await;
}
