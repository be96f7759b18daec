//! systemd: units that clean, by their files; and our own unit, by what systemd says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::cron::of_command;
use super::files::{Files, Root};
use crate::doctor::cleaners::times::Times;
use crate::doctor::cleaners::unit_file::{Setting, UnitFile, minutes};
use crate::doctor::cleaners::{Cleaner, Kind, Schedule};
use crate::doctor::unit::{UNIT, UnitSeen, properties, read};

/// What the administrator wrote goes before what packages bring, `systemd.unit(5)`.
const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Timers that count from some event and not by the clock.
const MONOTONIC: [&str; 5] = ["OnUnitActiveSec", "OnUnitInactiveSec", "OnBootSec", "OnStartupSec", "OnActiveSec"];
const ASKED: Duration = Duration::from_secs(5);

/// Every cleaner that systemd starts.
pub fn cleaners(files: &mut Files<'_>) -> Vec<Cleaner> {
    let units = units(files);
    let enabled = enabled(files);
    let timers: Vec<(&String, &UnitFile)> = units.iter().filter(|(name, _)| name.ends_with(".timer")).collect();
    let mut found = Vec::new();
    for (name, unit) in units.iter().filter(|(name, _)| name.ends_with(".service")) {
        let bare = name.trim_end_matches(".service");
        let starts = |(timer, file): &&(&String, &UnitFile)| match file.last("Unit") {
            Some(unit) => unit == name,
            None => timer.trim_end_matches(".timer") == bare,
        };
        let starters: Vec<_> = timers.iter().filter(starts).collect();
        for Setting { value, place, .. } in unit.commands() {
            for (act, through, command) in of_command(files, &value) {
                let cleaner = |kind, schedule| Cleaner {
                    kind,
                    place: place.clone(),
                    through: through.clone(),
                    command: command.clone(),
                    act: act.clone(),
                    schedule,
                };
                for (timer, file) in &starters {
                    let kind = Kind::Timer { unit: (*timer).clone(), enabled: enabled.contains(*timer) };
                    found.extend(schedules(file).into_iter().map(|schedule| cleaner(kind.clone(), schedule)));
                }
                if starters.is_empty() {
                    let kind = Kind::Service { unit: name.clone(), enabled: enabled.contains(name) };
                    found.push(cleaner(kind, Schedule::default()));
                }
            }
        }
    }
    found
}

/// All services and timers, drop-ins included, by name. Masked ones are left out.
fn units(files: &mut Files<'_>) -> BTreeMap<String, UnitFile> {
    let mut units = BTreeMap::new();
    let mut masked = BTreeSet::new();
    for folder in FOLDERS {
        for name in files.names(folder) {
            let is_unit = name.ends_with(".service") || name.ends_with(".timer");
            if !is_unit || units.contains_key(&name) || masked.contains(&name) {
                continue;
            }
            let file = format!("{folder}/{name}");
            if files.link(&file).is_some_and(|to| to == Path::new("/dev/null")) {
                masked.insert(name);
            } else if let Some(text) = files.text(&file) {
                let mut unit = UnitFile::default();
                unit.read(&text, &file);
                units.insert(name, unit);
            }
        }
    }
    // what the administrator adds comes last
    for (name, unit) in &mut units {
        for folder in FOLDERS.iter().rev() {
            let folder = format!("{folder}/{name}.d");
            for drop_in in files.names(&folder).iter().filter(|drop_in| drop_in.ends_with(".conf")) {
                let file = format!("{folder}/{drop_in}");
                unit.read(&files.text(&file).unwrap_or_default(), &file);
            }
        }
    }
    units
}

/// Names of units that others want, and that are hence started with the host.
fn enabled(files: &mut Files<'_>) -> BTreeSet<String> {
    let mut enabled = BTreeSet::new();
    for folder in FOLDERS {
        let wanted =
            files.names(folder).into_iter().filter(|name| name.ends_with(".wants") || name.ends_with(".requires"));
        for name in wanted.collect::<Vec<_>>() {
            enabled.extend(files.names(&format!("{folder}/{name}")));
        }
    }
    enabled
}

/// When a timer comes due: one for each calendar expression.
fn schedules(timer: &UnitFile) -> Vec<Schedule> {
    let delay = timer.last("RandomizedDelaySec").and_then(minutes).unwrap_or(0);
    let calendar = timer.all("OnCalendar").into_iter().map(|setting| Schedule {
        written: setting.value.clone(),
        times: Times::calendar(&setting.value).map(|times| times.delayed(delay)),
    });
    let mut all: Vec<Schedule> = calendar.collect();
    let counted: Vec<String> = MONOTONIC
        .iter()
        .flat_map(|key| timer.all(key))
        .map(|setting| format!("{}={}", setting.key, setting.value))
        .collect();
    if !counted.is_empty() {
        all.push(Schedule { written: counted.join(", "), times: None });
    }
    all
}

/// Our own unit.
pub async fn unit(root: &Root) -> UnitSeen {
    if !root.is_own() {
        return UnitSeen::Unknown("another tree than this host's is looked at".to_owned());
    }
    if !Path::new("/run/systemd/system").is_dir() {
        return UnitSeen::Unknown("this host was not started by systemd".to_owned());
    }
    let mut command = tokio::process::Command::new("systemctl");
    command.args(["show", "--no-pager", "--property"]).arg(properties()).arg(UNIT);
    command.stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(ASKED, command.output()).await {
        Ok(Ok(output)) if output.status.success() => read(&String::from_utf8_lossy(&output.stdout)),
        Ok(Ok(output)) => UnitSeen::Unknown(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Ok(Err(error)) => UnitSeen::Unknown(format!("systemctl cannot be run: {error}")),
        Err(_) => UnitSeen::Unknown(format!("systemctl gave no answer within {} s", ASKED.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const SERVICE: &str = "[Service]\nType=oneshot\nExecStart=/usr/bin/docker system prune -af\n";

    fn tree(all: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for (path, text) in all {
            fs::create_dir_all(root.at(path).parent().unwrap()).unwrap();
            fs::write(root.at(path), text).unwrap();
        }
        (dir, root)
    }

    #[test]
    fn a_service_is_told_by_its_timer_and_a_drop_in_moves_it() {
        let timer = "[Timer]\nOnCalendar=daily\nRandomizedDelaySec=1h\n";
        let (_dir, root) = tree(&[
            ("/usr/lib/systemd/system/docker-prune.service", SERVICE),
            ("/usr/lib/systemd/system/docker-prune.timer", timer),
            ("/etc/systemd/system/docker-prune.timer.d/at.conf", "[Timer]\nOnCalendar=\nOnCalendar=Sun 04:00\n"),
            ("/etc/systemd/system/timers.target.wants/docker-prune.timer", ""),
        ]);
        let found = cleaners(&mut Files::new(&root));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].kind, Kind::Timer { unit: "docker-prune.timer".to_owned(), enabled: true });
        assert_eq!(found[0].place, "/usr/lib/systemd/system/docker-prune.service:3");
        assert_eq!(found[0].schedule.to_string(), "every Sunday at 04:00, up to 60 minutes later (Sun 04:00)");
    }

    #[test]
    fn a_timer_of_another_name_one_that_counts_and_one_that_is_off_are_told() {
        let (_dir, root) = tree(&[
            ("/etc/systemd/system/a.service", SERVICE),
            ("/etc/systemd/system/b.timer", "[Timer]\nUnit=a.service\nOnUnitActiveSec=6h\n"),
        ]);
        let found = cleaners(&mut Files::new(&root));
        assert_eq!(found[0].kind, Kind::Timer { unit: "b.timer".to_owned(), enabled: false });
        assert_eq!(found[0].schedule.to_string(), "by `OnUnitActiveSec=6h`");
    }

    #[test]
    fn a_service_without_a_timer_is_told_and_one_that_is_masked_is_not() {
        let (_dir, root) = tree(&[
            ("/etc/systemd/system/gc.service", "[Service]\nExecStart=-/usr/local/bin/gc\n"),
            ("/usr/local/bin/gc", "#!/bin/sh\ndocker image prune -f\n"),
            ("/etc/systemd/system/multi-user.target.wants/gc.service", ""),
            ("/usr/lib/systemd/system/masked.service", SERVICE),
        ]);
        symlink("/dev/null", root.at("/etc/systemd/system/masked.service")).unwrap();
        let found = cleaners(&mut Files::new(&root));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].kind, Kind::Service { unit: "gc.service".to_owned(), enabled: true });
        assert_eq!(found[0].through.as_deref(), Some("/usr/local/bin/gc:2"));
    }
}
