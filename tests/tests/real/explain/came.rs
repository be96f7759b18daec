//! What came here otherwise than by a pull: the engine has the content, and nobody knows by which blob it knows it.

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Registry, Scratch};
use layerkeeper_tests::chain::Chain;
use layerkeeper_tests::each::on_each;

use super::{is_classic, said, words};
use crate::reuse::bare;

#[tokio::test(flavor = "multi_thread")]
async fn what_came_by_load_says_so_and_names_the_image() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(6300 + number, 1).unwrap();
        let base = chain.base.push(&registry, "acme/base:1").unwrap();
        let other = if engine.kind() == EngineKind::A { EngineKind::B } else { EngineKind::A };
        let (other, name) = (Engines::of(other), base.name.to_string());
        let scratch = Scratch::new("save").unwrap();
        let tar = scratch.path().join("base.tar").display().to_string();
        other.run_docker(["pull", "--quiet", &name]).unwrap();
        other.run_docker(["save", "--output", &tar, &name]).unwrap();
        engine.run_docker(["load", "--quiet", "--input", &tar]).unwrap();
        chain.runtime(1, Bytes(300_000)).unwrap().push(&registry, "acme/app:sha-1").unwrap();
        let host = bare(engine, &registry.host()).await;
        let plan = host.keeper.plan(&host.name("app:sha-1").to_reference()).await.unwrap();
        if is_classic(engine) {
            assert_eq!(words(&plan.estimate)[..2], [["loaded or built"], ["loaded or built"]], "{plan:?}");
            assert!(said(&plan.estimate, 0).contains(&name), "{plan:?}");
            assert!(plan.estimate.fetch_bytes_least < plan.estimate.fetch_bytes_most);
        }
    })
    .await;
}
