//! The connections: one that trickles holds nothing up, a slow link is borne, and no registry is asked over too many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Fault, Proxy, eventually};

use crate::{Ground, MB, Open, asked, at, within};

const BLOBS: &str = "/blobs/";

/// Requests for parts of blobs that have not been given all that they asked for.
fn unanswered(proxy: &Proxy) -> usize {
    let open = |range: Option<&str>, sent: Bytes| {
        asked(range).is_some_and(|(first, last)| sent < Bytes((last - first + 1) as u64))
    };
    proxy.passed().iter().filter(|request| open(request.range.as_deref(), request.sent)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_trickle_do_not_hold_a_blob_up() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB]);
    ground.proxy.add(Fault::trickle(Bytes(5_000)).on_path(BLOBS).times(2));
    let open = ground.open(&pushed).await;
    // their two pieces alone would take 200 s
    within(60, open.layer(0)).await;
    let snapshot = open.close().await;
    assert_eq!((snapshot.came(), snapshot.remarks.len()), (pushed.layer_bytes(), 0), "what they brought is kept");
    assert_eq!(unanswered(&ground.proxy), 2, "they were cut, and nobody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_whole_link_is_slow_nobody_is_cut() {
    let ground = Ground::new();
    let pushed = ground.push(&[8 * MB]);
    ground.proxy.throttle(Some(Bytes(500_000)));
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    assert_eq!(unanswered(&ground.proxy), 0, "{:#?}", ground.proxy.passed());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_registry_is_asked_over_more_connections_at_once_than_it_may_be() {
    let mut ground = Ground::new();
    ground.settings.connections_per_registry = 3;
    let pushed = ground.push(&[24 * MB]);
    let mirror = Proxy::start(&ground.registry.host()).unwrap();
    let proxies = [&ground.proxy, &mirror];
    proxies.iter().for_each(|proxy| proxy.throttle_each(Some(Bytes(2 * MB))));
    let mut order = ground.order(&pushed);
    order.mirrors = vec![at(&mirror.host(), &pushed.name.repository)];
    order.start = 8;
    let open = Open { relay: ground.relays.open(order, &ground.settings).await.unwrap(), pushed };
    let most = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let is_ready = async || {
        for (proxy, most) in proxies.iter().zip(&most) {
            most.fetch_max(unanswered(proxy), Ordering::Relaxed);
        }
        open.relay.snapshot().blobs.values().any(|blob| blob.is_ready)
    };
    tokio::join!(open.layer(0), eventually(Duration::from_secs(60), is_ready));
    assert_eq!(most.map(AtomicUsize::into_inner), [3, 3]);
}
