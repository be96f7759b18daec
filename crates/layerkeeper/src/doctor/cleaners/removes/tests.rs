//! What each kind of command would take from the sample host.

use super::*;
use crate::doctor::cleaners::act::acts;
use crate::doctor::sample::{NOW, inventory, name, policy};

/// Kept, newest and number of others.
fn taken(command: &str, store: StoreKind) -> (Vec<String>, Vec<String>, usize) {
    let (mut inventory, policy) = (inventory(), policy());
    inventory.engine.store = store;
    let newest = newest(&policy, &inventory, &[]);
    let stock = Stock { inventory: &inventory, policy: &policy, newest: &newest, now: NOW };
    let removes = removes(&acts(command)[0], &stock);
    let mut kept: Vec<String> = removes.kept.iter().map(ToString::to_string).collect();
    kept.sort();
    (kept, removes.newest.iter().map(ToString::to_string).collect(), removes.others)
}

fn names(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| name(text).to_string()).collect()
}

#[test]
fn what_goes_follows_dockers_rules() {
    use StoreKind::{Containerd, Graphdriver};
    for (command, store, kept, newest, others) in [
        // every image without a container; stopped ones go first
        ("docker system prune -af", Graphdriver, &["base:1", "cache:py"][..], &["app:sha-2"][..], 2),
        // a stopped container holds its image here
        ("docker image prune -af", Graphdriver, &["base:1", "cache:py"], &[], 2),
        ("docker image prune -f", Graphdriver, &[], &[], 1),
        ("docker image prune -f", Containerd, &[], &[], 0),
        ("docker system prune -f", Graphdriver, &[], &[], 1),
        // by build time
        ("docker image prune -af --filter until=2400h", Graphdriver, &["base:1"], &[], 0),
        ("docker image prune -af --filter until=168h", Graphdriver, &["base:1", "cache:py"], &[], 2),
        ("docker system prune -af --filter until=9600h", Graphdriver, &[], &[], 0),
        ("docker rmi ghcr.io/acme/base:1", Graphdriver, &["base:1"], &[], 0),
        ("docker rmi $(docker images -q)", Graphdriver, &["base:1", "cache:py"], &[], 2),
        ("docker-gc", Graphdriver, &["base:1", "cache:py"], &[], 2),
        ("podman system prune -af", Graphdriver, &[], &[], 0),
    ] {
        assert_eq!(taken(command, store), (names(kept), names(newest), others), "{command} on {store}");
    }
}

#[test]
fn a_condition_that_cannot_be_judged_makes_it_a_most() {
    let (inventory, policy) = (inventory(), policy());
    let stock = Stock { inventory: &inventory, policy: &policy, newest: &[], now: NOW };
    let at_most = |command: &str| removes(&acts(command)[0], &stock).at_most;
    assert!(at_most("docker image prune -af --filter label!=keep"));
    assert!(at_most("docker image prune -af --filter until=2026-01-01"));
    assert!(!at_most("docker image prune -af --filter until=1h30m"));
    assert!(at_most("docker system prune -af --filter until=1h30m"), "a stopped container may be younger");
    assert!(!at_most("docker system prune -af"));
    let all = removes(&acts("docker system prune -af")[0], &stock);
    assert_eq!(all.bytes, Bytes(4_460_000_000), "all but what runs");
}

#[test]
fn the_newest_are_those_that_the_daemon_says_or_those_built_last() {
    let (inventory, policy) = (inventory(), policy());
    assert_eq!(newest(&policy, &inventory, &[]), [name("app:sha-3"), name("app:sha-2")]);
    // a rollback made the oldest the newest
    assert_eq!(newest(&policy, &inventory, &[name("app:sha-1")]), [name("app:sha-1"), name("app:sha-3")]);
}
