//! kill -9 of the daemon while bytes come through its relay.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Agent, Auth, EngineKind, Engines, Image, Layer, Proxy, Registry, eventually_blocking};
use layerkeeper_tests::daemon::Daemon;

use crate::runtimes;

const MB: u64 = 1_000_000;

#[test]
fn a_daemon_that_is_killed_in_mid_relay_goes_on_where_it_was() {
    for (number, kind) in (1..).zip(EngineKind::ALL) {
        let registry = Registry::start(Auth::Open).unwrap();
        let proxy = Proxy::start(&registry.host()).unwrap();
        let layer = Layer::random(6700 + number, Bytes(12 * MB)).unwrap();
        let pushed = Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
        let rest = "[pull]\ntransfer = \"relay\"\n".to_owned() + &runtimes(&proxy.host(), &["app"]);
        let mut daemon = Daemon::up(&Engines::of(kind).host(), &rest);
        proxy.hold_after(Bytes(6 * MB));
        let mark = registry.mark();
        let job = daemon.notify(&format!("{}/acme/app:sha-1", proxy.host())).unwrap();
        let spooled = || daemon.json("/v1/status")["spool_bytes"].as_u64().unwrap();
        let is_here = || if proxy.is_holding() && spooled() >= 5 * MB { Ok(()) } else { Err(spooled()) };
        eventually_blocking(Duration::from_secs(60), is_here);
        daemon.kill9();
        proxy.release();
        daemon.start_again();
        let job = daemon.end_of(&job);
        assert_eq!(job["state"], "succeeded", "{kind:?}: {job}");
        let transfer = &job["outcome"]["pull"]["transfer"];
        let resumed = transfer["resumed_bytes"].as_u64().unwrap_or_default();
        assert!(transfer["way"] == "relay" && resumed >= MB, "{kind:?}: {job}");
        let logged = registry.bytes_of_layers(mark, &[pushed.layers[0].blob].into(), Agent::Layerkeeper);
        // what was on its way when it was killed
        assert!(logged <= pushed.layer_bytes() + Bytes(5 * MB), "{kind:?}: {logged} of {}", pushed.layer_bytes());
    }
}
