//! The disk of the state directory, with database and spool, gets full in the middle of a pull through the relay.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Auth, Disk, Engine, EngineKind, Engines, Image, Proxy, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::daemon::Daemon;

use crate::runtimes;

const MB: u64 = 1_000_000;
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_state_disk_that_fills_up_in_mid_relay_costs_time_and_not_the_deploy() {
    (21..).zip(EngineKind::ALL).for_each(|(number, kind)| on(Engines::of(kind), number));
}

fn on(engine: &Engine, number: u64) {
    let registry = Registry::start(Auth::Open).unwrap();
    let image = Image::new().layer(layer(280, number, 1, Bytes(9 * MB))).layer(layer(280, number, 2, Bytes(3 * MB)));
    image.push(&registry, "acme/app:sha-1").unwrap();
    let proxy = Proxy::start(&registry.host()).unwrap();
    let rest = format!("[pull]\ntransfer = \"relay\"\n{}", runtimes(&proxy.host(), &["app"]));
    let mut daemon = Daemon::up(&engine.host(), &rest);
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(Duration::from_secs(15)), Some(0), "{}", daemon.log());
    let disk = Disk::ext4(Bytes(48 << 20), None).unwrap();
    let state = disk.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    let old = daemon.state().display().to_string();
    daemon.rewrite(|text| text.replace(&old, &state.display().to_string()));
    daemon.start_again();

    proxy.hold_after(Bytes(6 * MB));
    let id = daemon.notify(&format!("{}/acme/app:sha-1", proxy.host())).unwrap();
    let spooled = || daemon.json("/v1/status")["spool_bytes"].as_u64().unwrap();
    eventually_blocking(LONG, || if proxy.is_holding() && spooled() > 2 * MB { Ok(()) } else { Err(spooled()) });
    disk.fill().unwrap();
    proxy.release();
    let job = daemon.end_of(&id);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", daemon.log());
    let told = job.to_string();
    assert!(told.contains(&state.display().to_string()) && told.contains("No space left on device"), "{job:#}");
    assert_eq!(spooled(), 0);
    let metrics = daemon.local().get("/metrics").unwrap().text();
    assert!(metrics.contains("layerkeeper_transfer_fallback_total{reason=\"spool\"} 1"), "{metrics}");
}
