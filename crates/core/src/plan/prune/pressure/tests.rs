//! What makes room, in which order, and what never does.

use super::*;
use crate::inventory::ContainerState;
use crate::testing::*;

/// Five deploys, a day and more between them, of which the newest three stay at a prune and two in any need.
fn five() -> Host {
    (1..=5).fold(Host::keeping(3), |host, n| host.deployed(&format!("sha-{n}"), n, days(20 - n)))
}

fn incoming() -> Vec<DiffId> {
    vec![diff("base"), diff("sha-6")]
}

fn going(plan: &PressurePlan) -> Vec<String> {
    plan.plan.going()
}

#[test]
fn what_a_prune_would_take_goes_first_and_no_more_than_is_wanted() {
    let one = five().press(OWN, &incoming());
    assert_eq!((going(&one), one.freed, one.enough), (vec!["sha-1".to_owned()], OWN, true));
    assert_eq!(one.plan.why("sha-2"), "stays: enough room is made without it");
    assert_eq!(one.plan.why("sha-1"), "goes: number 5 by age where the newest 3 stay, 19d 0h old");
    let three = five().press(OWN + OWN + Bytes(1), &incoming());
    assert_eq!(going(&three), ["sha-1", "sha-2", "sha-3"]);
    assert_eq!(
        three.plan.why("sha-3"),
        "goes: makes room for a pull that would not fit: number 3, where the newest 2 stay"
    );
}

#[test]
fn the_newest_keep_min_stay_whatever_the_need_and_the_plan_says_that_it_is_not_enough() {
    let all = five().press(BASE, &incoming());
    assert_eq!(going(&all), ["sha-1", "sha-2", "sha-3"]);
    assert!(!all.enough);
    assert_eq!(all.plan.why("sha-4"), "stays: number 2 of the newest 2 that always stay");
}

#[test]
fn young_tags_go_from_the_oldest_on_once_nothing_old_is_left() {
    let young = (1..=5).fold(Host::keeping(3), |host, n| host.deployed(&format!("sha-{n}"), n, hours(10 - n)));
    assert!(young.plan().going().is_empty(), "a prune takes none of them");
    assert_eq!(going(&young.press(OWN + OWN, &incoming())), ["sha-1", "sha-2"]);
}

#[test]
fn a_held_and_a_kept_image_never_go() {
    let host = five().held("sha-1", ContainerState::Exited).keep("sha-2", None);
    let plan = host.press(BASE, &incoming());
    assert_eq!(going(&plan), ["sha-3"]);
    assert_eq!(plan.plan.why("sha-1"), "stays: held by container sha-1-1 (exited)");
    assert_eq!(plan.plan.why("sha-2"), "stays: ghcr.io/acme/app:sha-2 is a kept image");
}

#[test]
fn what_alone_has_layers_of_the_incoming_image_stays() {
    // the new version stands on a layer that only sha-1 has
    let needed = five().press(OWN, &[diff("base"), diff("sha-1"), diff("sha-6")]);
    assert_eq!(going(&needed), ["sha-2"]);
    assert_eq!(needed.plan.why("sha-1"), "stays: it alone has layers that the incoming image builds on");
    // two that have it: the first may go, the last not
    let mut host = five();
    host.image("sha-2").layers = vec![diff("base"), diff("sha-1"), diff("more")];
    host.image("sha-2").layer_bytes = vec![BASE, OWN, OWN];
    let plan = host.press(BASE, &[diff("base"), diff("sha-1"), diff("sha-6")]);
    assert_eq!(going(&plan), ["sha-1", "sha-3"]);
}

#[test]
fn the_containerd_store_needs_a_content_wherever_it_stands() {
    let elsewhere = [diff("new base"), diff("sha-1")];
    let mut host = five();
    assert_eq!(going(&host.press(OWN, &elsewhere)), ["sha-1"], "the classic store fetches it again all the same");
    host.inventory.engine = engine(StoreKind::Containerd);
    assert_eq!(going(&host.press(OWN, &elsewhere)), ["sha-2"]);
}

#[test]
fn superseded_digests_go_before_any_tag_where_the_policy_allows_it() {
    let mut host = five().named("new", "v1").row("old", APP).left_behind("old", "v1", days(9));
    assert_eq!(going(&host.press(OWN, &incoming())), ["sha-1"], "never is the default");
    host.policy.remove_superseded = RemoveSuperseded::OnPressure;
    let plan = host.press(OWN, &incoming());
    assert!(going(&plan)[0].contains('@') && going(&plan).len() == 1, "{:?}", going(&plan));
    assert!(plan.enough);
    let more = host.press(OWN + OWN, &incoming());
    assert_eq!((going(&more).len(), more.enough), (2, true));
}

#[test]
fn a_tag_whose_image_has_another_name_is_left_alone() {
    let plan = five().named("sha-1", "docker.io/else/where:1").press(OWN, &incoming());
    assert_eq!(going(&plan), ["sha-2"]);
    assert_eq!(
        plan.plan.why("sha-1"),
        "stays: taking it away would free nothing, docker.io/else/where:1 has the image too"
    );
}

#[test]
fn nothing_goes_while_removals_are_blocked() {
    let mut host = five();
    host.blocked = Some("the engine was away");
    let plan = host.press(OWN, &incoming());
    assert!(going(&plan).is_empty() && !plan.enough);
}
