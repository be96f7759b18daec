//! The minutes at which a crontab's five fields, or a timer's `OnCalendar=`, come true, and the same in words.
//!
//! Sources: `crontab(5)`, `systemd.time(7)`. Of calendar expressions only the usual forms are read.

mod field;

use std::fmt::Write as _;

use chrono::{Datelike, NaiveDateTime, TimeDelta, Timelike};

use field::{DASH, DOTS, MONTHS, WEEKDAYS, field};

/// A day at most: what is spread over more is no time at which somebody could be said to have come.
const LONGEST_DELAY: u32 = 24 * 60;

/// A set of minutes, in the host's own time. Each number is a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
    /// Where both day and weekday are given, one of them is enough (`crontab(5)`).
    either: bool,
    /// It may begin up to so many minutes later (`RandomizedDelaySec=`).
    delay: u32,
}

impl Times {
    /// Five fields, or a word such as `@daily`. None for what is no time (`@reboot`) or cannot be read.
    pub fn cron(text: &str) -> Option<Self> {
        let fields: Vec<&str> = match text.trim() {
            "@hourly" => vec!["0", "*", "*", "*", "*"],
            "@daily" | "@midnight" => vec!["0", "0", "*", "*", "*"],
            "@weekly" => vec!["0", "0", "*", "*", "0"],
            "@monthly" => vec!["0", "0", "1", "*", "*"],
            "@yearly" | "@annually" => vec!["0", "0", "1", "1", "*"],
            text => text.split_whitespace().collect(),
        };
        let [minute, hour, day, month, weekday] = fields[..] else { return None };
        Some(Self {
            minutes: field(minute, 0..=59, &[], DASH)?,
            hours: field(hour, 0..=23, &[], DASH)?,
            days: field(day, 1..=31, &[], DASH)?,
            months: field(month, 1..=12, &MONTHS, DASH)?,
            weekdays: sunday(field(weekday, 0..=7, &WEEKDAYS, DASH)?),
            either: !day.starts_with('*') && !weekday.starts_with('*'),
            delay: 0,
        })
    }

    /// `[WEEKDAYS] [YEAR-MONTH-DAY] [HOUR:MINUTE[:SECOND]]`, or a word such as `daily`. None where a year, a time zone or
    /// the last days of a month are asked for.
    pub fn calendar(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "minutely" => "*:*",
            "hourly" => "*:0",
            "daily" | "midnight" => "0:0",
            "weekly" => "Mon 0:0",
            "monthly" => "*-*-1 0:0",
            "quarterly" => "*-1,4,7,10-1 0:0",
            "semiannually" | "semi-annually" => "*-1,7-1 0:0",
            "yearly" | "annually" | "anually" => "*-1-1 0:0",
            other => other,
        };
        let mut times = Self { hours: 1, minutes: 1, ..Self::cron("* * * * *")? };
        for word in text.split_whitespace() {
            if word.contains(':') {
                let mut parts = word.split(':');
                times.hours = field(parts.next()?, 0..=23, &[], DOTS)?;
                times.minutes = field(parts.next()?, 0..=59, &[], DOTS)?;
            } else if word.contains('-') {
                let parts: Vec<&str> = word.split('-').collect();
                let ([month, day] | ["*", month, day]) = parts[..] else { return None };
                times.months = field(month, 1..=12, &[], DOTS)?;
                times.days = field(day, 1..=31, &[], DOTS)?;
            } else {
                times.weekdays = sunday(field(word, 0..=7, &WEEKDAYS, DOTS)?);
            }
        }
        Some(times)
    }

    /// The same, begun up to so many minutes later.
    #[must_use]
    pub fn delayed(self, minutes: u32) -> Self {
        Self { delay: minutes.min(LONGEST_DELAY), ..self }
    }

    /// Does it begin in this minute, or may it, where it is delayed at random?
    pub fn matches(&self, minute: NaiveDateTime) -> bool {
        (0..=self.delay).any(|late| self.is_due(minute - TimeDelta::minutes(i64::from(late))))
    }

    fn is_due(&self, at: NaiveDateTime) -> bool {
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().num_days_from_sunday());
        let on_this_day = if self.either { day || weekday } else { day && weekday };
        has(self.minutes, at.minute()) && has(self.hours, at.hour()) && has(self.months, at.month()) && on_this_day
    }

    /// Such as `every day at 03:00`, `every Sunday at 04:30`, `every 5 minutes`. None where the fields say it shorter.
    pub fn words(&self) -> Option<String> {
        let mut words = match (numbers(self.hours, 24)[..].len(), &numbers(self.minutes, 60)[..]) {
            (1, [minute]) => format!("{} at {}", self.day_words()?, clock(numbers(self.hours, 24)[0], *minute)),
            (2..=4, [minute]) => {
                let each: Vec<String> = numbers(self.hours, 24).iter().map(|hour| clock(*hour, *minute)).collect();
                format!("{} at {}", self.day_words()?, each.join(", "))
            }
            (24, [minute]) if self.is_daily() => format!("every hour at minute {minute}"),
            (24, minutes) if self.is_daily() => match step(minutes, 60)? {
                1 => "every minute".to_owned(),
                step => format!("every {step} minutes"),
            },
            (_, [0]) if self.is_daily() => format!("every {} hours", step(&numbers(self.hours, 24), 24)?),
            _ => return None,
        };
        if self.delay > 0 {
            let _ = write!(words, ", up to {} minutes later", self.delay);
        }
        Some(words)
    }

    fn is_daily(&self) -> bool {
        self.every_day() && self.every_weekday() && numbers(self.months, 13).len() == 12
    }

    fn every_day(&self) -> bool {
        numbers(self.days, 32).len() == 31
    }

    fn every_weekday(&self) -> bool {
        numbers(self.weekdays, 7).len() == 7
    }

    fn day_words(&self) -> Option<String> {
        if self.is_daily() {
            return Some("every day".to_owned());
        }
        let every_month = numbers(self.months, 13).len() == 12;
        match (self.every_day(), self.every_weekday(), every_month) {
            (true, false, true) => {
                const NAMES: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
                let named: Vec<&str> = numbers(self.weekdays, 7).iter().map(|day| NAMES[*day as usize]).collect();
                Some(if named == NAMES[1..6] {
                    "Monday to Friday".into()
                } else {
                    format!("every {}", named.join(", "))
                })
            }
            (false, true, true) => match numbers(self.days, 32)[..] {
                [day] => Some(format!("on day {day} of every month")),
                _ => None,
            },
            _ => None,
        }
    }
}

/// 7 is Sunday too.
fn sunday(bits: u64) -> u64 {
    if has(bits, 7) { (bits | 1) & 0x7f } else { bits }
}

fn has(bits: u64, number: u32) -> bool {
    bits & (1 << number) != 0
}

fn numbers(bits: u64, below: u32) -> Vec<u32> {
    (0..below).filter(|number| has(bits, *number)).collect()
}

/// Every so many, from 0 on and all round.
fn step(numbers: &[u32], round: u32) -> Option<u32> {
    let step = if numbers.len() > 1 { numbers[1] } else { return None };
    let all = (0..round).step_by(step as usize);
    (numbers[0] == 0 && round.is_multiple_of(step) && all.eq(numbers.iter().copied())).then_some(step)
}

fn clock(hour: u32, minute: u32) -> String {
    format!("{hour:02}:{minute:02}")
}

#[cfg(test)]
mod tests;
