//! A cron line that comes true refreshes its image.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::Daemon;

#[test]
fn what_was_removed_by_hand_is_back_after_the_next_scheduled_run() {
    let registry = Registry::start(Auth::Open).unwrap();
    let engine = Engines::of(EngineKind::A);
    let layer = Layer::random(6500, Bytes(50_000)).unwrap();
    let base = Image::new().layer(layer).push(&registry, "acme/base:1").unwrap();
    let keep = format!(
        "[schedule]\njitter = \"0s\"\n[[keep]]\nimage = \"{}\"\nschedule = \"*/2 * * * * *\"\ntimezone = \"Asia/Shanghai\"\n",
        base.name
    );
    let daemon = Daemon::up(&engine.host(), &keep);
    until_present(&daemon);
    engine.run_docker(["rmi", &base.name.to_string()]).unwrap();
    eventually_blocking(Duration::from_secs(30), || {
        engine.run_docker(["image", "inspect", &base.name.to_string()]).map(drop).map_err(|error| error.to_string())
    });
    let jobs = daemon.json("/v1/jobs?kind=warm");
    let scheduled = jobs.to_string().contains("schedule");
    assert!(scheduled, "{jobs}");
    until_present(&daemon);
}

/// Waits until the first kept image is here.
pub fn until_present(daemon: &Daemon) {
    eventually_blocking(Duration::from_secs(30), || {
        let kept = daemon.json("/v1/status")["kept"].clone();
        if kept[0]["present"] == true { Ok(()) } else { Err(kept.to_string()) }
    });
}
