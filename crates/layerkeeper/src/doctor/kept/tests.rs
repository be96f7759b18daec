//! Kept images on the sample host: what is said of them, how bad it is and how it is mended.

use super::*;
use crate::doctor::sample::{image, inventory, name};

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn seen(text: &str, pin: Option<&str>, tag: Shown, pinned: Option<Shown>) -> KeptSeen {
    KeptSeen { keep: Keep::new(name(text), pin.map(digest)), tag, pinned, others: Vec::new(), held: Held::Unasked }
}

#[test]
fn a_kept_image_is_judged_here_and_at_its_registry() {
    let shown = |text: &str| Shown::Image(digest(text));
    let away = || Shown::Unknown("no answer".to_owned());
    let unfit = || Shown::Unfit("a build cache".to_owned());
    for (text, tag, wanted) in [
        ("base:1", shown("base:1"), &[("kept.ok", Level::Ok)][..]),
        ("base:1", shown("new"), &[("kept.stale", Level::Note)]),
        ("base:1", Shown::Gone, &[("kept.gone", Level::Warning)]),
        ("base:1", away(), &[("kept.unresolvable", Level::Warning)]),
        ("base:1", unfit(), &[("kept.unfit", Level::Warning)]),
        ("base:1", Shown::Unasked, &[("kept.ok", Level::Ok)]),
        ("lost:1", Shown::Unasked, &[("kept.absent", Level::Warning)]),
        ("lost:1", shown("new"), &[("kept.absent", Level::Warning)]),
        ("lost:1", Shown::Gone, &[("kept.gone", Level::Problem), ("kept.absent", Level::Warning)]),
        ("lost:1", unfit(), &[("kept.unfit", Level::Problem), ("kept.absent", Level::Warning)]),
    ] {
        let found = judge(&seen(text, None, tag.clone(), None), Some(&inventory()), None);
        let got: Vec<_> = found.iter().map(|found| (found.id, found.level)).collect();
        assert_eq!(got, wanted, "{text} {tag:?}");
    }
}

#[test]
fn a_pin_is_judged_by_its_digest_and_not_by_the_tag() {
    let shown = |text: &str| Shown::Image(digest(text));
    for (text, pin, tag, pinned, wanted) in [
        ("base:1", "base:1", shown("base:1"), None, &[("kept.ok", Level::Ok)][..]),
        ("base:1", "base:1", shown("new"), Some(shown("base:1")), &[("kept.pin_moved", Level::Note)]),
        ("base:1", "base:1", Shown::Gone, Some(shown("base:1")), &[("kept.pin_moved", Level::Note)]),
        ("base:1", "base:1", shown("new"), Some(Shown::Gone), &[("kept.pin_gone", Level::Warning)]),
        (
            "lost:1",
            "old",
            shown("new"),
            Some(Shown::Gone),
            &[("kept.pin_gone", Level::Problem), ("kept.absent", Level::Warning)],
        ),
        ("base:1", "other", shown("other"), None, &[("kept.moved", Level::Warning)]),
    ] {
        let found = judge(&seen(text, Some(pin), tag.clone(), pinned.clone()), Some(&inventory()), None);
        let got: Vec<_> = found.iter().map(|found| (found.id, found.level)).collect();
        assert_eq!(got, wanted, "{text} {tag:?} {pinned:?}");
    }
}

fn is_kept(text: &str) -> KeptStatus {
    KeptStatus { image: name(text).to_string(), present: true, ..KeptStatus::default() }
}

/// What is said of other quarters beside `c:2026q3`, which is here.
fn left_beside(seen: &KeptSeen, kept: Vec<KeptStatus>) -> Option<String> {
    let mut inventory = inventory();
    inventory.images.push(image("c:2026q3", 1, 1));
    let status = Status { kept, ..Status::default() };
    let found = judge(seen, Some(&inventory), Some(&status));
    found.into_iter().find(|found| found.id == "kept.left").map(|found| found.mend)
}

fn quarters(others: &[&str]) -> KeptSeen {
    let others = others.iter().map(|text| name(text)).collect();
    KeptSeen { others, ..seen("c:2026q3", None, Shown::Image(digest("c:2026q3")), None) }
}

#[test]
fn other_quarters_that_are_here_are_told_with_the_command_that_removes_them_or_brings_the_wanted_one() {
    let seen = quarters(&["c:2026q1", "c:2026q2"]);
    let left = left_beside(&seen, vec![is_kept("c:2026q3")]);
    assert_eq!(left.unwrap(), format!("docker rmi {} {}", name("c:2026q1"), name("c:2026q2")));
    let newer = judge(&seen, Some(&inventory()), None).pop().unwrap();
    assert_eq!((newer.id, newer.level), ("kept.newer", Level::Note));
    assert!(newer.mend.contains("layerkeeper prewarm"), "it comes by itself, or now");
}

#[test]
fn the_last_good_quarter_is_never_told_as_left() {
    let seen = quarters(&["c:2026q2"]);
    let q3 = || vec![is_kept("c:2026q3")];
    assert!(left_beside(&seen, q3()).is_some());
    let held = |held| KeptSeen { held, ..seen.clone() };
    assert_eq!(left_beside(&held(Held::To(vec!["file /a is not there".into()])), q3()), None, "it fails");
    assert_eq!(left_beside(&held(Held::Unknown("no space left".into())), q3()), None, "nobody knows");
    assert!(left_beside(&held(Held::To(Vec::new())), q3()).is_some());
    let moved = KeptSeen { tag: Shown::Image(digest("other")), ..seen.clone() };
    assert_eq!(left_beside(&moved, q3()), None, "it is another than the registry's");
    let unmet = KeptStatus { unmet_digest: Some(digest("c:2026q3").to_string()), ..is_kept("c:2026q3") };
    assert_eq!(left_beside(&seen, vec![unmet]), None, "the daemon says that it fails");
    assert_eq!(left_beside(&seen, vec![is_kept("c:2026q3"), is_kept("c:2026q2")]), None, "it is still kept");
    assert_eq!(left_beside(&quarters(&["c:2026q4"]), q3()), None, "it is yet to come");
}

#[test]
fn the_only_copy_of_a_pin_is_saved_before_anything_moves_its_name() {
    let mend = |text: &str, pin: &str, tag: Shown| {
        let found = judge(&seen(text, Some(pin), tag, Some(Shown::Gone)), Some(&inventory()), None);
        found[0].mend.clone()
    };
    let only = mend("base:1", "base:1", Shown::Image(digest("new")));
    let pushed = "docker tag ghcr.io/acme/base@sha256:";
    assert!(only.contains(pushed) && only.contains(" && docker push ghcr.io/acme/base:1-kept"), "{only}");
    let follow = format!("sudo layerkeeper pin ghcr.io/acme/base:1 --digest {} &&", digest("new"));
    assert!(only.find(pushed) < only.find(&follow), "{only}");
    let moved = mend("base:1", "lost", Shown::Image(digest("new")));
    assert!(moved.starts_with(&follow), "it is not here: {moved}");
    let gone = mend("base:1", "base:1", Shown::Gone);
    assert!(gone.contains(pushed) && gone.contains("push ghcr.io/acme/base:1 anew"), "{gone}");
    for mend in [only, moved, gone] {
        assert!(!mend.contains("docker pull"), "{mend}");
    }
}

#[test]
fn what_cannot_be_pulled_is_mended_without_a_program_that_debian_lacks() {
    let unfit = || Shown::Unfit("a build cache".to_owned());
    let mend = |pin, pinned| judge(&seen("base:1", pin, unfit(), pinned), Some(&inventory()), None)[0].mend.clone();
    let pinned = mend(Some("base:1"), Some(unfit()));
    assert!(pinned.starts_with("sudo layerkeeper pin ghcr.io/acme/base:1 --digest sha256:…"), "{pinned}");
    assert!(mend(None, None).starts_with("push an image for this engine as ghcr.io/acme/base:1"));
}

#[test]
fn what_its_registry_does_not_tell_is_mended_there_or_by_a_login_and_then_tried_by_a_command() {
    let found = judge(&seen("base:1", None, Shown::Unknown("403".to_owned()), None), Some(&inventory()), None);
    let mend = &found[0].mend;
    assert!(mend.contains("what is said of ghcr.io above") && mend.contains("may read acme/base"), "{mend}");
    assert!(mend.contains("layerkeeper prewarm ghcr.io/acme/base:1 --follow"), "{mend}");
}

#[test]
fn without_the_engine_the_registrys_side_is_judged() {
    let found = judge(&seen("base:1", None, Shown::Image(digest("x")), None), None, None);
    assert_eq!((found.len(), found[0].id), (1, "kept.ok"));
    assert_eq!(judge(&seen("base:1", None, Shown::Unasked, None), None, None)[0].level, Level::Note);
    assert_eq!(judge(&seen("base:1", None, Shown::Gone, None), None, None)[0].level, Level::Problem);
}

#[test]
fn what_is_expected_is_judged_by_what_is_here_and_by_what_the_daemon_let_in() {
    let mut here = seen("base:1", None, Shown::Image(digest("base:1")), None);
    let told = |here: &KeptSeen, status: Option<&KeptStatus>| {
        let kept = status.map(|kept| KeptStatus { image: name("base:1").to_string(), ..kept.clone() });
        let status = Status { kept: kept.into_iter().collect(), ..Status::default() };
        let found = judge(here, Some(&inventory()), Some(&status));
        found.iter().map(|found| (found.id, found.level, found.what.clone())).collect::<Vec<_>>()
    };
    here.held = Held::To(Vec::new());
    assert_eq!(told(&here, None)[0].0, "kept.ok");
    let status = KeptStatus {
        present: true,
        unmet: vec!["file /a is not there".to_owned()],
        unmet_digest: Some(digest("new").to_string()),
        ..KeptStatus::default()
    };
    let wrong = format!("{} of ghcr.io/acme/base:1 did not come in: file /a is not there", digest("new").short());
    assert_eq!(told(&here, Some(&status)), [("kept.assertion", Level::Warning, wrong)]);
    let nothing = KeptStatus { present: false, ..status };
    assert_eq!(told(&here, Some(&nothing))[0].1, Level::Problem);
    here.held = Held::To(vec!["label b is not there".to_owned(), "file /a is a directory".to_owned()]);
    let wrong = "ghcr.io/acme/base:1 is here and not as expected: label b is not there; file /a is a directory";
    assert_eq!(told(&here, None), [("kept.assertion", Level::Problem, wrong.to_owned())]);
    here.held = Held::Unknown("no space left".to_owned());
    assert_eq!(told(&here, None)[0].0, "kept.assertion_unknown");
}
