//! Arrows between crates point down, each heavy library lives in one crate, and the core stays pure.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{cargo, top};

/// From top to bottom: a crate may use only crates further down.
const LAYERS: [&[&str]; 7] = [
    &["layerkeeper"],
    &["layerkeeper-http"],
    &["layerkeeper-keeper"],
    &["layerkeeper-relay"],
    &["layerkeeper-engine", "layerkeeper-registry", "layerkeeper-store"],
    &["layerkeeper-core"],
    &[],
];

/// Each heavy library, and the only crate of the product that may use it.
const HOMES: [(&str, &str); 8] = [
    ("bollard", "layerkeeper-engine"),
    ("reqwest", "layerkeeper-registry"),
    ("rusqlite", "layerkeeper-store"),
    ("axum", "layerkeeper-http"),
    ("maud", "layerkeeper-http"),
    ("tokio-cron-scheduler", "layerkeeper-keeper"),
    ("prometheus", "layerkeeper-keeper"),
    ("clap", "layerkeeper"),
];

/// What the core must not use: no I/O, no async, no serialisation.
const NOT_IN_CORE: [&str; 8] =
    ["tokio", "serde", "serde_json", "async-trait", "futures-util", "chrono", "tracing", "reqwest"];

/// Reads `cargo metadata` and judges.
pub fn check() -> Result<()> {
    let output =
        cargo(&["metadata", "--format-version", "1", "--no-deps"]).output().context("cannot run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let found = findings(&used(&metadata));
    let in_code = clock_in_core()?;
    let all: Vec<String> = found.into_iter().chain(in_code).collect();
    if !all.is_empty() {
        bail!("{}", all.join("\n"));
    }
    Ok(())
}

/// By crate: what it depends on, dev-dependencies left out.
fn used(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
            let normal = dependencies.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect();
            (text(&package["name"]), normal)
        })
        .collect()
}

fn findings(used: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let mut found = Vec::new();
    for (name, dependencies) in used {
        let Some(own) = layer(name) else { continue };
        for dependency in dependencies {
            if layer(dependency).is_some_and(|other| other <= own) {
                found.push(format!("{name} uses {dependency}, which is not below it"));
            }
            if let Some((_, home)) = HOMES.iter().find(|(library, home)| library == dependency && home != name) {
                found.push(format!("{name} uses {dependency}, which belongs to {home} alone"));
            }
            if name == "layerkeeper-core" && NOT_IN_CORE.contains(&dependency.as_str()) {
                found.push(format!("{name} is pure and may not use {dependency}"));
            }
        }
    }
    let missing = LAYERS.iter().flat_map(|layer| layer.iter()).filter(|name| !used.contains_key(**name));
    found.extend(missing.map(|name| format!("there is no crate {name}; the check is out of date")));
    found
}

/// The standard library's clocks, files and sockets are no dependency that metadata shows.
fn clock_in_core() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in super::size::sources("crates/core/src")? {
        let text = std::fs::read_to_string(&file)?;
        for banned in ["SystemTime", "Instant::now", "std::fs", "std::net", "std::env", "std::thread"] {
            if text.contains(banned) {
                let shown = file.strip_prefix(top()).unwrap_or(&file).display().to_string();
                found.push(format!("{shown} uses {banned}; the core is pure"));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let mut used: BTreeMap<String, Vec<String>> =
            LAYERS.iter().flat_map(|l| l.iter()).map(|name| ((*name).to_owned(), Vec::new())).collect();
        for (name, dependencies) in pairs {
            used.insert((*name).to_owned(), dependencies.iter().map(|d| (*d).to_owned()).collect());
        }
        used
    }

    #[test]
    fn arrows_point_down() {
        assert!(findings(&crates(&[("layerkeeper-http", &["layerkeeper-keeper", "axum"])])).is_empty());
        assert_eq!(findings(&crates(&[("layerkeeper-store", &["layerkeeper-engine"])])).len(), 1);
        assert_eq!(findings(&crates(&[("layerkeeper-core", &["layerkeeper-keeper"])])).len(), 1);
    }

    #[test]
    fn a_heavy_library_lives_in_one_crate_and_the_core_is_pure() {
        assert_eq!(findings(&crates(&[("layerkeeper-keeper", &["bollard"])])).len(), 1);
        assert_eq!(findings(&crates(&[("layerkeeper-core", &["serde"])])).len(), 1);
    }
}
