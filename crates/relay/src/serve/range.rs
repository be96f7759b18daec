//! The `Range` header, as far as one range of bytes goes (RFC 9110, 14.1 and 14.2).

use std::ops::Range;

/// What a request asks of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: no range, one that is not understood, or several, which a server may ignore.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Beyond,
}

/// Reads the header for a blob of this size.
pub(crate) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(set) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Asked::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::Whole };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let range = match (first, last) {
        ("", suffix) => match number(suffix) {
            Some(0) => return Asked::Beyond,
            Some(length) => size.saturating_sub(length)..size,
            None => return Asked::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => first..size,
            None => return Asked::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
            _ => return Asked::Whole,
        },
    };
    if range.start >= range.end { Asked::Beyond } else { Asked::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_range_is_read_and_what_is_not_understood_is_ignored() {
        let read = |text: &str| asked(Some(text), 100);
        assert_eq!(asked(None, 100), Asked::Whole);
        assert_eq!(read("bytes=0-9"), Asked::Part(0..10));
        assert_eq!(read("bytes=90-"), Asked::Part(90..100));
        assert_eq!(read("bytes=90-1000"), Asked::Part(90..100));
        assert_eq!(read("bytes=-10"), Asked::Part(90..100));
        assert_eq!(read("bytes=-1000"), Asked::Part(0..100));
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(read(beyond), Asked::Beyond, "{beyond}");
        }
        for whole in ["bytes=9-5", "bytes=0-1,5-6", "lines=0-1", "bytes=a-b", "bytes=+1-2", "bytes=", "bytes=-"] {
            assert_eq!(read(whole), Asked::Whole, "{whole}");
        }
        assert_eq!(read("bytes=0-99999999999999999999999"), Asked::Whole);
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Beyond);
    }

    proptest! {
        #[test]
        fn any_text_gives_bytes_that_there_are(text in "(bytes=)?[0-9,-]{0,30}", size in 0u64..1000) {
            if let Asked::Part(range) = asked(Some(&text), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
