//! The Grafana dashboard: a server lives through what its panels show, and a real Prometheus answers every query with data.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::http::Server;
use layerkeeper_testkit::{Auth, Engine, EngineKind, Engines, Image, Layer, Registry, Scratch};
use layerkeeper_tests::daemon::Daemon;
use serde_json::Value;

use crate::prometheus::scraping;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/layerkeeper.json");

/// What stands for Grafana's variables.
const VARIABLES: [(&str, &str); 5] =
    [("$__rate_interval", "1m"), ("$__range", "1m"), ("$__interval", "1s"), ("$instance", ".*"), ("$repository", ".*")];

#[test]
fn every_query_of_the_dashboard_returns_data_from_a_real_prometheus() {
    let registry = Registry::start(Auth::Open).unwrap();
    let engine = Engines::of(EngineKind::A);
    let kept = Image::new().layer(Layer::random(6950, Bytes(50_000)).unwrap());
    let kept = kept.push(&registry, "acme/grafana-base:1").unwrap().name.to_string();
    let repository = format!("{}/acme/grafana", registry.host());
    let rest = format!(
        "[limits]\nnot_yet_timeout = \"0s\"\n[disk]\nmin_free = \"1 MB\"\n[[keep]]\nimage = \"{kept}\"\n\
         [[runtime]]\nrepository = \"{repository}\"\nprune_tags = [\"sha-*\"]\nkeep_last = 1\nkeep_min = 1\n\
         min_age = \"0s\"\ndownload_budget = \"10 kB\"\n"
    );
    let daemon = Daemon::up(&engine.host(), &rest);
    let scratch = Scratch::new("grafana").unwrap();
    let (_prometheus, server) = scraping(&daemon, &scratch);
    live(&daemon, engine, &registry, &kept, &repository);

    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() >= 20, "{queries:?}");
    for (panel, query) in queries {
        let said = |why: String| format!("{panel}: {query}: {why}");
        eventually_blocking(Duration::from_secs(20), || match numbers(&server, &query) {
            Ok(0) => Err(said("no data".to_owned())),
            Ok(_) => Ok(()),
            Err(why) => Err(said(why)),
        });
    }
    for (metric, label) in variables(&dashboard) {
        let answer = ask(&server, &metric).unwrap();
        let labels = &answer["data"]["result"][0]["metric"];
        assert!(labels[&label].is_string(), "label_values({metric}, {label}): {answer}");
    }
}

/// Two deploys over budget, of which the second lets the first go, one that fails, and a kept image that is taken away.
fn live(daemon: &Daemon, engine: &Engine, registry: &Registry, kept: &str, repository: &str) {
    let waited = daemon.cli(&["status", "--wait-idle"]);
    assert!(waited.status.success(), "{waited:?}");
    for n in 1..=2 {
        let image = Image::new().layer(Layer::random(6950 + n, Bytes(60_000)).unwrap());
        image.push(registry, &format!("acme/grafana:sha-{n}")).unwrap();
        let id = daemon.notify(&format!("{repository}:sha-{n}")).unwrap();
        let job = daemon.end_of(&id);
        assert_eq!(job["state"], "succeeded", "{job}");
    }
    let id = daemon.notify(&format!("{repository}:sha-9")).unwrap();
    assert_eq!(daemon.end_of(&id)["state"], "failed");
    engine.run_docker(["rmi", kept]).unwrap();
    eventually_blocking(Duration::from_secs(60), || {
        let metrics = daemon.local().get("/metrics").map_err(|error| error.to_string())?.text();
        if metrics.contains("layerkeeper_heals_total{") { Ok(()) } else { Err(daemon.log()) }
    });
}

/// Every query with its panel's title, the variables filled in.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (&panel["title"], &target["expr"]))
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets.map(|(title, expr)| (text(title), filled(&text(expr)))).collect()
}

/// The variables that ask Prometheus for a label's values: metric and label.
fn variables(dashboard: &Value) -> Vec<(String, String)> {
    let all = dashboard["templating"]["list"].as_array().unwrap().iter();
    let asked: Vec<_> = all.filter(|variable| variable["type"] == "query").collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let read = |variable: &&Value| {
        let query = variable["query"]["query"].as_str()?.strip_prefix("label_values(")?.strip_suffix(')')?;
        let (metric, label) = query.rsplit_once(", ")?;
        Some((filled(metric), label.to_owned()))
    };
    asked.iter().map(|variable| read(variable).unwrap_or_else(|| panic!("{variable}"))).collect()
}

fn filled(query: &str) -> String {
    let query = VARIABLES.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value));
    assert!(!query.contains('$'), "an unknown variable: {query}");
    query
}

fn ask(server: &Server, query: &str) -> Result<Value, String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = server.get(&format!("/api/v1/query?query={encoded}")).map_err(|error| error.to_string())?;
    let answer = answer.json().map_err(|error| error.to_string())?;
    if answer["status"] == "success" { Ok(answer) } else { Err(answer.to_string()) }
}

/// How many samples there are that a panel can show: 0 divided by 0 is none.
fn numbers(server: &Server, query: &str) -> Result<usize, String> {
    let answer = ask(server, query)?;
    let samples = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let number = |sample: &&Value| sample["value"][1].as_str().is_some_and(|value| value != "NaN");
    Ok(samples.iter().filter(number).count())
}
