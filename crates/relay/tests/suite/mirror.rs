//! Mirrors: the fastest gives most, and one that is slow, stale or lies is passed over and named.

use std::time::Duration;

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_testkit::{Auth, Fault, Proxy, Pushed, Registry, eventually};

use crate::{Ground, MB, Open, at, within};

impl Ground {
    /// A relay with this proxy as a mirror.
    async fn mirrored(&self, mirror: &Proxy, pushed: &Pushed) -> Open {
        let mut order = self.order(pushed);
        order.mirrors = vec![at(&mirror.host(), &pushed.name.repository)];
        Open { relay: self.relays.open(order, &self.settings).await.unwrap(), pushed: pushed.clone() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_faster_than_the_origin_gives_most_of_it_and_each_blob_knows_from_whom() {
    let ground = Ground::new();
    let pushed = ground.push(&[40 * MB]);
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    ground.proxy.throttle(Some(Bytes(MB)));
    let open = ground.mirrored(&mirror, &pushed).await;
    open.layer(0).await;
    let snapshot = open.close().await;
    let (origin, near) = (snapshot.sources[0].1, snapshot.sources[1].1);
    assert!(near > Bytes(30 * MB) && origin < Bytes(10 * MB), "{snapshot:#?}");
    assert_eq!(snapshot.blobs[&pushed.layers[0].blob].from, [(0, origin), (1, near)], "each blob knows from whom");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faster_source_gives_most_of_it_and_the_slow_one_is_named() {
    let ground = Ground::new();
    // so many pieces that the mirror, of which one is had first, gets its second one: that is when it counts as slow
    let pushed = ground.push(&[8 * MB, 8 * MB, 8 * MB, 8 * MB]);
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    mirror.throttle(Some(Bytes(300_000)));
    let open = ground.mirrored(&mirror, &pushed).await;
    for at in 0..pushed.layers.len() {
        within(30, open.layer(at)).await;
    }
    let snapshot = open.close().await;
    let (origin, slow) = (snapshot.sources[0].1, snapshot.sources[1].1);
    assert!(slow > Bytes::ZERO && slow < Bytes(4 * MB), "{snapshot:#?}");
    assert_eq!(origin + slow, pushed.layer_bytes(), "{snapshot:#?}");
    let [named] = snapshot.remarks.as_slice() else { panic!("{snapshot:#?}") };
    let slow = format!("{} was passed over: it gives ", mirror.host());
    assert!(named.starts_with(&slow) && named.contains(" for each connection, where another gives "), "{named}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_lies_is_found_out_and_named_and_no_wrong_byte_is_served() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB, 3 * MB]);
    let lying = Registry::start(Auth::Open).unwrap();
    assert_eq!(ground.push_to(&lying, &[20 * MB, 3 * MB]).digest, pushed.digest);
    lying.corrupt_blob(pushed.layers[0].blob).unwrap();
    // the wrong byte is in the middle; the slower origin leaves that to the mirror
    ground.proxy.throttle(Some(Bytes(2 * MB)));
    let mirror = Proxy::start(&lying.host()).unwrap();
    let open = ground.mirrored(&mirror, &pushed).await;
    let (response, ()) = tokio::join!(open.blob(pushed.layers[0].blob), async {
        let most_has_come = async || open.came() > Bytes(19 * MB);
        eventually(Duration::from_secs(60), most_has_come).await;
        ground.proxy.throttle(None);
    });
    assert_eq!(Digest::of(&response.body), pushed.layers[0].blob);
    open.layer(1).await;
    let snapshot = open.close().await;
    let named = format!("{} was passed over: it gave wrong bytes for {}", mirror.host(), pushed.layers[0].blob);
    assert_eq!(snapshot.remarks, [named]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_of_which_the_only_other_source_has_none_end_the_pull_at_once() {
    let ground = Ground::new();
    let pushed = ground.push(&[300_000]);
    ground.registry.corrupt_blob(pushed.layers[0].blob).unwrap();
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    mirror.add(Fault::answer(404));
    let open = ground.mirrored(&mirror, &pushed).await;
    let refused = tokio::time::timeout(Duration::from_secs(30), open.blob(pushed.layers[0].blob)).await.unwrap();
    assert_eq!(refused.status, 502);
    assert!(mirror.passed().len() < 20, "it was asked {} times", mirror.passed().len());
    assert!(open.close().await.failure.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_does_not_have_it_costs_nothing() {
    let ground = Ground::new();
    let pushed = ground.push(&[10 * MB]);
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    mirror.add(Fault::answer(404));
    let open = ground.mirrored(&mirror, &pushed).await;
    open.layer(0).await;
    let snapshot = open.close().await;
    assert_eq!(snapshot.came(), pushed.layer_bytes());
    let named =
        format!("{} was passed over for a blob: it does not have {}", mirror.host(), pushed.layers[0].blob.short());
    assert_eq!(snapshot.remarks, [named]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_trickles_holds_nothing_up_and_is_named() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB]);
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    mirror.throttle(Some(Bytes(20_000)));
    let open = ground.mirrored(&mirror, &pushed).await;
    // the one piece that it is asked for would take 50 s
    within(30, open.layer(0)).await;
    let snapshot = open.close().await;
    let (origin, slow) = (snapshot.sources[0].1, snapshot.sources[1].1);
    assert!(slow > Bytes::ZERO && slow < Bytes(MB), "{snapshot:#?}");
    assert_eq!(origin + slow, pushed.layer_bytes(), "not a byte came twice");
    let named = format!("{} was passed over: it gives", mirror.host());
    assert!(snapshot.remarks.len() == 1 && snapshot.remarks[0].starts_with(&named), "{snapshot:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_answers_holds_up_one_connection_for_a_while_and_no_other() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB]);
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    mirror.add(Fault::hang());
    let open = ground.mirrored(&mirror, &pushed).await;
    within(20, open.layer(0)).await;
    let snapshot = open.close().await;
    assert_eq!(snapshot.sources[0].1, pushed.layer_bytes(), "{snapshot:#?}");
    let told = format!("{} gave nothing: ", mirror.host());
    assert!(snapshot.remarks.len() == 1 && snapshot.remarks[0].starts_with(&told), "{:?}", snapshot.remarks);
    assert!((1..=2).contains(&mirror.passed().len()), "{:?}", mirror.passed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_ranges_is_asked_once_and_leaves_the_blob_to_the_origin() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB]);
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    mirror.add(Fault::drop_range());
    let open = ground.mirrored(&mirror, &pushed).await;
    within(20, open.layer(0)).await;
    let snapshot = open.close().await;
    assert_eq!(snapshot.sources[0].1, pushed.layer_bytes(), "{snapshot:#?}");
    assert_eq!((mirror.passed().len(), snapshot.remarks.len()), (1, 0), "{:?}", mirror.passed());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_origin_is_away_the_mirror_gives_manifest_and_blobs_by_digest() {
    let ground = Ground::new();
    let pushed = ground.push(&[10 * MB]);
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    ground.proxy.add(Fault::close());
    let open = ground.mirrored(&mirror, &pushed).await;
    let path = format!("/v2/acme/app/manifests/{}", pushed.digest);
    assert_eq!(open.ask("GET", &path, &[]).await.status, 200);
    let by_tag = open.ask("GET", "/v2/acme/app/manifests/1", &[]).await;
    assert_eq!(by_tag.status, 502, "what a tag stands for only the origin says");
    open.layer(0).await;
    let snapshot = open.close().await;
    assert_eq!(snapshot.sources[1], (mirror.host(), pushed.layer_bytes()));
}
