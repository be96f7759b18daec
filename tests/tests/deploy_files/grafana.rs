//! The Grafana dashboard as a file; `daemon/grafana.rs` runs its queries.

use std::collections::BTreeSet;

use serde_json::Value;

use super::text;

fn dashboard() -> Value {
    serde_json::from_str(&text("deploy/grafana/layerkeeper.json")).unwrap()
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn every_panel_has_a_unit_and_says_what_to_do_and_none_overlaps_another() {
    let dashboard = dashboard();
    let panels = panels(&dashboard);
    assert!(panels.len() >= 15);
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id stands twice");
        assert!(panel["description"].as_str().is_some_and(|words| words.len() > 80), "{title}: no description");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: no unit");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title}: beyond the right edge");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title}: overlaps another panel");
            }
        }
    }
}

#[test]
fn the_data_source_is_a_variable_everywhere_and_nothing_names_a_server() {
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        let targets = panel["targets"].as_array().unwrap();
        for source in targets.iter().map(|target| &target["datasource"]["uid"]).chain([&panel["datasource"]["uid"]]) {
            assert_eq!(source, "${datasource}", "{}", panel["title"]);
        }
        for target in targets {
            assert!(target["expr"].as_str().unwrap().contains("instance=~\"$instance\""), "{target}");
        }
    }
    assert_eq!(dashboard["id"], Value::Null, "Grafana gives it one");
}

#[test]
fn the_dashboard_asks_only_for_metrics_that_the_daemon_has() {
    let known = text("docs/metrics.md");
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let words = target["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for metric in words.filter(|word| word.starts_with("layerkeeper_")) {
                let parts = ["_sum", "_count", "_bucket"].iter().filter_map(|part| metric.strip_suffix(part));
                let rows = parts.map(|of| format!("| `{of}` | histogram |")).chain([format!("| `{metric}` |")]);
                assert!(rows.into_iter().any(|row| known.contains(&row)), "{metric} in {}", panel["title"]);
            }
        }
    }
}
