//! Nothing outlives the process that started it, and nothing is lost that should stay.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, Disk, Engine, EngineKind, EngineOptions, Image, Layer, Registry, eventually_blocking};

fn hold_engine() -> Command {
    Command::new(env!("CARGO_BIN_EXE_hold_engine"))
}

fn mounts_below(directory: &Path) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().filter(|line| line.contains(directory.to_str().unwrap())).count()
}

#[test]
fn kill_9_of_the_owner_leaves_nothing_behind() {
    for kind in ["A", "C"] {
        let mut owner = hold_engine().arg(kind).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let [pid, directory, host, registry] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("it said {line:?}")
        };
        let (process, directory) = (Path::new("/proc").join(pid), Path::new(directory));
        let name = std::fs::read_to_string(process.join("comm")).unwrap();
        assert_eq!(name, "dockerd\n");
        assert!(directory.exists() && Path::new(host.strip_prefix("unix://").unwrap()).exists());
        owner.kill().unwrap();
        owner.wait().unwrap();
        eventually_blocking(Duration::from_secs(30), || {
            let left = [("dockerd", process.exists()), ("its directory", directory.exists())];
            left.iter().find(|(_, there)| *there).map_or(Ok(()), |(what, _)| Err(format!("{what} is still there")))
        });
        assert_eq!(mounts_below(directory), 0);
        eventually_blocking(Duration::from_secs(30), || std::net::TcpStream::connect(registry).is_err());
    }
}

#[test]
fn an_engine_keeps_its_images_over_stop_kill_and_restart_and_goes_when_dropped() {
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = Layer::random(41, Bytes(10_000)).unwrap();
    let pushed = Image::new().layer(layer).push(&registry, "acme/app:1").unwrap();
    let disk = Disk::ext4(Bytes(200 << 20), None).unwrap();
    let options = EngineOptions { data_root: Some(disk.path().to_owned()), ..EngineOptions::default() };
    let mut engine = Engine::with(EngineKind::B, &options).unwrap();
    engine.run_docker(["pull", "--quiet", &pushed.reference()]).unwrap();
    engine.run_docker(["create", "--name", "stays", &pushed.reference()]).unwrap();
    engine.stop();
    engine.api().get("/_ping").unwrap_err();
    engine.start_again().unwrap();
    engine.kill9();
    engine.api().get("/_ping").unwrap_err();
    engine.start_again().unwrap();
    let names = engine.run_docker(["ps", "--all", "--format", "{{.Names}} {{.Image}}"]).unwrap();
    assert_eq!(names.trim(), format!("stays {}", pushed.reference()));
    engine.freeze().unwrap();
    let api = engine.api();
    let ping = || api.request("GET", "/_ping").limit(Duration::from_millis(200)).send();
    eventually_blocking(Duration::from_secs(5), || ping().is_err());
    engine.thaw().unwrap();
    eventually_blocking(Duration::from_secs(5), ping);
    assert!(disk.path().join("overlay2").exists(), "its data is on the disk");
    let directory = engine.socket().ancestors().nth(2).unwrap().to_owned();
    let pid = engine.pid().unwrap();
    drop(engine);
    assert!(!directory.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(mounts_below(&directory), 0);
    assert!(disk.path().exists(), "a data root elsewhere stays");
}
