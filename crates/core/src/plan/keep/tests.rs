//! Every combination of what is here, what is pinned, what the registry says and what we know.

use super::*;
use crate::testing::*;

const NAME: &str = "ghcr.io/acme/base:python";

/// Judges the kept image when its name has `here` (`-`: no name; `?`: an image without a digest of the repository).
fn judged(here: &str, pin: Option<&str>, remote: &str, known: Option<&str>) -> KeepVerdict {
    let mut host = Host::keeping(1);
    match here {
        "-" => {}
        "?" => _ = host.image("local").names.insert(name(NAME)),
        word => host = host.named(word, NAME),
    }
    let remote = match remote {
        "gone" => Remote::Gone,
        "silent" => Remote::Unknown,
        word => Remote::Digest(digest(word)),
    };
    judge_kept(&Keep::new(name(NAME), pin.map(digest)), &host.inventory, &remote, known.map(digest))
}

#[test]
fn all_combinations_without_a_pin() {
    use Finding::{Absent, MovedAtRegistry, MovedLocally, Present, Unverified};
    // here, registry, known by our own record: finding, what to bring
    let table = [
        ("-", "new", None, Absent, Some("new")),
        ("-", "new", Some("old"), Absent, Some("new")),
        ("-", "silent", None, Absent, None),
        ("-", "silent", Some("old"), Absent, Some("old")),
        ("-", "gone", None, Absent, None),
        ("-", "gone", Some("old"), Absent, None),
        ("old", "old", None, Present, None),
        ("old", "old", Some("old"), Present, None),
        ("old", "old", Some("older"), Present, None),
        ("old", "new", None, MovedAtRegistry, Some("new")),
        ("old", "new", Some("old"), MovedAtRegistry, Some("new")),
        ("other", "new", Some("old"), MovedLocally, Some("new")),
        ("other", "old", Some("old"), MovedLocally, Some("old")),
        ("other", "silent", Some("old"), MovedLocally, Some("old")),
        ("other", "gone", Some("old"), MovedLocally, None),
        ("old", "silent", None, Unverified, None),
        ("old", "silent", Some("old"), Present, None),
        ("old", "gone", None, Unverified, None),
        ("old", "gone", Some("old"), Present, None),
        ("?", "new", None, MovedLocally, Some("new")),
        ("?", "new", Some("old"), MovedLocally, Some("new")),
        ("?", "silent", None, Unverified, None),
        ("?", "silent", Some("old"), MovedLocally, Some("old")),
    ];
    for (here, remote, known, finding, bring) in table {
        let verdict = judged(here, None, remote, known);
        let case = format!("here {here}, registry {remote}, known {known:?}: {verdict:?}");
        assert_eq!(verdict.finding, finding, "{case}");
        assert_eq!(verdict.bring, bring.map(digest), "{case}");
        assert!(!verdict.pin_unresolvable, "{case}");
        let shown = (!matches!(here, "-" | "?")).then(|| digest(here));
        assert_eq!(verdict.here, shown, "{case}");
    }
}

#[test]
fn all_combinations_with_a_pin() {
    use Finding::{Absent, MovedLocally, Present};
    for (here, finding) in [("-", Absent), ("pin", Present), ("other", MovedLocally), ("?", MovedLocally)] {
        for (remote, unresolvable) in [("pin", false), ("new", true), ("gone", true), ("silent", false)] {
            for known in [None, Some("pin")] {
                let verdict = judged(here, Some("pin"), remote, known);
                let case = format!("here {here}, registry {remote}, known {known:?}: {verdict:?}");
                assert_eq!(verdict.finding, finding, "{case}");
                assert_eq!(
                    verdict.bring,
                    (here != "pin").then(|| digest("pin")),
                    "a pin never follows the tag: {case}"
                );
                assert_eq!(verdict.pin_unresolvable, unresolvable, "{case}");
                assert_eq!(verdict.tag_shows, (remote == "new").then(|| digest("new")), "gone is not moved: {case}");
            }
        }
    }
}

#[test]
fn a_pin_that_is_new_in_the_configuration_accuses_nobody() {
    let verdict = judged("old", Some("pin"), "pin", Some("old"));
    assert_eq!(verdict.bring, Some(digest("pin")));
    assert!(!verdict.reason.contains("was moved on this host"), "{}", verdict.reason);
}

#[test]
fn reasons_say_what_is_here_and_what_is_wanted() {
    let (old, new) = (digest("old").short(), digest("new").short());
    assert_eq!(judged("old", None, "old", None).reason, format!("is here as {old}"));
    assert_eq!(judged("-", None, "gone", None).reason, "is not here; the registry has no such tag");
    let moved = judged("old", None, "new", Some("old"));
    assert_eq!(moved.reason, format!("moved at the registry: here is {old}, there is {new}"));
    let local = judged("old", None, "new", Some("new"));
    assert_eq!(local.reason, format!("was moved on this host: the name has {old}, wanted is {new}"));
    assert_eq!(judged("old", Some("old"), "old", None).reason, format!("is here as {old} (pinned)"));
    let on = judged("old", Some("old"), "new", None).reason;
    assert!(on.ends_with(&format!("the registry's tag shows {new} by now, which is not followed")), "{on}");
    let gone = judged("old", Some("old"), "gone", None).reason;
    assert_eq!(gone, format!("is here as {old}; the registry has no such tag"));
    let silent = judged("old", None, "silent", None);
    assert_eq!(silent.reason, format!("is here as {old}; the registry has not confirmed it yet"));
}
