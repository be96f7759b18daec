//! A pull that was cut goes on where it was.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually;

use crate::{Ground, MB};

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_cut_does_not_come_again() {
    let ground = Ground::new();
    let pushed = ground.push(&[2 * MB, 12 * MB]);
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    ground.proxy.hold_after(Bytes(8 * MB));
    let digest = pushed.layers[1].blob;
    tokio::select! {
        _ = open.blob(digest) => panic!("it cannot have come"),
        () = eventually(Duration::from_secs(20), async || ground.proxy.is_holding()) => {}
    }
    // as a kill would: nothing is told to anybody
    let before = open.came();
    drop(open);
    ground.proxy.release();
    assert!(before > Bytes(8 * MB) && before < pushed.layer_bytes(), "{before}");
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    open.layer(1).await;
    let snapshot = open.close().await;
    let resumed: Bytes = snapshot.blobs.values().map(|blob| blob.resumed).sum();
    assert!(resumed >= Bytes(5 * MB), "{snapshot:#?}");
    assert_eq!(snapshot.came() + resumed, pushed.layer_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_meanwhile_comes_again_and_nothing_else() {
    use std::os::unix::fs::FileExt;
    let ground = Ground::new();
    let pushed = ground.push(&[12 * MB]);
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    open.close().await;
    let path = ground.relays.spool().dir().join(format!("{}.blob", pushed.layers[0].blob.hex()));
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0; 64], 5_000_000).unwrap();
    let open = ground.open(&pushed).await;
    open.layer(0).await;
    let came = open.close().await.came();
    assert!(came > Bytes(0) && came < Bytes(6 * MB), "{came}");
}
