//! The alert rules and their cases, by Prometheus' own tool.

use std::collections::BTreeSet;
use std::process::Command;

use super::{repository, run, text};

const CASES: [&str; 2] = ["alerts_test.yml", "alerts_days_test.yml"];

fn promtool(args: &[&str]) -> String {
    run(Command::new("promtool").args(args).current_dir(repository("deploy/prometheus")))
}

#[test]
fn the_rules_hold_in_every_case() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["check", "config", "--syntax-only", "scrape.yml"]);
    promtool(&["test", "rules", CASES[0], CASES[1]]);
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_is_silent() {
    let rules = text("deploy/prometheus/alerts.yml");
    let cases = CASES.map(|file| text(&format!("deploy/prometheus/{file}"))).concat();
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 12, "{alerts:?}");
    for alert in alerts {
        let judged: Vec<_> = cases.split("alertname: ").filter(|case| case.lines().next() == Some(alert)).collect();
        let silent = judged.iter().filter(|case| case.lines().nth(1).is_some_and(|l| l.ends_with("exp_alerts: []")));
        let silent = silent.count();
        assert!(silent > 0 && silent < judged.len(), "{alert}: {silent} silent of {}", judged.len());
    }
}

#[test]
fn the_rules_ask_only_for_metrics_that_the_daemon_has() {
    let code = text("crates/keeper/src/metrics.rs");
    let known: BTreeSet<&str> = code.split('"').filter(|word| word.starts_with("layerkeeper_")).collect();
    assert!(known.contains("layerkeeper_engine_up"), "{known:?}");
    let rules = text("deploy/prometheus/alerts.yml");
    let asked: BTreeSet<&str> = rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("layerkeeper_"))
        .collect();
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
