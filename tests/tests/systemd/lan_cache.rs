//! The cache for a LAN as `deploy/lan-cache` has it, under a real systemd: it serves from inside its sandbox, keeps what it
//! fetched, and comes up by itself once its registry answers.

use std::fs;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::http::Server;
use layerkeeper_testkit::{Auth, Image, Layer, Registry, free_port};

use super::container::{Container, until};

const UNIT: &str = include_str!("../../../deploy/lan-cache/layerkeeper-lan-cache.service");
const CONFIG: &str = include_str!("../../../deploy/lan-cache/config.yml");
const NAME: &str = "layerkeeper-lan-cache";

pub fn it_serves_keeps_and_waits_for_its_registry(container: &Container) {
    let mut origin = Registry::start(Auth::Open).unwrap();
    let port = free_port().unwrap();
    let config = CONFIG.replace("10.0.0.2:5000", &format!("127.0.0.1:{port}"));
    let config = config.replace("https://ghcr.io", &format!("http://{}", origin.host()));
    fs::copy("/usr/bin/docker-registry", container.path("/usr/bin/docker-registry")).unwrap();
    fs::create_dir(container.path("/etc/layerkeeper-lan-cache")).unwrap();
    fs::write(container.path("/etc/layerkeeper-lan-cache/config.yml"), config).unwrap();
    fs::write(container.path(&format!("/etc/systemd/system/{NAME}.service")), UNIT).unwrap();
    let fast = container.path(&format!("/etc/systemd/system/{NAME}.service.d"));
    fs::create_dir(&fast).unwrap();
    fs::write(fast.join("fast.conf"), "[Service]\nRestartSec=200ms\n").unwrap();
    container.ok(&["systemctl", "daemon-reload"]);
    let pushed = Image::new().layer(Layer::random(77, Bytes(300_000)).unwrap()).push(&origin, "acme/app:1").unwrap();
    let cache = Server::tcp(format!("127.0.0.1:{port}"));
    let answers = |path: &str| cache.get(path).is_ok_and(|answer| answer.status == 200);
    let journal = || container.ok(&["journalctl", "--unit", NAME, "--no-pager", "--output=cat"]);

    origin.stop();
    container.ok(&["systemctl", "start", NAME]);
    let restarts = || container.ok(&["systemctl", "show", NAME, "--value", "--property", "NRestarts"]);
    until("a second try", || (restarts().trim() != "0").then_some(()));
    origin.start_again().unwrap();
    until("the cache", || answers("/v2/").then_some(()));

    let blob = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
    assert!(answers(&blob), "{}", journal());
    let hex = pushed.layers[0].blob.to_string().replace("sha256:", "");
    let kept = format!("/var/lib/{NAME}/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    until("the blob in its state directory", || container.path("/").join(&kept[1..]).exists().then_some(()));
    origin.stop();
    assert!(answers(&blob), "without its registry: {}", journal());
    container.ok(&["systemctl", "stop", NAME]);
}
