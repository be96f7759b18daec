//! Storage behind a registry: the addresses that lead to it run out, and what lies there changes while it is fetched.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Fault, Proxy, Pushed, eventually};

use crate::{Ground, MB, within};

/// As long are the pieces of a blob of three megabytes.
const PIECE: usize = 512 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_runs_out_in_mid_blob_is_asked_for_anew_and_the_blob_goes_on_at_the_byte() {
    let ground = Ground::new();
    let pushed = ground.push(&[20 * MB]);
    let storage = Proxy::start(&ground.registry.host()).unwrap();
    let path = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
    let leads_to = |signature: &str| {
        let address = format!("http://{}{path}?signature={signature}", storage.host());
        ground.proxy.add(Fault::answer(307).header("Location", &address).on_path(&path));
    };
    leads_to("first");
    storage.add(Fault::cut_after(Bytes(600_000)).times(4));
    storage.hold_after(Bytes(2 * MB));
    let open = ground.open(&pushed).await;
    let runs_out = async {
        eventually(Duration::from_secs(20), async || storage.is_holding()).await;
        ground.proxy.clear();
        leads_to("second");
        storage.add(Fault::answer(403).on_path("first"));
        storage.release();
    };
    within(60, async { tokio::join!(open.layer(0), runs_out) }).await;
    let snapshot = open.close().await;
    assert_eq!((snapshot.came(), snapshot.remarks.len()), (pushed.layer_bytes(), 0), "{snapshot:#?}");
    let answered = |signature: &str, status: u16| {
        let passed = storage.passed();
        passed.iter().filter(|request| request.path.ends_with(signature) && request.status == Some(status)).count()
    };
    assert!(answered("first", 206) >= 4 && answered("first", 403) >= 1, "{:#?}", storage.passed());
    assert!(answered("second", 206) >= 1 && answered("second", 403) == 0, "{:#?}", storage.passed());
}

impl Ground {
    /// The second half of the first layer has another ETag, once, and its bytes are changed so.
    fn second_half(&self, pushed: &Pushed, change: impl Fn(&u8) -> u8) {
        let path = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
        let content = self.registry.api().get(&path).unwrap().body;
        for start in (0..content.len()).step_by(PIECE).filter(|start| *start >= content.len() / 2) {
            let end = content.len().min(start + PIECE);
            let asked = format!("bytes={start}-{}", end - 1);
            let given = format!("bytes {start}-{}/{}", end - 1, content.len());
            let body: Vec<u8> = content[start..end].iter().map(&change).collect();
            let answer = Fault::answer(206).header("Content-Range", &given).header("ETag", "\"another\"").body(body);
            self.proxy.add(answer.on_path(&path).when(move |head| head.get("range") == Some(asked.as_str())).once());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etag_that_changes_over_the_same_bytes_costs_nothing() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    ground.second_half(&pushed, |byte| *byte);
    let open = ground.open(&pushed).await;
    within(30, open.layer(0)).await;
    let snapshot = open.close().await;
    assert_eq!((snapshot.came(), snapshot.remarks.len()), (pushed.layer_bytes(), 0), "{snapshot:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_second_half_is_of_another_is_found_out_and_fetched_again_and_the_next_one_comes_too() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB, 2 * MB]);
    ground.second_half(&pushed, |byte| byte ^ 0xff);
    let open = ground.open(&pushed).await;
    within(30, open.layer(0)).await;
    within(30, open.layer(1)).await;
    let snapshot = open.close().await;
    let blob = |at: usize| snapshot.blobs[&pushed.layers[at].blob].clone();
    assert_eq!(blob(0).came(), Bytes(2 * blob(0).size.0), "once in vain");
    assert_eq!((blob(1).came(), snapshot.remarks.len()), (blob(1).size, 0), "{snapshot:#?}");
}
