//! Cron: system and user crontabs, and the folders of scripts for each hour, day, week and month.

use super::files::Files;
use crate::doctor::cleaners::act::{Act, acts};
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
        for (act, through, command) in of_command(files, &entry.command) {
            found.push(Cleaner {
                kind: kind.clone(),
                place: format!("{file}:{}", entry.line),
                through,
                command,
                act,
                schedule: Schedule { written: entry.schedule.clone(), times: Times::cron(&entry.schedule) },
            });
        }
    }
    found
}

/// What a command does to images: by itself, or by the scripts that it calls; these are not followed further. With each
/// act the script (`FILE:LINE`) and the command as written there.
pub fn of_command(files: &mut Files<'_>, command: &str) -> Vec<(Act, Option<String>, String)> {
    let direct = acts(command);
    if !direct.is_empty() {
        return direct.into_iter().map(|act| (act, None, shown(command))).collect();
    }
    let words = command.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '(' | ')'));
    let scripts: Vec<&str> = words.filter(|word| word.starts_with('/')).collect();
    let mut found = Vec::new();
    for script in scripts {
        found.extend(of_script(files, script).into_iter().map(|(act, place, line)| (act, Some(place), line)));
    }
    found
}

/// With each act its `FILE:LINE` and the line.
fn of_script(files: &mut Files<'_>, path: &str) -> Vec<(Act, String, String)> {
    let text = files.text(path).unwrap_or_default();
    let lines = text.lines().enumerate().flat_map(|(index, line)| {
        acts(line).into_iter().map(move |act| (act, format!("{path}:{}", index + 1), shown(line)))
    });
    lines.collect()
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
        found.extend(of_script(files, &file).into_iter().map(|(act, place, command)| Cleaner {
            kind: Kind::Periodic,
            place,
            through: None,
            command,
            act,
            schedule: schedule.clone(),
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
