//! Reads `Retry-After`. RFC 9110, 10.2.3 allows seconds or a date; registries also send Go durations (`880µs`).

use std::time::{Duration, SystemTime};

const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(15 * 60);

/// How long to wait, within 1 s and 15 min; none where the value means nothing.
pub(crate) fn parse(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = String::from_utf8_lossy(value);
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
        // more digits than a u64 holds still say "very long"
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else if let Some(duration) = go_duration(text) {
        duration
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.clamp(LEAST, MOST))
}

/// Go's `time.ParseDuration`, without signs: `1h2m3.5s`, `880µs`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..letters] {
                "ns" => 1e-9,
                // the micro sign, the Greek letter, and the sign in Latin-1, which is no UTF-8
                "us" | "\u{b5}s" | "\u{3bc}s" | "\u{fffd}s" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<u64> {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        parse(value.as_bytes(), now).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_dates_and_go_durations_are_read() {
        assert_eq!(read("30"), Some(30));
        assert_eq!(read(" 30 "), Some(30));
        assert_eq!(read("Wed, 21 Oct 2026 07:29:30 GMT"), Some(90));
        assert_eq!(read("Wednesday, 21-Oct-26 07:29:30 GMT"), Some(90));
        assert_eq!(read("1m30.5s"), Some(90));
    }

    #[test]
    fn the_wait_is_clamped_at_both_ends() {
        assert_eq!(read("880µs"), Some(1));
        assert_eq!(parse(b"880\xb5s", SystemTime::now()), Some(LEAST));
        assert_eq!(read("0"), Some(1));
        assert_eq!(read("Wed, 21 Oct 2020 07:28:00 GMT"), Some(1));
        assert_eq!(read("86400"), Some(900));
        assert_eq!(read("99999999999999999999999999"), Some(900));
        assert_eq!(read("99999999h"), Some(900));
    }

    #[test]
    fn nonsense_is_no_wait() {
        for nonsense in ["", "soon", "-5", "1.5", "5 s", "5x", "..s", "NaNs", "infs", "Wed, 99 Oct 2026 07:28:00 GMT"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_the_limits(value in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(wait) = parse(&value, SystemTime::now()) {
                prop_assert!((LEAST..=MOST).contains(&wait));
            }
        }
    }
}
