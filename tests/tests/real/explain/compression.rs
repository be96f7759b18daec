//! The same content as another blob: by another gzip, and by zstd.

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_testkit::{Agent, Auth, EngineKind, Image, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;

use super::{advice, bytes, is_classic, kept, said, words};
use crate::reuse::{bare, foretold, layers};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_compressed_anew_is_told_apart_from_new_content() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        let os = layer(61, number, 1, Bytes(300_000));
        let own = |n: u64| layer(61, number, n, Bytes(50_000));
        let first = Image::new().layer(os.clone().gzip(1)).layer(own(2));
        let pushed = first.push(&registry, "acme/app:sha-1").unwrap();
        foretold(&host, &registry, "sha-1", &pushed).await;
        let again = Image::new().layer(os.gzip(9)).layer(own(3)).push(&registry, "acme/app:sha-2").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-2", &again).await;
        let estimate = kept(&pull);
        if !is_classic(engine) {
            // it skips what it has unpacked, whatever the blob
            assert_eq!(words(estimate), [&[][..], &["differs"]], "{estimate:?}");
            assert_eq!(pull.downloaded_bytes, bytes(&again, &[1]));
            return;
        }
        assert_eq!(Bytes(pull.downloaded_bytes), again.layer_bytes());
        assert_eq!(words(estimate), [&["other compression"][..], &["differs"]], "{estimate:?}");
        let known = pushed.layers[0].blob.short();
        assert!(said(estimate, 0).contains(&format!("({known}, gzip)")), "{}", said(estimate, 0));
    })
    .await;
}

/// In its place, and on another base. The classic store asks for the blob, the containerd store only where the layer is not
/// unpacked on the very layers below it.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_by_zstd_instead_of_gzip_is_told_where_it_moves() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        let content = layer(86, number, 1, Bytes(300_000));
        let on = |n: u64| Image::new().layer(layer(86, number, n, Bytes(90_000)));
        let own = |n: u64| layer(86, number, n, Bytes(50_000));
        let first = on(2).layer(content.clone()).layer(own(4)).push(&registry, "acme/app:sha-1").unwrap();
        foretold(&host, &registry, "sha-1", &first).await;
        let told = format!("as another blob ({}, gzip); this one is zstd", first.layers[1].blob.short());

        let second = on(2).layer(content.clone().zstd()).layer(own(5)).push(&registry, "acme/app:sha-2").unwrap();
        assert_eq!(second.layers[1].diff_id, first.layers[1].diff_id);
        if engine.kind() == EngineKind::A {
            let plan = host.keeper.plan(&second.name.to_reference()).await.unwrap();
            assert_eq!(words(&plan.estimate), [&[][..], &["other compression"], &["differs"]], "{plan:?}");
            assert!(said(&plan.estimate, 1).contains(&told), "{plan:?}");
            // it cannot unpack it, so nothing moves
            let mark = registry.mark();
            let row = host.deploy("sha-2", None).await;
            assert_eq!(row.job.state, JobState::Refused, "{:?}", row.outcome);
            assert_eq!(registry.bytes_of_layers(mark, &layers(&[&second]), Agent::Engine), Bytes(0));
            return;
        }
        let (_, pull) = foretold(&host, &registry, "sha-2", &second).await;
        let estimate = kept(&pull);
        if is_classic(engine) {
            assert_eq!(words(estimate), [&[][..], &["other compression"], &["differs"]], "{estimate:?}");
            assert!(said(estimate, 1).contains(&told), "{estimate:?}");
            assert!(advice(estimate, 1).contains("push with the same compression"), "{estimate:?}");
            assert_eq!(pull.downloaded_bytes, bytes(&second, &[1, 2]));
        } else {
            assert_eq!(words(estimate), [&[][..], &[], &["differs"]], "{estimate:?}");
            assert_eq!(pull.downloaded_bytes, bytes(&second, &[2]));
        }

        let third = on(3).layer(content.zstd()).layer(own(6)).push(&registry, "acme/app:sha-3").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-3", &third).await;
        let estimate = kept(&pull);
        assert_eq!(Bytes(pull.downloaded_bytes), third.layer_bytes());
        if is_classic(engine) {
            assert_eq!(words(estimate), [["differs"], ["above"], ["above"]], "{estimate:?}");
        } else {
            assert_eq!(words(estimate), [["differs"], ["other compression"], ["never seen"]], "{estimate:?}");
            // how that blob is compressed is known where the image that was looked up is the one that lists it
            let blob = format!("as another blob ({}", first.layers[1].blob.short());
            let said = said(estimate, 1);
            assert!(said.contains(&blob) && said.contains("; this one is zstd, compressed anew"), "{said}");
        }
    })
    .await;
}
