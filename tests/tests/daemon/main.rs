//! The real binary as a process: starts, stops, kills, reloads, and what Prometheus and a browser make of it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod against;
mod cli;
mod clock;
mod doctor;
mod expect;
mod github;
mod grafana;
mod history;
mod kill;
mod pin;
mod points;
mod prometheus;
mod quarter;
mod relay_kill;
mod reload;
mod schedule;
mod secrets;
mod spool;
mod start;
mod stop;
mod store;

/// A configuration with these runtime repositories, and no kept images.
fn runtimes(registry: &str, names: &[&str]) -> String {
    let block =
        |name: &&str| format!("[[runtime]]\nrepository = \"{registry}/acme/{name}\"\nprune_tags = [\"sha-*\"]\n");
    format!("[disk]\nmin_free = \"1 MB\"\n{}", names.iter().map(block).collect::<String>())
}
