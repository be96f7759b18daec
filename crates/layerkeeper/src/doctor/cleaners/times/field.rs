//! One field of a crontab's line or of a calendar expression, as a set of numbers.

use std::ops::RangeInclusive;

/// What stands between the ends of a range in a crontab.
pub const DASH: &str = "-";
/// The same in a calendar expression.
pub const DOTS: &str = "..";

/// From 1 on.
pub const MONTHS: [(&str, u32); 12] = [
    ("jan", 1),
    ("feb", 2),
    ("mar", 3),
    ("apr", 4),
    ("may", 5),
    ("jun", 6),
    ("jul", 7),
    ("aug", 8),
    ("sep", 9),
    ("oct", 10),
    ("nov", 11),
    ("dec", 12),
];
/// Sunday is 0.
pub const WEEKDAYS: [(&str, u32); 7] =
    [("sun", 0), ("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6)];

/// `*`, `5`, `1-5`, `*/15`, `0/15`, `mon`, and lists of these; a bit per number. Names count by their first three letters.
pub fn field(text: &str, all: RangeInclusive<u32>, names: &[(&str, u32)], to: &str) -> Option<u64> {
    let number = |word: &str| {
        let short = word.get(..3).unwrap_or(word);
        let named = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(short)).map(|(_, number)| *number);
        let number = named.or_else(|| word.parse().ok())?;
        all.contains(&number).then_some(number)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (first, last) = match range.split_once(to) {
            _ if range == "*" => (*all.start(), *all.end()),
            Some((first, last)) => (number(first)?, number(last)?),
            // with a step, from there to the end
            None if step.is_some() => (number(range)?, *all.end()),
            None => (number(range)?, number(range)?),
        };
        // systemd refuses `Fri..Mon`; `22-2` is taken by Debian's cron, and by others in other ways
        if first > last {
            return None;
        }
        bits |= (first..=last).step_by(step.unwrap_or(1)).fold(0, |bits, number| bits | 1 << number);
    }
    Some(bits)
}
