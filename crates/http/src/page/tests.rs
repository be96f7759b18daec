//! The page of a host where much has happened, of one where nothing has, and of one with hostile names.

mod sample;
mod story;

use axum::http::HeaderValue;

use super::*;
use names::NamesData;
use sample::{NOW, sample};

#[test]
fn a_busy_host() {
    insta::assert_snapshot!(lines(&body(&sample())));
}

#[test]
fn a_host_on_its_first_day() {
    let status = Status { version: "0.1.0".into(), started_at: NOW - 500, now: NOW, ..Status::default() };
    insta::assert_snapshot!(lines(&body(&PageData { status, ..PageData::default() })));
}

#[test]
fn a_deploy_over_its_budget_with_its_layers_causes_times_and_removals() {
    insta::assert_snapshot!(lines(&job::job(&story::over_budget(), None, NOW)));
}

#[test]
fn a_deploy_that_was_refused_shows_what_it_would_have_moved() {
    let shown = lines(&job::job(&story::refused(), None, NOW));
    insta::assert_snapshot!(shown);
    assert!(!shown.contains("The pull of") && shown.contains("to fetch") && shown.contains("repeats 99 %"));
}

#[test]
fn a_deploy_that_failed_shows_each_pull_and_the_way_it_was_to_come() {
    let shown = lines(&job::job(&story::failed(), None, NOW));
    insta::assert_snapshot!(shown);
    let running = JobView { state: "running".into(), ..story::failed() };
    let shown = job::job(&running, None, NOW).into_string();
    assert!(!shown.contains("What brought no image"), "what its record says if the daemon ends: {shown}");
}

#[test]
fn jobs_of_all_kinds_a_row_each_and_the_way_to_older_ones() {
    let few = [story::over_budget(), story::refused()];
    insta::assert_snapshot!(lines(&jobs::jobs(&few, None, NOW)));
    let many = vec![story::refused(); jobs::ROWS];
    let shown = jobs::jobs(&many, Some("ghcr.io/acme/app:sha-2"), NOW).into_string();
    assert!(shown.contains("href=\"/jobs?before=7&amp;image=ghcr.io/acme/app:sha-2\""), "{shown}");
}

#[test]
fn what_stood_at_a_time_and_what_changed_before() {
    insta::assert_snapshot!(lines(&names::names(&story::names())));
    let one = NamesData { name: Some("ghcr.io/acme/base-images/cache-python:3.11".into()), ..story::names() };
    let shown = names::names(&one).into_string();
    assert!(shown.contains(&sample::digest("os")), "of one name the layers are listed: {shown}");
    assert!(shown.contains("/jobs?image=ghcr.io/acme/base-images/cache-python:3.11"), "{shown}");
    let none = NamesData { at: None, names: Vec::new(), ..one };
    assert!(names::names(&none).into_string().contains("is not known to have been here"));
}

#[test]
fn whatever_there_is_much_of_is_cut_and_says_so() {
    let mut whole = story::over_budget();
    let outcome = &mut whole.outcome;
    let prune = outcome.prune.as_mut().unwrap();
    prune.kept = vec![prune.kept[0].clone(); 5_000];
    prune.removals = vec![prune.removals[0].clone(); 5_000];
    outcome.warnings = vec!["once more".into(); 5_000];
    outcome.attempts = vec![story::failed().outcome.attempts[0].clone(); 5_000];
    let pull = outcome.pull.as_mut().unwrap();
    pull.layers = vec![pull.layers[0].clone(); 5_000];
    let shown = job::job(&whole, None, NOW).into_string();
    for cut in
        ["4900 more that stay", "4900 more that go", "4950 more warnings", "4950 more of these", "4850 more layers"]
    {
        assert!(shown.contains(cut), "{cut}");
    }
    assert!(shown.len() < 300_000, "{}", shown.len());
    let much = NamesData { names: vec![story::names().names[0].clone(); 5_000], ..story::names() };
    assert!(names::names(&much).into_string().contains("4800 more names"));
}

#[test]
fn the_first_line_says_how_things_are() {
    let line = |change: fn(&mut Status)| {
        let mut status = sample().status;
        status.disk.truncate(1);
        for kept in &mut status.kept {
            kept.unmet.clear();
            (kept.present, kept.last_error) = (true, None);
            (kept.pin_unresolvable, kept.tag_shows) = (false, None);
        }
        change(&mut status);
        verdict::title(&status)
    };
    assert_eq!(line(|_| ()), "✓ All 4 kept images are here");
    assert_eq!(line(|s| s.kept.truncate(1)), "✓ The kept image is here");
    assert_eq!(line(|s| s.kept[1].present = false), "✗ 1 of 4 kept images missing");
    assert_eq!(line(|s| s.kept[0].last_error = Some("x".into())), "! All 4 kept images are here, but look below");
    let unmet = |s: &mut Status| s.kept[0].unmet = vec!["file /a is not there".into()];
    assert_eq!(line(unmet), "! All 4 kept images are here, but look below");
    assert_eq!(line(|s| s.disk[0].free_bytes = 1), "! All 4 kept images are here, but look below");
    let moved_on = |s: &mut Status| (s.kept[0].pin_unresolvable, s.kept[0].tag_shows) = (true, Some("sha256:9".into()));
    assert_eq!(line(moved_on), "✓ All 4 kept images are here", "which is what a pin is for");
    assert_eq!(line(|s| s.kept[0].pin_unresolvable = true), "! All 4 kept images are here, but look below");
    assert_eq!(line(|s| s.engine.up = false), "✗ The Docker engine does not answer");
    assert_eq!(line(|s| s.ready = false), "… The first look at the engine is not done yet");
    assert_eq!(line(|s| s.kept.clear()), "– No kept images are configured");
}

#[test]
fn no_text_from_outside_becomes_markup() {
    let evil = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";
    let data = sample();
    let poisoned = PageData {
        status: poison_all(&data.status, evil),
        deploys: poison_all(&data.deploys, evil),
        events: poison_all(&data.events, evil),
        progress: poison_all(&data.progress, evil),
    };
    let of_a_job = |view: JobView| {
        let view = poison_all(&view, evil);
        [job::job(&view, None, NOW), jobs::jobs(&vec![view; jobs::ROWS], Some(evil), NOW)]
    };
    let NamesData { names: standing, changes, .. } = story::names();
    let name = Some(evil.to_owned());
    let (standing, changes) = (poison_all(&standing, evil), poison_all(&changes, evil));
    let named = NamesData { name, names: standing, changes, ..story::names() };
    let pages =
        [page(&poisoned), names::names(&named), names::names(&NamesData { names: Vec::new(), ..named.clone() })];
    let pages = pages.into_iter().chain([story::over_budget(), story::refused()].into_iter().flat_map(of_a_job));
    for shown in pages.map(Markup::into_string) {
        assert!(shown.contains("&lt;script&gt;"));
        for markup in ["<script", "<img", "\"'>"] {
            assert!(!shown.contains(markup), "{markup} in {shown}");
        }
    }
}

#[test]
fn the_policy_allows_this_very_style_and_no_script() {
    let policy = content_security_policy();
    assert_ne!(policy, HeaderValue::from_static("default-src 'none'"));
    let policy = policy.to_str().unwrap();
    let shown = page(&sample()).into_string();
    let (_, rest) = shown.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let hash = STANDARD.encode(Sha256::digest(style));
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
    assert!(!shown.contains(" style="), "an inline style would be blocked");
}

/// Every string of every type on the page, whatever it will be called tomorrow.
fn poison(value: &mut serde_json::Value, evil: &str) {
    match value {
        serde_json::Value::String(text) if text != "pulling" => *text = evil.to_owned(),
        serde_json::Value::Array(values) => values.iter_mut().for_each(|v| poison(v, evil)),
        serde_json::Value::Object(values) => values.values_mut().for_each(|v| poison(v, evil)),
        _ => {}
    }
}

fn poison_all<T: serde::Serialize + serde::de::DeserializeOwned>(of: &T, evil: &str) -> T {
    let mut value = serde_json::to_value(of).unwrap();
    poison(&mut value, evil);
    serde_json::from_value(value).unwrap()
}

/// One element a line, so that a change shows where it is.
fn lines(markup: &Markup) -> String {
    let shown = markup.clone().into_string();
    ["<section", "<tr", "<li", "<p", "<h", "<div", "</table", "<svg", "<td", "<th", "<footer"]
        .iter()
        .fold(shown, |shown, tag| shown.replace(tag, &format!("\n{tag}")))
}
