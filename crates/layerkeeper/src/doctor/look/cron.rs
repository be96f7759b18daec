//! Cron: system and user crontabs, and the folders of scripts for each hour, day, week and month.

use super::files::Files;
use super::scripts::{Does, of_command, of_script};
use crate::doctor::cleaners::aim::Aim;
use crate::doctor::cleaners::crontab::{Entry, entries};
use crate::doctor::cleaners::times::Times;
use crate::doctor::cleaners::{Cleaner, Kind, Schedule};

const PERIODS: [&str; 4] = ["hourly", "daily", "weekly", "monthly"];
const SPOOLS: [&str; 2] = ["/var/spool/cron/crontabs", "/var/spool/cron"];
/// What packages and editors leave beside a file is not run.
const LEFT_BEHIND: [&str; 8] = ["~", ".bak", ".swp", ".disabled", ".rpmsave", ".rpmnew", ".rpmorig", ",v"];

/// Every cleaner that cron starts.
pub fn look(files: &mut Files<'_>) -> Vec<Cleaner> {
    let mut found = Vec::new();
    let mut system = vec!["/etc/crontab".to_owned()];
    let named = files.names("/etc/cron.d");
    system.extend(named.iter().filter(|name| is_run(files, name)).map(|name| format!("/etc/cron.d/{name}")));
    let mut read: Vec<Entry> = Vec::new();
    for file in system {
        let all = files.text(&file).map(|text| entries(&text, true)).unwrap_or_default();
        found.extend(of_entries(files, &file, &all, &Kind::Crontab));
        read.extend(all);
    }
    for spool in SPOOLS {
        for user in files.names(spool) {
            let file = format!("{spool}/{user}");
            let all = files.text(&file).map(|text| entries(&text, false)).unwrap_or_default();
            found.extend(of_entries(files, &file, &all, &Kind::Spool { user }));
        }
    }
    for period in PERIODS {
        found.extend(periodic(files, period, &read));
    }
    found
}

/// Debian's cron, and its `run-parts`, take only plain names.
fn is_run(files: &Files<'_>, name: &str) -> bool {
    let plain = name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
    plain || !files.is_there("/etc/debian_version") && !LEFT_BEHIND.iter().any(|end| name.ends_with(end))
}

fn of_entries(files: &mut Files<'_>, file: &str, all: &[Entry], kind: &Kind) -> Vec<Cleaner> {
    let mut found = Vec::new();
    for entry in all {
        let user = match kind {
            Kind::Spool { user } => Some(user),
            _ => entry.user.as_ref(),
        };
        let does = of_command(files, &entry.command, user.map(|user| home(user)).as_deref(), &entry.aim);
        let schedule = Schedule { written: entry.schedule.clone(), times: Times::cron(&entry.schedule) };
        found.extend(cleaners(does, kind, &format!("{file}:{}", entry.line), &schedule));
    }
    found
}

/// Where cron starts a user's commands; where homes usually are.
fn home(user: &str) -> String {
    if user == "root" { "/root".to_owned() } else { format!("/home/{user}") }
}

/// Each step of what is started at a place.
pub fn cleaners(does: Does, kind: &Kind, place: &str, schedule: &Schedule) -> Vec<Cleaner> {
    let steps = does.steps.into_iter().map(|(step, through)| Cleaner {
        kind: kind.clone(),
        place: place.to_owned(),
        through,
        command: shown(&step.command),
        alone: !does.more,
        act: step.act,
        schedule: schedule.clone(),
    });
    steps.collect()
}

fn periodic(files: &mut Files<'_>, period: &str, crontab: &[Entry]) -> Vec<Cleaner> {
    let folder = format!("/etc/cron.{period}");
    // anacron runs them when it finds the time
    let anacron = period != "hourly" && files.is_there("/usr/sbin/anacron");
    let by = crontab.iter().find(|entry| entry.command.contains(&folder)).filter(|_| !anacron);
    let schedule = match by {
        Some(entry) => Schedule { written: entry.schedule.clone(), times: Times::cron(&entry.schedule) },
        None => Schedule { written: period.to_owned(), times: None },
    };
    let mut found = Vec::new();
    for name in files.names(&folder) {
        let file = format!("{folder}/{name}");
        if !is_run(files, &name) || !files.is_executable(&file) {
            continue;
        }
        let scripts = cleaners(of_script(files, &file, &Aim::default()), &Kind::Periodic, &file, &schedule);
        // the script is the place itself
        found.extend(scripts.into_iter().map(|cleaner| Cleaner {
            place: cleaner.through.unwrap_or(cleaner.place),
            through: None,
            ..cleaner
        }));
    }
    found
}

/// At most so much of a line is shown.
fn shown(command: &str) -> String {
    const LONGEST: usize = 160;
    let command = command.trim();
    match command.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &command[..end]),
        None => command.to_owned(),
    }
}

#[cfg(test)]
mod tests;
