//! A real Prometheus scrapes the daemon, promtool likes the metrics' names, and a real browser shows the page.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::http::Server;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Process, Program, Registry, Scratch, free_port};
use layerkeeper_tests::daemon::Daemon;

use crate::runtimes;

#[test]
fn what_a_deploy_moved_arrives_in_a_real_prometheus_and_on_the_page() {
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = Layer::random(6400, Bytes(70_000)).unwrap();
    let pushed = Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
    let daemon = Daemon::up(&Engines::of(EngineKind::A).host(), &runtimes(&registry.host(), &["app"]));
    let id = daemon.notify(&pushed.name.to_string()).unwrap();
    assert_eq!(daemon.end_of(&id)["state"], "succeeded");

    let metrics = daemon.local().get("/metrics").unwrap().expect(&[200]).unwrap().text();
    check_metrics(&metrics);

    let scratch = Scratch::new("prometheus").unwrap();
    let (_prometheus, server) = scraping(&daemon, &scratch);
    let query = "/api/v1/query?query=sum(layerkeeper_pull_bytes_total%7Bsource%3D%22downloaded%22%7D)";
    let moved = eventually_blocking(Duration::from_secs(60), || {
        let answer = server.get(query).map_err(|error| error.to_string())?;
        let answer = answer.json().map_err(|error| error.to_string())?;
        let value = answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
        value.ok_or(answer.to_string())
    });
    assert_eq!(moved, pushed.layer_bytes().0.to_string());

    let page = page_in_chromium(&daemon, &scratch);
    assert!(words(&page).contains("acme/app:sha-1"), "{page}");
}

/// A real Prometheus that scrapes the daemon every second, and its HTTP API.
pub fn scraping(daemon: &Daemon, scratch: &Scratch) -> (Process, Server) {
    let port = free_port().unwrap();
    let config = scratch.path().join("prometheus.yml");
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: layerkeeper\n  static_configs:\n  - targets: [\"127.0.0.1:{}\"]\n",
        daemon.status
    );
    std::fs::write(&config, scrape).unwrap();
    let data = scratch.path().join("data");
    let process = Program::new("prometheus", "prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .start(scratch)
        .unwrap();
    (process, Server::tcp(format!("127.0.0.1:{port}")))
}

/// What a person reads of a page: its text without the tags.
fn words(page: &str) -> String {
    page.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text).collect()
}

fn check_metrics(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

fn page_in_chromium(daemon: &Daemon, scratch: &Scratch) -> String {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom"])
        .arg(format!("--user-data-dir={}", scratch.path().join("browser").display()))
        .arg(format!("http://127.0.0.1:{}/", daemon.status))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
