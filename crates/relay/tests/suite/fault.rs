//! Faults on the way, and an origin that lies: the blob comes all the same, or the relay says why not. Never a wrong byte.

use std::sync::Arc;
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::http::Head;
use layerkeeper_testkit::{Fault, Proxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Ground, MB, Open, asked, at};

const BLOBS: &str = "/blobs/";

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_in_mid_piece_is_resumed_at_the_byte() {
    let ground = Ground::new();
    let pushed = ground.push(&[6 * MB]);
    ground.proxy.add(Fault::cut_after(Bytes(200_000)).on_path(BLOBS).times(5));
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    let came = open.close().await.came();
    assert_eq!(came, pushed.layer_bytes(), "not a byte came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_asked_again() {
    let ground = Ground::new();
    let pushed = ground.push(&[6 * MB]);
    ground.proxy.add(Fault::stall_after(Bytes(100_000)).on_path(BLOBS).times(2));
    ground.proxy.add(Fault::hang().on_path(BLOBS).once());
    let open = ground.open(&pushed).await;
    open.layer(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_server_pass() {
    let ground = Ground::new();
    let pushed = ground.push(&[6 * MB]);
    ground.proxy.add(Fault::answer(503).on_path(BLOBS).times(2));
    ground.proxy.add(Fault::answer(429).header("Retry-After", "1").on_path(BLOBS).once());
    ground.proxy.add(Fault::close().on_path(BLOBS).once());
    let open = ground.open(&pushed).await;
    open.layer(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_gives_each_blob_whole() {
    let ground = Ground::new();
    let pushed = ground.push(&[5 * MB, 3 * MB]);
    ground.proxy.add(Fault::drop_range());
    let open = ground.open(&pushed).await;
    tokio::join!(open.layer(0), open.layer(1));
    assert_eq!(
        open.close().await.came(),
        pushed.layer_bytes(),
        "each once, though many found out that there are no parts"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_that_is_cut_is_read_again_and_what_was_here_is_kept() {
    let ground = Ground::new();
    let pushed = ground.push(&[5 * MB]);
    let whole = Proxy::start(&ground.registry.host()).unwrap();
    whole.add(Fault::drop_range());
    ground.proxy.set_upstream(&whole.host());
    // the first is asked for a part
    ground.proxy.add(Fault::cut_after(Bytes(2 * MB)).on_path(BLOBS).when(|head| head.get("range").is_none()).once());
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    let asked = ground.proxy.passed().iter().filter(|request| request.range.is_none()).count();
    assert!(asked >= 2, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_the_range_or_the_length_ends_the_source() {
    for (fault, word) in [
        (Fault::answer(206).header("Content-Range", "bytes 5-9/6000000").body("abcde"), "another part"),
        (Fault::answer(206).body("abcde"), "without a Content-Range"),
        (Fault::answer(206).header("Content-Range", "bytes 0-4/7").body("abcde"), "says that the blob has 7 bytes"),
        (Fault::answer(204), "status 204"),
        (Fault::answer(200).body("abcde"), "says that the blob has 5 bytes"),
    ] {
        let ground = Ground::new();
        let pushed = ground.push(&[6 * MB]);
        ground.proxy.add(fault.on_path(BLOBS));
        let open = ground.open(&pushed).await;
        let response = open.blob(pushed.layers[0].blob).await;
        assert_eq!(response.status, 502);
        let text = response.text();
        // another connection may have asked for another part, and found that out
        assert!(text.contains(word) || text.contains("with another part"), "{word}: {text}");
        assert_eq!(open.close().await.failure.unwrap().reason(), "source");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_fetched_once_more_and_never_served() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    ground.registry.corrupt_blob(pushed.layers[0].blob).unwrap();
    let open = ground.open(&pushed).await;
    let response = open.blob(pushed.layers[0].blob).await;
    assert_eq!(response.status, 502);
    assert!(response.text().contains("wrong bytes"), "{}", response.text());
    assert_eq!(open.close().await.failure.unwrap().reason(), "wrong_bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_on_the_way_are_made_good() {
    let ground = Ground::new();
    let pushed = ground.push(&[900_000]);
    let wrong = vec![7u8; usize::try_from(pushed.layers[0].size.0).unwrap()];
    ground.proxy.add(Fault::answer(200).body(wrong).on_path(BLOBS).once());
    let open = ground.open(&pushed).await;
    open.layer(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_the_origin_lost_is_said() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    ground.registry.lose_blob(pushed.layers[0].blob).unwrap();
    let open = ground.open(&pushed).await;
    let response = open.blob(pushed.layers[0].blob).await;
    assert_eq!(response.status, 502);
    assert!(response.text().contains("does not have it"), "{}", response.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_and_redirects_without_an_end_end_it_soon() {
    for fault in [
        Fault::answer(403),
        Fault::answer(302).header("Location", "/v2/acme/app/blobs/again"),
        Fault::answer(302),
        Fault::answer(302).header("Location", "file:///etc/passwd"),
    ] {
        let ground = Ground::new();
        let pushed = ground.push(&[3 * MB]);
        ground.proxy.add(fault.on_path(BLOBS));
        let open = ground.open(&pushed).await;
        let begun = std::time::Instant::now();
        assert_eq!(open.blob(pushed.layers[0].blob).await.status, 502);
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_ten_megabytes_does_no_harm() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    let huge = "x".repeat(10_000_000);
    ground.proxy.add(Fault::answer(200).header("X-Huge", &huge).on_path(BLOBS).times(3));
    let open = ground.open(&pushed).await;
    open.layer(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_stays_away_is_given_up_and_everybody_who_waits_is_told() {
    let mut ground = Ground::new();
    let pushed = ground.push(&[3 * MB, 3 * MB]);
    let open = ground.open(&pushed).await;
    ground.registry.stop();
    let (first, second) = tokio::join!(open.blob(pushed.layers[0].blob), open.blob(pushed.layers[1].blob));
    assert_eq!((first.status, second.status), (502, 502));
    assert!(first.text().contains("failed 6 times in a row"), "{}", first.text());
    let watched = open.relay.watch();
    eventually(Duration::from_secs(20), async || watched.borrow().failure.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_comes_back_in_time_is_waited_for() {
    let mut ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    let open = ground.open(&pushed).await;
    ground.registry.stop();
    let digest = pushed.layers[0].blob;
    let (response, ()) = tokio::join!(open.blob(digest), async {
        let asked = || ground.proxy.passed().iter().any(|request| request.path.contains(BLOBS));
        eventually(Duration::from_secs(20), async || asked()).await;
        ground.registry.start_again().unwrap();
    });
    assert_eq!(response.status, 200, "{}", response.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_written_is_said() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    std::fs::write(ground.dir.path().join("spool"), "a file in its place").unwrap();
    let open = ground.open(&pushed).await;
    let response = open.blob(pushed.layers[0].blob).await;
    assert_eq!(response.status, 502);
    assert!(response.text().contains("the spool at"), "{}", response.text());
    assert_eq!(open.close().await.failure.unwrap().reason(), "spool");
}

/// Answers a request for a part with the beginning of it, and says so in the range alone: the body ends with the connection.
async fn stingy(mut stream: TcpStream, content: &[u8]) {
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut raw).await.unwrap() == 0 {
            return;
        }
    }
    let (first, last) = asked(Head::parse(&raw).unwrap().get("range")).unwrap();
    let last = last.min(first + 199_999);
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&content[first..=last]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_shorter_than_asked_is_taken_also_where_only_its_range_says_so() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    let path = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
    let content: Arc<[u8]> = ground.registry.api().get(&path).unwrap().body.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let content = content.clone();
            tokio::spawn(async move { stingy(stream, &content).await });
        }
    });
    let mut order = ground.order(&pushed);
    order.repository = at(&host, &pushed.name.repository);
    let open = Open { relay: ground.relays.open(order, &ground.settings).await.unwrap(), pushed };
    open.layer(0).await;
    assert_eq!(open.close().await.remarks, Vec::<String>::new());
    serving.abort();
}
