//! Sizes, shares and times in words.

use std::time::Duration;

use layerkeeper_core::time::human;
use layerkeeper_core::{Bytes, Timestamp};

/// `214 MB`
pub fn size(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// `3.20 GB`, or `?` where it is not known.
pub fn size_or_unknown(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), size)
}

/// `94 %`; rounded down, so that 100 means all of it.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "100 %".to_owned();
    }
    format!("{} %", u128::from(part) * 100 / u128::from(whole))
}

/// `1 layer`, `2 layers`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The same for a noun whose plural is irregular.
pub fn count_irregular(number: usize, noun: &str, plural: &str) -> String {
    format!("{number} {}", if number == 1 { noun } else { plural })
}

/// `3m 20s ago` or `in 2h 5m`, seen from `now`; both in milliseconds since the epoch.
pub fn relative(at: i64, now: i64) -> String {
    let (at, now) = (Timestamp(at), Timestamp(now));
    if at > now { format!("in {}", human(whole(at - now))) } else { format!("{} ago", human(whole(now - at))) }
}

/// The same, or `never`.
pub fn relative_or_never(at: Option<i64>, now: i64) -> String {
    at.map_or_else(|| "never".to_owned(), |at| relative(at, now))
}

/// `12s`
pub fn duration_ms(millis: u64) -> String {
    human(Duration::from_millis(millis))
}

/// `2026-11-24T03:00:00Z`
pub fn instant(at: i64) -> String {
    Timestamp(at).to_string()
}

/// The first twelve digits of a digest.
pub fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

/// `human` says milliseconds where there is no whole second; between two instants that means now.
fn whole(duration: Duration) -> Duration {
    if duration < Duration::from_secs(1) { Duration::from_secs(1) } else { duration }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_says_100_only_for_all_of_it() {
        assert_eq!(share(999, 1000), "99 %");
        assert_eq!(share(1000, 1000), "100 %");
        assert_eq!(share(0, 0), "100 %");
    }

    #[test]
    fn times_are_told_from_now() {
        assert_eq!(relative(1_000, 201_000), "3m 20s ago");
        assert_eq!(relative(201_000, 1_000), "in 3m 20s");
        assert_eq!(relative_or_never(None, 0), "never");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("x"), "x");
    }
}
