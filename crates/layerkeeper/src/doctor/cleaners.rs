//! Others on this host that remove images: what they run, when, and what that would take here.

pub mod act;
pub mod aim;
pub mod crontab;
pub mod judge;
pub mod removes;
pub mod shell;
pub mod times;
pub mod unit_file;

use std::fmt;

use chrono::NaiveDateTime;

use act::Act;
pub use removes::{Removes, Stock};
use times::Times;

/// One command that somebody else runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaner {
    /// What starts it.
    pub kind: Kind,
    /// Where that stands: `FILE:LINE`, or a container's name.
    pub place: String,
    /// The script that holds the command, `FILE:LINE`, where it is not written at `place` itself.
    pub through: Option<String>,
    /// The command that does it, or the image of a container.
    pub command: String,
    /// What starts it does nothing else that somebody would miss.
    pub alone: bool,
    /// What it does to images.
    pub act: Act,
    /// When.
    pub schedule: Schedule,
}

/// What starts a cleaner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A line in `/etc/crontab` or below `/etc/cron.d`.
    Crontab,
    /// A line in a user's own crontab.
    Spool {
        /// Whose.
        user: String,
    },
    /// A script below `/etc/cron.daily` and the like.
    Periodic,
    /// A systemd timer.
    Timer {
        /// `NAME.timer`
        unit: String,
        /// Is it started at boot?
        enabled: bool,
    },
    /// A systemd service without a timer.
    Service {
        /// `NAME.service`
        unit: String,
        /// Is it started at boot?
        enabled: bool,
    },
    /// A container.
    Container,
}

/// When a cleaner runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    /// As written; empty where nothing is.
    pub written: String,
    /// The minutes; none where they cannot be told.
    pub times: Option<Times>,
}

/// The cleaners that were due in this minute of the host's own time, or may have been where they are delayed at random.
pub fn scheduled_at(cleaners: &[Cleaner], minute: NaiveDateTime) -> Vec<&Cleaner> {
    let due = |cleaner: &&Cleaner| cleaner.schedule.times.is_some_and(|times| times.matches(minute));
    cleaners.iter().filter(|cleaner| cleaner.runs_by_itself()).filter(due).collect()
}

impl Cleaner {
    /// Is there anything that starts it?
    pub fn runs_by_itself(&self) -> bool {
        !matches!(self.kind, Kind::Timer { enabled: false, .. } | Kind::Service { enabled: false, .. })
    }
}

impl fmt::Display for Cleaner {
    /// `/etc/cron.d/cleanup:3`, and what it is where that is no cron line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Timer { unit, .. } | Kind::Service { unit, .. } => write!(f, "{unit} ({})", self.place),
            Kind::Container => write!(f, "the container {}", self.place),
            Kind::Crontab | Kind::Spool { .. } | Kind::Periodic => f.write_str(&self.place),
        }
    }
}

impl fmt::Display for Schedule {
    /// In words, and as written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.times.and_then(|times| times.words()), self.written.as_str()) {
            (Some(words), "") => f.write_str(&words),
            (Some(words), written) => write!(f, "{words} ({written})"),
            (None, "") => f.write_str("at times that are not written here"),
            (None, written) => write!(f, "by `{written}`"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::NaiveDate;

    use super::*;

    pub(crate) fn cron(line: &str, command: &str) -> Cleaner {
        Cleaner {
            kind: Kind::Crontab,
            place: "/etc/cron.d/cleanup:3".to_owned(),
            through: None,
            command: command.to_owned(),
            alone: true,
            act: act::acts(command).remove(0),
            schedule: Schedule { written: line.to_owned(), times: Times::cron(line) },
        }
    }

    #[test]
    fn who_was_due_in_a_minute_is_told() {
        let at = |hour, minute| NaiveDate::from_ymd_opt(2026, 11, 27).unwrap().and_hms_opt(hour, minute, 12).unwrap();
        let daily = cron("0 3 * * *", "docker system prune -af");
        let boot = cron("@reboot", "docker image prune -f");
        let off = Kind::Timer { unit: "prune.timer".to_owned(), enabled: false };
        let off = Cleaner { kind: off, ..daily.clone() };
        let all = [daily.clone(), boot, off];
        assert_eq!(scheduled_at(&all, at(3, 0)), [&daily]);
        assert!(scheduled_at(&all, at(3, 1)).is_empty());
        assert_eq!(format!("{daily}, {}", daily.schedule), "/etc/cron.d/cleanup:3, every day at 03:00 (0 3 * * *)");
        assert_eq!(all[1].schedule.to_string(), "by `@reboot`");
    }
}
