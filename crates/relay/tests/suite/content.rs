//! The bytes: the origin's very own, over many connections, and no more of them than are asked for.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_relay::{Limit, Probe, Settings};
use layerkeeper_testkit::{Agent, Auth, Line, Registry, TokenServer, Traits, eventually};

use crate::{Ground, MB, Open, at};

#[tokio::test(flavor = "multi_thread")]
async fn every_layer_comes_once_and_as_it_is() {
    let ground = Ground::new();
    let pushed = ground.push(&[700_000, 9 * MB, 40_000, 22 * MB]);
    let mark = ground.registry.mark();
    let open = ground.open(&pushed).await;
    tokio::join!(open.layer(0), open.layer(1), open.layer(2));
    open.layer(3).await;
    open.layer(3).await;
    let snapshot = open.relay.finish().await;
    assert_eq!(snapshot.came(), pushed.layer_bytes(), "and the fifth request was answered from the spool");
    let moved = ground.registry.bytes_of_layers(mark, &pushed.layer_digests(), Agent::Layerkeeper);
    assert_eq!(moved, pushed.layer_bytes(), "by the registry's own word");
    assert_eq!(ground.relays.spool().entries(), [], "nothing is left once the engine has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_comes_in_parallel_pieces_and_a_small_one_whole() {
    let ground = Ground::new();
    let pushed = ground.push(&[12 * MB, 300_000]);
    let open = ground.open(&pushed).await;
    tokio::join!(open.layer(0), open.layer(1));
    let passed = ground.proxy.passed();
    let of = |at: usize| {
        let digest = pushed.layers[at].blob.to_string();
        passed.iter().filter(|request| request.path.contains(&digest)).cloned().collect::<Vec<_>>()
    };
    let (large, small) = (of(0), of(1));
    assert!(large.len() >= 8 && large.iter().all(|request| request.status == Some(206)), "{large:#?}");
    assert_eq!((small.len(), small[0].range.clone(), small[0].status), (1, None, Some(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_is_fetched() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB, 5 * MB]);
    let open = ground.open(&pushed).await;
    open.layer(1).await;
    assert_eq!(open.close().await.came(), pushed.layers[1].size);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_are_used_while_the_total_rises() {
    let mut ground = Ground::new();
    ground.settings.connections = 8;
    ground.proxy.throttle_each(Some(Bytes(2 * MB)));
    let pushed = ground.push(&[40 * MB]);
    let mut order = ground.order(&pushed);
    order.start = 1;
    let relay = ground.relays.open(order, &ground.settings).await.unwrap();
    let open = Open { relay, pushed };
    open.layer(0).await;
    let speed = open.close().await.speed;
    let (connections, many) = speed.many.unwrap();
    assert!(connections >= 4 && many > speed.one.unwrap() * 3.0, "{speed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_reads_no_more_than_it_may() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB]);
    for connections in [1, 4] {
        let road = Probe {
            repository: ground.proxied(&pushed.name.repository),
            blob: pushed.layers[0].blob,
            size: pushed.layers[0].size,
            connections,
            bytes: Bytes(400_000),
            time: Duration::from_secs(20),
        };
        let told = ground.relays.measure(&road).await.unwrap();
        let made = if connections > 1 { connections as u64 } else { 0 };
        assert!(told.bytes == Bytes(400_000 + made) && told.rate > 0.0, "{told:?}");
    }
    let asked: Vec<_> = ground.proxy.passed().into_iter().filter_map(|request| request.range).collect();
    assert_eq!(asked.len(), 9, "each of four connections is made by a byte first: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_way_to_the_registry_changes_nothing_of_what_is_measured() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB]);
    for (round_trip, rate) in [(50, 4), (200, 4), (200, 2)] {
        let traits = Traits { rate: Some(rate * MB), round_trip: Duration::from_millis(round_trip) };
        let line = Line::start(&ground.registry.host(), traits).unwrap();
        let measure = async |connections: usize| {
            let road = Probe {
                repository: at(&line.host(), &pushed.name.repository),
                blob: pushed.layers[0].blob,
                size: pushed.layers[0].size,
                connections,
                bytes: Bytes(450_000 * connections as u64),
                time: Duration::from_secs(20),
            };
            ground.relays.measure(&road).await.unwrap().rate / MB as f64
        };
        // on a busy machine one of them may be held up
        eventually(Duration::from_secs(30), async || {
            let (one, four) = (measure(1).await, measure(4).await);
            let is_right = (0.7..1.6).contains(&(one / rate as f64)) && (2.5..6.0).contains(&(four / one));
            let told = format!("{rate} MB/s, {round_trip} ms: one gives {one:.2}, four give {four:.2}");
            is_right.then_some(()).ok_or(told)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_over_all_connections() {
    let ground = Ground::new();
    let pushed = ground.push(&[4 * MB]);
    let mut order = ground.order(&pushed);
    let limit = Limit::default();
    limit.set(Some(2 * MB));
    order.limit = limit.into();
    let open = Open { relay: ground.relays.open(order, &ground.settings).await.unwrap(), pushed };
    let begun = std::time::Instant::now();
    open.layer(0).await;
    let took = begun.elapsed().as_secs_f64();
    assert!(took > 1.7, "4 MB at 2 MB/s took {took} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_has_had_makes_room_and_what_does_not_fit_is_said() {
    let mut ground = Ground::new();
    ground.settings = Settings { spool_max: Bytes(9 * MB), ..ground.settings };
    let pushed = ground.push(&[4 * MB, 4 * MB, 5 * MB, 10 * MB]);
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    open.layer(1).await;
    open.layer(2).await;
    assert!(ground.relays.spool().bytes() < Bytes(10 * MB), "{:?}", ground.relays.spool().entries());
    let refused = open.blob(pushed.layers[3].blob).await;
    assert_eq!(refused.status, 502);
    assert!(refused.text().contains("the spool holds at most 9.00 MB"), "{}", refused.text());
    assert_eq!(open.close().await.failure.unwrap().reason(), "spool_full");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_beside_the_others_waits_until_the_engine_has_had_one_of_them() {
    let mut ground = Ground::new();
    ground.settings = Settings { spool_max: Bytes(9 * MB), ..ground.settings };
    let pushed = ground.push(&[4 * MB, 3 * MB, 5 * MB, 2 * MB]);
    let open = ground.open(&pushed).await;
    tokio::join!(open.layer(0), open.layer(1), open.layer(2), open.layer(3));
    assert_eq!(open.close().await.came(), pushed.layer_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_a_token_is_asked_for_one_and_not_for_each_piece() {
    let ground = Ground::of(Registry::start(Auth::Token).unwrap());
    let auth = serde_json::json!({ ground.proxy.host(): { "username": TokenServer::USER, "password": TokenServer::PASSWORD } });
    std::fs::write(ground.dir.path().join("config.json"), serde_json::json!({ "auths": auth }).to_string()).unwrap();
    let pushed = ground.push(&[9 * MB]);
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    let refused = ground.proxy.passed().iter().filter(|request| request.status == Some(401)).count();
    assert!((1..=4).contains(&refused), "each of the first four connections may find out for itself: {refused}");
}
