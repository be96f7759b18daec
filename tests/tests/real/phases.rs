//! Where the time of a pull goes: asking for the name, waiting for the first byte, the link, the disk.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_store::record::PhasesRecord;
use layerkeeper_testkit::{Auth, Fault, Image, Proxy, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;

use crate::reuse::bare;

const ANSWER: Duration = Duration::from_millis(700);
const BLOB: Duration = Duration::from_millis(900);

#[tokio::test(flavor = "multi_thread")]
async fn a_pulls_time_is_split_into_the_name_the_first_byte_the_download_and_the_rest() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let host = bare(engine, &proxy.host()).await;
        let pull = async |tag: u64| {
            let image = Image::new().layer(layer(76, number, tag, Bytes(6_000_000)));
            image.push(&registry, &format!("acme/app:sha-{tag}")).unwrap();
            let pull = host.ship(&format!("sha-{tag}"), None).await.pull.unwrap();
            let phases = pull.phases.unwrap();
            // one attempt took all of it; each part is rounded down
            let parts = phases.first_byte_ms + phases.download_ms + phases.extract_ms;
            assert!((parts..=parts + 3).contains(&pull.duration_ms), "{phases:?} of {} ms", pull.duration_ms);
            phases
        };
        let fast: PhasesRecord = pull(1).await;

        // the link lets through 6 MB in three seconds, and whoever is asked takes a while to begin
        proxy.throttle(Some(Bytes(2_000_000)));
        proxy.add(Fault::delay(ANSWER).on_path("/manifests/sha-2").once());
        proxy.add(Fault::delay(BLOB).on_method("GET").when(|head| {
            head.path().contains("/blobs/") && !head.get("user-agent").unwrap_or_default().contains("layerkeeper")
        }));
        let slow: PhasesRecord = pull(2).await;
        let at_least = |ms: u64, delay: Duration| u128::from(ms) >= delay.as_millis();
        assert!(at_least(slow.resolve_ms, ANSWER), "the registry was slow to tell of the name: {slow:?}");
        assert!(at_least(slow.first_byte_ms, BLOB), "and of the content: {slow:?}");
        assert!(
            slow.download_ms >= 1_500 && slow.download_ms > fast.download_ms,
            "{slow:?}, without all that {fast:?}"
        );
        for (slow, fast) in [(slow.resolve_ms, fast.resolve_ms), (slow.first_byte_ms, fast.first_byte_ms)] {
            assert!(slow > fast, "{slow} ms, without all that {fast} ms");
        }
        assert!(slow.extract_ms < slow.download_ms, "6 MB are soon unpacked: {slow:?}");
    })
    .await;
}
