//! SIGTERM: no new job, and the pull in hand gets its time.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::proxy::Proxy;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::Daemon;

use crate::runtimes;

/// A daemon in the middle of a pull, which goes on when the proxy releases it.
pub fn pulling(limits: &str) -> (Daemon, Proxy, Registry, String) {
    let registry = Registry::start(Auth::Open).unwrap();
    let proxy = Proxy::start(&registry.host()).unwrap();
    let layer = Layer::random(6200 + u64::from(registry.port()), Bytes(3_000_000)).unwrap();
    Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
    let engine = Engines::of(EngineKind::A);
    let daemon = Daemon::up(&engine.host(), &format!("{limits}{}", runtimes(&proxy.host(), &["app"])));
    // slow enough for the engine to tell of bytes before they stop
    proxy.throttle(Some(Bytes(1_000_000)));
    proxy.hold_after(Bytes(1_000_000));
    let id = daemon.notify(&format!("{}/acme/app:sha-1", proxy.host())).unwrap();
    eventually_blocking(Duration::from_secs(30), || proxy.is_holding());
    (daemon, proxy, registry, id)
}

#[test]
fn a_pull_that_takes_too_long_is_cut_said_and_taken_up_again() {
    let (mut daemon, proxy, _registry, id) = pulling("[limits]\nstop_timeout = \"1s\"\n");
    daemon.signal("TERM");
    assert_eq!(daemon.exit_code(Duration::from_secs(15)), Some(0), "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains("thrown_away_bytes"), "{log}");
    assert!(log.contains("stays queued"), "{log}");
    proxy.throttle(None);
    proxy.release();
    daemon.start_again();
    assert_eq!(daemon.end_of(&id)["state"], "succeeded");
}

#[test]
fn a_pull_that_ends_in_time_is_let_finish_and_new_webhooks_get_503() {
    let (mut daemon, proxy, _registry, id) = pulling("");
    daemon.signal("TERM");
    let image = format!("{}/acme/app:sha-2", proxy.host());
    let mut tries = 0;
    eventually_blocking(Duration::from_secs(5), || {
        tries += 1;
        match daemon.post(&format!("msg_{tries}"), &image) {
            (503, problem) if problem.contains("stopping") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    proxy.release();
    assert_eq!(daemon.exit_code(Duration::from_secs(30)), Some(0), "{}", daemon.log());
    daemon.start_again();
    assert_eq!(daemon.job(&id)["state"], "succeeded");
}
