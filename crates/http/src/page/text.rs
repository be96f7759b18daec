//! Names, sizes, digests and instants, as the page shows them.

use std::time::Duration;

use layerkeeper_core::time::human;
use layerkeeper_core::{Bytes, Timestamp};
use maud::{Markup, html};

/// A name whose last part, which tells images apart, stands out; it may break anywhere.
pub fn name(full: &str) -> Markup {
    let split = full.rfind('/').map_or(0, |at| at + 1);
    let (path, last) = full.split_at(split);
    html! { span.name { span.quiet { (path) } (last) } }
}

/// The first twelve digits, as Docker prints them; the whole in the tooltip.
pub fn digest(full: &str) -> Markup {
    let hex = full.rsplit_once(':').map_or(full, |(_, hex)| hex);
    let short: String = hex.chars().take(12).collect();
    html! { code title=(full) { (short) } }
}

/// The first twelve digits of an id.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Decimal units.
pub fn size(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// An instant in UTC, to the minute: `2026-11-24 03:00 UTC`.
pub fn instant(ms: i64) -> Markup {
    let machine = Timestamp(ms).to_string();
    let shown = machine.get(..16).unwrap_or(&machine).replace('T', " ");
    html! { time datetime=(machine) { (shown) " UTC" } }
}

/// An instant in UTC as a form's field for time takes it: `2026-11-24T03:00`.
pub fn minute(ms: i64) -> String {
    let whole = Timestamp(ms).to_string();
    whole.get(..16).unwrap_or(&whole).to_owned()
}

/// How far away an instant is: `3m 20s ago`, `in 5h 2m`.
pub fn away(ms: i64, now: i64) -> Markup {
    let machine = Timestamp(ms).to_string();
    let shown = match ms.abs_diff(now) {
        0..1000 => "now".to_owned(),
        gap if ms > now => format!("in {}", human(Duration::from_millis(gap))),
        gap => format!("{} ago", human(Duration::from_millis(gap))),
    };
    html! { time datetime=(machine) title=(machine) { (shown) } }
}

/// The time between two instants.
pub fn span(from: i64, to: i64) -> String {
    human(Timestamp(to) - Timestamp(from))
}

/// `850ms`, `45s`
pub fn millis(ms: u64) -> String {
    human(Duration::from_millis(ms))
}

/// `12 %`, rounded down, so that less than all is never shown as 100 %; what is more than nothing is never shown as 0 %.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    match u128::from(part) * 100 / u128::from(whole) {
        0 if part > 0 => "< 1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// `1 image`, `2 images`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Says that a list is cut; the data behind the page has all of it.
pub fn more(all: usize, shown: usize, what: &str) -> Markup {
    html! { @if all > shown { p.quiet { "and " (all - shown) " more " (what) } } }
}

/// A square of a bar's colour.
pub fn swatch(class: &str) -> Markup {
    html! { svg.swatch aria-hidden="true" viewBox="0 0 10 10" { rect class=(class) width="10" height="10" {} } }
}

/// `2,400,000`
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A bar of parts of one whole; `label` says the same in words for those who do not see it.
pub fn bar(label: &str, parts: &[(&'static str, u64)], whole: u64) -> Markup {
    let mut x = 0.0;
    let placed = parts.iter().map(|(class, bytes)| {
        let width = if whole == 0 { 0.0 } else { (*bytes as f64 * 1000.0 / whole as f64).min(1000.0 - x) };
        // what moved at all is seen, and a gap of one unit keeps neighbours apart without colours
        let width = if *bytes > 0 { width.max(4.0) } else { 0.0 };
        let start = x.min(1000.0 - width);
        x += width;
        (*class, start, width)
    });
    html! {
        svg.bar role="img" aria-label=(label) viewBox="0 0 1000 10" preserveAspectRatio="none" {
            rect.track width="1000" height="10" {}
            @for (class, start, width) in placed {
                @if width > 0.0 { rect class=(class) x=(format!("{start:.1}")) width=(format!("{width:.1}")) height="10" {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_nothing_or_to_all() {
        assert_eq!(percent(0, 100), "0 %");
        assert_eq!(percent(1, 1000), "< 1 %");
        assert_eq!(percent(999, 1000), "99 %");
        assert_eq!(percent(1000, 1000), "100 %");
        assert_eq!(percent(1, 0), "–");
        assert_eq!(percent(62, 1000), "6 %");
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(
            ["0", "999", "1,000", "2,400,000"],
            [0, 999, 1000, 2_400_000].map(thousands).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn instants_are_shown_by_their_distance() {
        assert!(away(0, 200_000).into_string().contains("3m 20s ago"));
        assert!(away(3_600_000, 0).into_string().contains("in 1h 0m"));
        assert!(instant(1_795_489_200_000).into_string().contains("2026-11-24 03:00 UTC"));
    }

    #[test]
    fn a_bar_never_leaves_its_frame_and_shows_the_smallest_part() {
        let drawn = bar("x", &[("reused", 1_000_000), ("downloaded", 1)], 1_000_001).into_string();
        assert!(drawn.contains(r#"class="downloaded" x="996.0" width="4.0""#), "{drawn}");
        assert!(!bar("x", &[("downloaded", 0)], 10).into_string().contains("downloaded"));
    }

    #[test]
    fn names_break_before_their_last_part() {
        let shown = name("ghcr.io/acme/app:sha-1").into_string();
        assert_eq!(shown, r#"<span class="name"><span class="quiet">ghcr.io/acme/</span>app:sha-1</span>"#);
    }
}
