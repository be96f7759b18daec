//! What is refused or fails, with a message that names the cause; what was here stays.

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::host::Host;

#[tokio::test(flavor = "multi_thread")]
async fn a_zstd_layer_is_refused_before_a_byte_moves_on_an_engine_that_cannot_unpack_it() {
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = Layer::random(3001, Bytes(400_000)).unwrap().zstd();
    let digest = layer.blob().unwrap().1;
    Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
    for engine in Engines::all() {
        let host = Host::new(engine, &registry.host(), |policy, _| policy.keep.clear()).await;
        let row = host.deploy("sha-1", None).await;
        if engine.kind() == EngineKind::A {
            assert_eq!(row.job.state, JobState::Refused);
            let error = row.outcome.error.unwrap();
            assert!(error.message.contains(&digest.to_string()), "{error:?}");
            assert_eq!(row.outcome.moved_bytes, 0);
        } else {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}: {:?}", engine.kind(), row.outcome);
        }
    }
}
