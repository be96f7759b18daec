//! Whole plans as an operator reads them.

use crate::ContainerState;
use crate::inventory::StoreKind;
use crate::layers::{LayerRecord, Origin};
use crate::plan::history::NameHistory;
use crate::policy::RemoveSuperseded;
use crate::testing::*;
use crate::{Bytes, ChainId, Timestamp};

/// A server in its second month: deploys, a rollback, a stopped container, a cache tag, somebody's experiment.
fn second_month() -> Host {
    let host = (1..=7).fold(Host::keeping(3), |host, n| host.deployed(&format!("sha-{n}"), n, days(30 - 3 * n)));
    let at = NOW.minus(days(1));
    let rollback = NameHistory { place: 9, deployed: Some((9, at)), first_seen: NOW.minus(days(24)), last_held: None };
    let mut host = host
        .recorded("sha-2", rollback)
        .sighted("sha-mine", 8, days(5))
        .held("sha-3", ContainerState::Exited)
        .named("sha-4", "ghcr.io/acme/staging:sha-4")
        .made("sha-5")
        .named("cache", "cache-python")
        .keep("cache-python", None)
        .named("base", "ghcr.io/acme/base:cuda")
        .keep("ghcr.io/acme/base:cuda", None)
        .row("base-before", "ghcr.io/acme/base")
        .left_behind("base-before", "ghcr.io/acme/base:cuda", days(12));
    for image in &mut host.inventory.images {
        image.layer_bytes = vec![Bytes(3_100_000_000), Bytes(214_000_000)];
    }
    host
}

#[test]
fn a_server_in_its_second_month() {
    insta::assert_snapshot!(render(&second_month().plan()));
}

#[test]
fn the_same_server_on_the_containerd_store_with_superseded_digests_allowed_after_a_week() {
    let mut host = second_month();
    host.inventory.engine = engine(StoreKind::Containerd);
    host.policy.remove_superseded = RemoveSuperseded::After(days(7));
    let record = |word: &str, size| LayerRecord {
        chain: ChainId::of_stack(&[diff("base"), diff(word)])[1],
        diff_id: diff(word),
        blob: digest(word),
        size,
        origin: Origin::Downloaded,
    };
    host.layers = vec![record("sha-1", Bytes(70_000_000)), record("base-before", Bytes(90_000_000))];
    insta::assert_snapshot!(render(&host.plan()));
}

#[test]
fn the_first_look_at_a_server_that_others_filled() {
    let mut host = Host::keeping(2);
    for (tag, built) in [("sha-a", 10), ("sha-b", 40), ("sha-c", 20), ("sha-d", 30)] {
        host = host.sighted(tag, 0, hours(2));
        host.image(tag).created = Timestamp(built);
    }
    host.blocked = Some("no deploy has succeeded on this engine yet");
    let blocked = render(&host.plan());
    host.blocked = None;
    let young = render(&host.plan());
    for record in host.history.values_mut() {
        record.first_seen = NOW.minus(days(2));
    }
    insta::assert_snapshot!(format!("{blocked}\n{young}\n{}", render(&host.plan())));
}
