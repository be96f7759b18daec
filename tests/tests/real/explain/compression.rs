//! The same content as another blob.

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, Image, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;

use super::{is_classic, kept, said, words};
use crate::reuse::{bare, foretold};

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
            return;
        }
        assert_eq!(Bytes(pull.downloaded_bytes), again.layer_bytes());
        assert_eq!(words(estimate), [&["other compression"][..], &["differs"]], "{estimate:?}");
        let known = pushed.layers[0].blob.short();
        assert!(said(estimate, 0).contains(&format!("({known}, gzip)")), "{}", said(estimate, 0));
    })
    .await;
}
