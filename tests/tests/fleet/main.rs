//! Several servers on one LAN behind one slow uplink, with a pull-through cache as `deploy/lan-cache` has it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::process::{Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{Agent, Image, Layer, Pushed};
use layerkeeper_tests::fleet::{CACHE, Fleet, ORIGIN};
use serde_json::Value;

const MB: u64 = 1_000_000;
const UPLINK: Bytes = Bytes(4 * MB);

/// One for all tests here, one test at a time, with a cache that has nothing.
fn fleet() -> MutexGuard<'static, Fleet> {
    static FLEET: OnceLock<Mutex<Fleet>> = OnceLock::new();
    let fleet = FLEET.get_or_init(|| Mutex::new(Fleet::start(UPLINK)));
    let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
    fleet.renew_cache();
    fleet
}

fn image(seed: u64, layers: &[u64]) -> Image {
    let layer = |(at, size): (u64, &u64)| Layer::random(seed * 100 + at, Bytes(*size)).unwrap();
    (0..).zip(layers).map(layer).fold(Image::new(), Image::layer)
}

fn by_layerkeeper(fleet: &Fleet, pushed: &Pushed) -> Bytes {
    let layer = |digest: Digest| pushed.layers.iter().any(|layer| layer.blob == digest);
    let accesses = fleet.accesses();
    let ours =
        accesses.iter().filter(|access| access.agent() == Agent::Layerkeeper && access.blob().is_some_and(layer));
    ours.map(|access| access.bytes).sum()
}

fn told(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Where the layers of the server's last pull came from: the registry, the cache.
fn sources(job: &Value) -> (u64, u64) {
    let sources = job["outcome"]["pull"]["transfer"]["sources"].as_array().cloned().unwrap_or_default();
    let of = |name: &str| sources.iter().filter(|s| s["source"] == name).filter_map(|s| s["bytes"].as_u64()).sum();
    (of(ORIGIN), of(CACHE))
}

#[test]
fn three_servers_that_get_the_webhook_at_once_bring_the_image_over_the_uplink_about_once() {
    let fleet = fleet();
    let pushed = fleet.push(&image(1, &[14 * MB, 6 * MB, 2 * MB]), "sha-1");
    let before = fleet.uplink();
    let output = fleet.notify("sha-1").output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let came = fleet.uplink() - before;
    let times = came.0 as f64 / pushed.layer_bytes().0 as f64;
    eprintln!("{came} came over the uplink for an image of {}: {times:.2} times", pushed.layer_bytes());
    for server in &fleet.servers {
        assert!(server.has("sha-1"));
        let job = server.last();
        assert_eq!(job["state"], "succeeded", "{job:#}");
        let all = pushed.layer_bytes() + pushed.config.size;
        assert_eq!(sources(&job), (0, all.0), "{job:#}");
    }
    assert_eq!(by_layerkeeper(&fleet, &pushed), Bytes::ZERO);
    // Mostly it is 1.07 times. But the cache looks whether it has a blob, and then whether it is fetching it: who asks just as it
    // gets done comes between the two, and it fetches that blob once more.
    assert!(times < 2.0, "{came} came for an image of {}: {times:.2} times", pushed.layer_bytes());
}

#[test]
fn a_cache_that_dies_in_mid_pull_costs_time_and_no_deploy() {
    let mut fleet = fleet();
    let pushed = fleet.push(&image(2, &[5 * MB, 2 * MB]), "sha-2");
    let before = fleet.uplink();
    let mut notify = fleet.notify("sha-2");
    let notify = notify.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually_blocking(Duration::from_secs(30), || {
        let came = fleet.uplink() - before;
        if came > Bytes(2 * MB) { Ok(()) } else { Err(format!("{came} came")) }
    });
    fleet.kill_cache();
    let output = notify.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    for server in &fleet.servers {
        assert!(server.has("sha-2"));
        let job = server.last();
        assert_eq!(job["state"], "succeeded", "{job:#}");
        let transfer = &job["outcome"]["pull"]["transfer"];
        let remark = format!("{CACHE} was passed over");
        assert!(transfer["remarks"][0].as_str().is_some_and(|text| text.starts_with(&remark)), "{job:#}");
        assert_eq!((transfer["way"].as_str(), transfer["fallback"].as_str()), (Some("relay"), None), "{job:#}");
        assert!(sources(&job).0 > 0, "{job:#}");
    }
    assert!(by_layerkeeper(&fleet, &pushed) > Bytes::ZERO);
}
