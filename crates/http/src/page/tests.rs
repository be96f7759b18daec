//! The page of a host where much has happened, of one where nothing has, and of one with hostile names.

mod sample;

use axum::http::HeaderValue;

use super::*;
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
fn the_first_line_says_how_things_are() {
    let line = |change: fn(&mut Status)| {
        let mut status = sample().status;
        status.disk.truncate(1);
        for kept in &mut status.kept {
            (kept.present, kept.last_error, kept.pin_unresolvable) = (true, None, false);
            kept.unmet.clear();
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
    assert_eq!(line(|s| s.engine.up = false), "✗ The Docker engine does not answer");
    assert_eq!(line(|s| s.ready = false), "… The first look at the engine is not done yet");
    assert_eq!(line(|s| s.kept.clear()), "– No kept images are configured");
}

#[test]
fn no_text_from_outside_becomes_markup() {
    let evil = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";
    // every string of every type on the page, whatever it will be called tomorrow
    fn poison(value: &mut serde_json::Value, evil: &str) {
        match value {
            serde_json::Value::String(text) if text != "pulling" => *text = evil.to_owned(),
            serde_json::Value::Array(values) => values.iter_mut().for_each(|v| poison(v, evil)),
            serde_json::Value::Object(values) => values.values_mut().for_each(|v| poison(v, evil)),
            _ => {}
        }
    }
    fn poisoned<T: serde::Serialize + serde::de::DeserializeOwned>(of: &T, evil: &str) -> T {
        let mut value = serde_json::to_value(of).unwrap();
        poison(&mut value, evil);
        serde_json::from_value(value).unwrap()
    }
    let data = sample();
    let poisoned = PageData {
        status: poisoned(&data.status, evil),
        deploys: poisoned(&data.deploys, evil),
        events: poisoned(&data.events, evil),
        progress: poisoned(&data.progress, evil),
    };
    let shown = page(&poisoned).into_string();
    assert!(shown.contains("&lt;script&gt;"));
    for markup in ["<script", "<img", "\"'>"] {
        assert!(!shown.contains(markup), "{markup}");
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

/// One element a line, so that a change shows where it is.
fn lines(markup: &Markup) -> String {
    let shown = markup.clone().into_string();
    ["<section", "<tr", "<li", "<p", "<h", "<div", "</table", "<svg", "<td", "<th", "<footer"]
        .iter()
        .fold(shown, |shown, tag| shown.replace(tag, &format!("\n{tag}")))
}
