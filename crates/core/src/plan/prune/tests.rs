//! The rules about pruning, one by one.

use super::*;
use crate::ContainerState;
use crate::inventory::Container;
use crate::policy::RemoveSuperseded;
use crate::testing::*;

/// Five deploys, the oldest first, a day and more between them.
fn five(keep_last: usize) -> Host {
    (1..=5).fold(Host::keeping(keep_last), |host, n| host.deployed(&format!("sha-{n}"), n, days(20 - n)))
}

#[test]
fn the_newest_deploys_stay_and_the_rest_goes_oldest_first() {
    let plan = five(3).plan();
    assert_eq!(plan.going(), ["sha-1", "sha-2"]);
    assert_eq!(plan.why("sha-3"), "stays: number 3 of the newest 3 (deploy 3)");
    assert_eq!(plan.why("sha-1"), "goes: number 5 by age where the newest 3 stay, 19d 0h old");
    assert_eq!(plan.freed(), OWN + OWN, "the base stays");
}

#[test]
fn a_keep_last_of_nothing_still_keeps_the_newest() {
    let plan = five(0).plan();
    assert_eq!(plan.going(), ["sha-1", "sha-2", "sha-3", "sha-4"]);
    assert_eq!(plan.why("sha-5"), "stays: number 1 of the newest 1 (deploy 5)");
    assert_eq!(plan.why("sha-1"), "goes: number 5 by age where the newest 1 stay, 19d 0h old");
}

#[test]
fn a_rollback_makes_the_older_tag_the_newest_whatever_the_wall_clock_says() {
    let at = NOW.minus(days(30));
    let again = NameHistory { place: 9, deployed: Some((9, at)), first_seen: at, last_held: None };
    let plan = five(1).recorded("sha-2", again).plan();
    assert_eq!(plan.going(), ["sha-1", "sha-3", "sha-4", "sha-5"]);
    assert_eq!(plan.why("sha-2"), "stays: number 1 of the newest 1 (deploy 9)");
}

#[test]
fn what_others_bring_never_pushes_out_the_newest_deploy() {
    let host = (6..12).fold(five(2), |host, n| host.sighted(&format!("sha-{n}"), n, days(3)));
    let plan = host.plan();
    assert_eq!(plan.why("sha-5"), "stays: number 1 of the newest 2 (deploy 5)");
    assert_eq!(plan.why("sha-11"), "stays: number 2 of the newest 2 (never deployed by us)");
    assert_eq!(plan.going().len(), 9);
}

#[test]
fn a_tag_that_we_never_deployed_has_its_first_sighting_as_its_place() {
    let host =
        Host::keeping(2).deployed("sha-1", 1, days(9)).sighted("sha-2", 2, days(8)).deployed("sha-3", 3, days(7));
    let plan = host.plan();
    assert_eq!(plan.going(), ["sha-1"]);
    let host =
        Host::keeping(2).sighted("sha-1", 1, days(9)).deployed("sha-2", 2, days(8)).deployed("sha-3", 3, days(7));
    assert_eq!(
        host.plan().why("sha-1"),
        "goes: number 3 by age where the newest 2 stay, age unknown, first seen 2027-01-06T08:00:00Z"
    );
}

#[test]
fn ties_at_the_first_listing_go_by_the_images_build_time() {
    let mut host = ["sha-a", "sha-b", "sha-c"].iter().fold(Host::keeping(1), |host, tag| host.sighted(tag, 0, days(2)));
    host.image("sha-a").created = Timestamp(20);
    host.image("sha-b").created = Timestamp(30);
    host.image("sha-c").created = Timestamp(10);
    assert_eq!(host.plan().going(), ["sha-c", "sha-a"]);
}

#[test]
fn nothing_goes_before_its_min_age_counted_from_the_latest_of_seen_deployed_and_held() {
    let record = |seen, deployed, held: Option<u64>| NameHistory {
        place: 1,
        deployed: Some((1, NOW.minus(hours(deployed)))),
        first_seen: NOW.minus(hours(seen)),
        last_held: held.map(|h| NOW.minus(hours(h))),
    };
    let goes = |record| {
        let plan =
            Host::keeping(1).deployed("sha-2", 2, days(3)).named("sha-1", "sha-1").recorded("sha-1", record).plan();
        !plan.removals.is_empty()
    };
    assert!(goes(record(48, 48, Some(48))));
    assert!(!goes(record(23, 48, None)), "seen");
    assert!(!goes(record(48, 23, None)), "deployed");
    assert!(!goes(record(48, 48, Some(23))), "held");
    assert!(goes(record(24, 24, Some(24))), "exactly the age");
}

#[test]
fn a_young_tag_of_unknown_age_says_since_when_it_is_known() {
    let host = Host::keeping(1).deployed("sha-2", 2, days(3)).sighted("sha-1", 1, hours(5));
    let expected = "stays: age unknown, first seen 2027-01-15T03:00:00Z, less than 1d 0h ago";
    assert_eq!(host.plan().why("sha-1"), expected);
    let host = Host::keeping(1).deployed("sha-2", 2, days(3)).deployed("sha-1", 1, hours(5));
    assert_eq!(host.plan().why("sha-1"), "stays: 5h 0m old, younger than 1d 0h");
}

#[test]
fn a_tag_without_any_record_counts_as_seen_just_now() {
    let host = Host::keeping(1).deployed("sha-2", 2, days(3)).named("sha-x", "sha-x");
    assert!(host.plan().why("sha-x").starts_with("stays: age unknown"));
}

#[test]
fn the_youngest_tag_of_an_image_speaks_for_all_of_them() {
    let young = NameHistory { place: 1, deployed: None, first_seen: NOW.minus(hours(2)), last_held: None };
    let host = five(2).named("sha-1", "sha-again").recorded("sha-again", young);
    let plan = host.plan();
    assert_eq!(plan.going(), ["sha-2", "sha-3"]);
    assert_eq!(plan.why("sha-1"), plan.why("sha-again"));
}

#[test]
fn several_tags_of_one_image_count_once_and_go_together() {
    let host = five(3).named("sha-5", "sha-5b").recorded("sha-5b", five(3).history[&name("sha-5")]);
    assert_eq!(host.plan().going(), ["sha-1", "sha-2"], "five images, not six");
    let host = five(3).named("sha-1", "sha-0").recorded("sha-0", five(3).history[&name("sha-1")]);
    let plan = host.plan();
    assert_eq!(plan.going(), ["sha-0", "sha-1", "sha-2"]);
    let freed: Vec<_> = plan.removals.iter().map(|removal| removal.freed).collect();
    assert_eq!(freed, [Bytes::ZERO, OWN, OWN], "the image goes with its last name");
}

#[test]
fn containers_in_every_state_hold_their_image() {
    use ContainerState as S;
    for state in [S::Created, S::Running, S::Paused, S::Restarting, S::Removing, S::Exited, S::Dead, S::Other] {
        let plan = five(3).held("sha-1", state).plan();
        assert_eq!(plan.going(), ["sha-2"], "{state}");
        assert_eq!(plan.why("sha-1"), format!("stays: held by container sha-1-1 ({state})"));
    }
}

#[test]
fn a_held_image_stays_in_addition_to_the_newest() {
    let plan = five(3).held("sha-1", ContainerState::Exited).plan();
    assert_eq!(plan.kept.len(), 4);
}

#[test]
fn every_tag_of_a_held_image_stays_in_every_repository() {
    let mut host = five(3).held("sha-1", ContainerState::Exited).named("sha-1", "ghcr.io/acme/other:sha-1");
    host.policy.runtime.push(runtime("ghcr.io/acme/other", 1));
    let newer = NameHistory { place: 7, deployed: None, first_seen: NOW.minus(days(9)), last_held: None };
    host = host.named("other", "ghcr.io/acme/other:sha-7").recorded("ghcr.io/acme/other:sha-7", newer);
    let old = NameHistory { place: 1, ..newer };
    let plan = host.recorded("ghcr.io/acme/other:sha-1", old).plan();
    assert_eq!(plan.going(), ["sha-2"]);
    assert!(plan.why("ghcr.io/acme/other:sha-1").starts_with("stays: held"));
}

#[test]
fn a_container_holds_by_the_name_it_was_made_from_and_by_any_digest_of_the_image() {
    let container = |image, from: Option<&str>| Container {
        id: "c".to_owned(),
        name: "web".to_owned(),
        state: ContainerState::Exited,
        image,
        created_from: from.map(name),
    };
    let mut host = five(3);
    host.inventory.containers =
        vec![container(None, Some("sha-1")), container(Some(ImageId::from_bytes(*digest("sha-2").as_bytes())), None)];
    assert_eq!(host.plan().going(), [""; 0]);
    host.inventory.containers = vec![container(Some(id("sha-5")), Some("sha-4"))];
    assert_eq!(host.plan().going(), ["sha-1", "sha-2"]);
}

#[test]
fn an_image_with_a_tag_elsewhere_is_only_untagged_and_the_reason_names_the_holder() {
    let plan = five(3).named("sha-1", "ghcr.io/acme/mirror:x").plan();
    assert_eq!(
        plan.why("sha-1"),
        "goes: number 5 by age where the newest 3 stay, 19d 0h old; frees nothing, ghcr.io/acme/mirror:x still has the image"
    );
    assert_eq!(plan.freed(), OWN, "only sha-2's");
}

#[test]
fn an_image_with_an_unprunable_tag_in_the_same_repository_is_only_untagged() {
    let plan = five(3).named("sha-1", "stable").plan();
    assert!(plan.why("sha-1").ends_with("frees nothing, ghcr.io/acme/app:stable still has the image"));
    assert_eq!(plan.why("stable"), "stays: no prune_tags pattern matches it");
}

#[test]
fn a_digest_row_of_another_repository_holds_the_image() {
    let plan = five(3).row("sha-1", "ghcr.io/acme/mirror").plan();
    assert!(plan.why("sha-1").contains("frees nothing, ghcr.io/acme/mirror@sha256:"));
}

#[test]
fn an_image_in_two_runtime_repositories_is_freed_by_the_last_name_only() {
    let mut host = five(3).named("sha-1", "ghcr.io/acme/other:sha-1");
    host.policy.runtime.push(runtime("ghcr.io/acme/other", 1));
    let old = NameHistory { place: 1, deployed: None, first_seen: NOW.minus(days(9)), last_held: None };
    let newer = NameHistory { place: 7, ..old };
    host = host.named("other", "ghcr.io/acme/other:sha-7").recorded("ghcr.io/acme/other:sha-7", newer);
    let plan = host.recorded("ghcr.io/acme/other:sha-1", old).plan();
    assert_eq!(plan.going(), ["sha-1", "sha-2", "ghcr.io/acme/other:sha-1"]);
    assert!(plan.why("sha-1").contains("frees nothing"));
    assert_eq!(plan.freed(), OWN + OWN);
}

#[test]
fn tags_that_no_pattern_matches_neither_count_nor_go() {
    let mut host = five(3);
    for tag in ["latest", "v1", "cache", "xsha-9"] {
        host = host.deployed(tag, 100, days(50));
    }
    let plan = host.plan();
    assert_eq!(plan.going(), ["sha-1", "sha-2"]);
    assert_eq!(plan.why("xsha-9"), "stays: no prune_tags pattern matches it");
}

#[test]
fn repositories_outside_the_policy_are_not_touched_nor_listed() {
    let plan = five(1).named("x", "ghcr.io/acme/app2:sha-1").named("y", "docker.io/acme/app:sha-1").plan();
    assert_eq!(plan.removals.len() + plan.kept.len(), 5);
}

#[test]
fn kept_images_never_go_with_all_tags_of_their_image() {
    let record = five(3).history[&name("sha-1")];
    let plan = five(3).named("sha-1", "sha-0").recorded("sha-0", record).keep("sha-1", None).plan();
    assert_eq!(plan.going(), ["sha-2"]);
    assert_eq!(plan.why("sha-0"), "stays: ghcr.io/acme/app:sha-1 is a kept image");
}

#[test]
fn a_tag_that_is_the_last_name_of_a_pinned_digest_stays() {
    let host = five(3).keep("cache", Some(digest("sha-1")));
    assert_eq!(host.plan().why("sha-1"), "stays: a kept image is pinned to it");
    let plan = host.named("sha-1", "cache").plan();
    assert!(plan.why("sha-1").contains("frees nothing, ghcr.io/acme/app:cache still has the image"));
}

#[test]
fn when_blocked_nothing_goes_and_the_reason_is_given() {
    let mut host = five(3).left_behind("old", "sha-5", days(9)).row("old", APP);
    host.superseded_now = true;
    host.blocked = Some("the engine came back a moment ago");
    let plan = host.plan();
    assert_eq!(plan.going(), [""; 0]);
    assert_eq!(plan.why("sha-1"), "stays: nothing is removed now: the engine came back a moment ago");
    assert_eq!(plan.why("sha-5"), "stays: number 1 of the newest 3 (deploy 5)");
}

#[test]
fn when_the_clock_is_in_doubt_nothing_goes_by_age() {
    let mut host = five(3).left_behind("old", "sha-5", days(9)).row("old", APP);
    host.policy.remove_superseded = RemoveSuperseded::After(days(7));
    host.clock_doubt = Some("it jumped by 2h 0m");
    let plan = host.plan();
    assert_eq!(plan.going(), [""; 0]);
    assert_eq!(plan.why("sha-1"), "stays: nothing is removed by age now: it jumped by 2h 0m");
    host.superseded_now = true;
    assert_eq!(host.plan().removals.len(), 1, "the operator's word is not about age");
}

#[test]
fn our_own_row_goes_after_its_tag_where_it_would_hold_the_image() {
    let on = |mut host: Host, store| {
        host.inventory.engine = engine(store);
        host.plan()
    };
    let plan = on(five(3).made("sha-1").made("sha-5"), StoreKind::Containerd);
    let row = format!("{APP}@{}", digest("sha-1"));
    assert_eq!(plan.going(), ["sha-1", &row, "sha-2"]);
    assert_eq!(plan.removals[1].reason.to_string(), "a row that our own pull of ghcr.io/acme/app:sha-1 made");
    let plan = on(five(3).made("sha-1").named("sha-1", "stable"), StoreKind::Containerd);
    assert_eq!(plan.going(), ["sha-1", "sha-2"], "stable shows the row too");
    let plan = on(five(3).made("sha-1"), StoreKind::Graphdriver);
    assert_eq!(plan.going(), ["sha-1", "sha-2"], "the classic store drops the row with the tag");
}

#[test]
fn the_order_in_which_the_engine_lists_things_changes_no_decision() {
    let mut host =
        five(2).held("sha-1", ContainerState::Dead).named("sha-2", "ghcr.io/acme/mirror:x").named("sha-5", "v5");
    let before = host.plan();
    host.inventory.images.reverse();
    host.inventory.containers.reverse();
    assert_eq!(host.plan(), before);
}

mod superseded {
    use super::*;

    /// `v1` was moved by our own pull, and `old` is what it was.
    fn moved() -> Host {
        five(3).named("new", "v1").row("old", APP).left_behind("old", "v1", days(9))
    }

    /// Why the row of `old` stays; none when it goes.
    fn stays(host: &Host) -> Option<String> {
        let plan = host.plan();
        let row = repository(APP).by_digest(digest("old"));
        let kept: Vec<_> = plan.kept.iter().filter(|kept| kept.name == row).collect();
        let gone = plan.removals.iter().filter(|removal| removal.name == row).count();
        assert_eq!(kept.len() + gone, 1, "{}", render(&plan));
        kept.first().map(|kept| kept.reason.to_string())
    }

    fn asked(mut host: Host) -> Host {
        host.superseded_now = true;
        host
    }

    #[test]
    fn by_default_it_is_listed_and_stays() {
        assert!(stays(&moved()).unwrap().contains("layerkeeper prune --superseded"));
        let mut host = moved();
        host.policy.remove_superseded = RemoveSuperseded::OnPressure;
        assert!(stays(&host).is_some(), "no pressure here");
    }

    #[test]
    fn it_goes_on_the_operators_word() {
        let host = asked(moved());
        assert_eq!(stays(&host), None);
        let plan = host.plan();
        let removal = plan.removals.last().unwrap();
        assert_eq!((removal.freed, removal.image), (OWN, id("old")));
        assert_eq!(removal.reason.to_string(), "superseded: ghcr.io/acme/app:v1 has moved on");
    }

    #[test]
    fn it_goes_at_its_age_and_not_before() {
        let mut host = moved();
        host.policy.remove_superseded = RemoveSuperseded::After(days(9));
        assert_eq!(stays(&host), None);
        host.policy.remove_superseded = RemoveSuperseded::After(days(10));
        assert_eq!(stays(&host).unwrap(), "9d 0h old, younger than 10d 0h");
    }

    #[test]
    fn containers_tags_and_pins_hold_it() {
        let host = asked(moved().held("old", ContainerState::Exited));
        assert_eq!(stays(&host).unwrap(), "held by container old-1 (exited)");
        let host = asked(moved().named("old", "v0"));
        assert_eq!(stays(&host).unwrap(), "ghcr.io/acme/app:v0 stands for it");
        let host = asked(moved().named("old", "docker.io/else/where:v0"));
        assert_eq!(stays(&host).unwrap(), "docker.io/else/where:v0 stands for it");
        let host = asked(moved().keep("v1", Some(digest("old"))));
        assert_eq!(stays(&host).unwrap(), "a kept image is pinned to it");
    }

    #[test]
    fn it_stays_until_the_new_digest_is_here() {
        let host = asked(five(3).row("old", APP).left_behind("old", "v1", days(9)));
        assert_eq!(stays(&host).unwrap(), "ghcr.io/acme/app:v1 is not here with a newer digest");
    }

    #[test]
    fn it_stays_when_somebody_else_put_another_image_under_the_name() {
        let host = asked(moved().to("what our pull brought"));
        assert_eq!(stays(&host).unwrap(), "ghcr.io/acme/app:v1 is not here with a newer digest");
        let host = asked(moved().to("newer").left_behind("newer", "v1", days(2)).to("new"));
        assert_eq!(stays(&host), None, "the name has moved on twice, each time by our own pull");
    }

    #[test]
    fn what_is_no_longer_here_is_not_listed() {
        let plan = asked(five(3).named("new", "v1").left_behind("old", "v1", days(9))).plan();
        assert_eq!(plan.going(), ["sha-1", "sha-2"]);
    }

    #[test]
    fn a_row_of_another_repository_leaves_nothing_freed() {
        let host = asked(moved().row("old", "ghcr.io/acme/mirror"));
        let plan = host.plan();
        assert_eq!(plan.removals.last().unwrap().freed, Bytes::ZERO);
        assert!(plan.removals.last().unwrap().reason.to_string().contains("ghcr.io/acme/mirror@sha256:"));
    }

    #[test]
    fn two_names_that_left_the_same_digest_remove_it_once_and_only_when_both_have_moved_on() {
        let both = asked(moved().named("newer", "v2").left_behind("old", "v2", days(8)));
        assert_eq!(stays(&both), None);
        assert_eq!(both.plan().freed(), OWN + OWN + OWN);
        let one = asked(moved().left_behind("old", "v2", days(8)));
        assert_eq!(stays(&one).unwrap(), "ghcr.io/acme/app:v2 is not here with a newer digest");
        let other = asked(five(3).row("old", APP).left_behind("old", "v2", days(8)).named("new", "v1").left_behind(
            "old",
            "v1",
            days(9),
        ));
        assert_eq!(stays(&other).unwrap(), "ghcr.io/acme/app:v2 is not here with a newer digest");
    }
}
