//! A pull-through cache, a real one: what it does when several ask at once for what it does not have yet, and that the relay
//! gets along with it.

use std::time::Duration;

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_relay::{Relays, Spool};
use layerkeeper_testkit::http::Server;
use layerkeeper_testkit::{Auth, Pushed, Registry, eventually};

use crate::{Ground, MB, Open, at, client};

impl Ground {
    /// A cache of the registry behind the proxy, which counts what the uplink carries.
    fn cache(&self) -> Registry {
        Registry::cache_of(&format!("http://{}", self.proxy.host())).unwrap()
    }

    /// A relay of a further server, which has a spool of its own, with this cache.
    async fn cached(&self, cache: &Registry, pushed: &Pushed, server: u64) -> Open {
        let mut order = self.order(pushed);
        order.caches = vec![at(&cache.host(), &pushed.name.repository)];
        let relays = Relays::new(client(self.dir.path()), Spool::new(self.dir.path().join(format!("spool-{server}"))));
        Open { relay: relays.open(order, &self.settings).await.unwrap(), pushed: pushed.clone() }
    }
}

/// What makes the relay look before it reads. Where this is no longer so, that may go.
#[tokio::test(flavor = "multi_thread")]
async fn the_cache_fetches_a_blob_anew_for_each_who_asks_before_it_has_it_and_whole() {
    let ground = Ground::new();
    let pushed = ground.push(&[4 * MB]);
    let cache = ground.cache();
    ground.proxy.throttle(Some(Bytes(8 * MB)));
    let before = ground.proxy.sent();
    let ask = |host: String, blob: Digest| {
        let path = format!("/v2/acme/app/blobs/{blob}");
        Server::tcp(host).request("GET", &path).header("Range", "bytes=0-99999").send().unwrap()
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (host, blob) = (cache.host(), pushed.layers[0].blob);
            scope.spawn(move || assert_eq!(ask(host, blob).status, 200, "not 206"));
        }
    });
    let times = (ground.proxy.sent() - before).0 as f64 / pushed.layer_bytes().0 as f64;
    assert!(times > 3.0, "{times}");
    let has_it = async || ask(cache.host(), pushed.layers[0].blob).status == 206;
    eventually(Duration::from_secs(20), has_it).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_at_once_bring_each_blob_over_the_uplink_about_once() {
    let ground = Ground::new();
    let pushed = ground.push(&[12 * MB, 4 * MB, 300_000]);
    let cache = ground.cache();
    ground.proxy.throttle(Some(Bytes(8 * MB)));
    let before = ground.proxy.sent();
    let servers = [0, 1, 2].map(|server| ground.cached(&cache, &pushed, server));
    let [one, two, three] = servers;
    let (one, two, three) = tokio::join!(one, two, three);
    let pull = |open: Open| async move {
        tokio::join!(open.layer(0), open.layer(1), open.layer(2));
        open.close().await
    };
    let (one, two, three) = tokio::join!(pull(one), pull(two), pull(three));
    for snapshot in [one, two, three] {
        assert_eq!(snapshot.sources[1], (cache.host(), pushed.layer_bytes()), "{snapshot:#?}");
        assert_eq!((snapshot.sources[0].1, snapshot.remarks.len()), (Bytes::ZERO, 0), "{snapshot:#?}");
    }
    let times = (ground.proxy.sent() - before).0 as f64 / pushed.layer_bytes().0 as f64;
    assert!(times < 1.5, "{times}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_dies_in_mid_pull_leaves_the_rest_to_the_origin() {
    let ground = Ground::new();
    let pushed = ground.push(&[8 * MB, 2 * MB]);
    let mut cache = ground.cache();
    ground.proxy.hold_after(Bytes(4 * MB));
    let open = ground.cached(&cache, &pushed, 0).await;
    let (proxy, relay) = (&ground.proxy, &open.relay);
    tokio::join!(open.layer(0), open.layer(1), async {
        eventually(Duration::from_secs(20), async || proxy.is_holding() && relay.snapshot().filling).await;
        cache.stop();
        proxy.release();
    });
    let snapshot = open.close().await;
    let named = format!("{} was passed over: it failed 4 times in a row", cache.host());
    assert!(snapshot.remarks[0].starts_with(&named) && !snapshot.filling, "{snapshot:#?}");
    assert_eq!(snapshot.sources[0].1, pushed.layer_bytes(), "{snapshot:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_does_not_have_it_is_passed_over_for_that_blob() {
    let ground = Ground::new();
    let pushed = ground.push(&[2 * MB]);
    let other = Registry::start(Auth::Open).unwrap();
    let open = ground.cached(&other, &pushed, 0).await;
    open.layer(0).await;
    assert_eq!(open.close().await.sources[0].1, pushed.layer_bytes());
}
