//! systemd: units that clean, by their files; and our own unit, by what systemd says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::cron;
use super::files::{Files, Root};
use super::scripts::{Does, of_command};
use crate::doctor::cleaners::aim::Aim;
use crate::doctor::cleaners::times::Times;
use crate::doctor::cleaners::unit_file::{Setting, UnitFile, minutes};
use crate::doctor::cleaners::{Cleaner, Kind, Schedule};
use crate::doctor::unit::{UNIT, UnitSeen, properties, read};

/// What the administrator wrote goes before what packages bring, `systemd.unit(5)`.
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
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
        let does = of_unit(files, unit);
        let bare = name.trim_end_matches(".service");
        let starts = |(timer, file): &&(&String, &UnitFile)| match file.last("Unit") {
            Some(unit) => unit == name,
            None => timer.trim_end_matches(".timer") == bare,
        };
        let mut starters = Vec::new();
        for (timer, file) in timers.iter().filter(starts) {
            for (unit, enabled) in instances(timer, &enabled) {
                let at = schedules(file, &unit);
                starters.extend(at.into_iter().map(|at| (Kind::Timer { unit: unit.clone(), enabled }, at)));
            }
        }
        if starters.is_empty() {
            let kind = |(unit, enabled)| (Kind::Service { unit, enabled }, Schedule::default());
            starters.extend(instances(name, &enabled).into_iter().map(kind));
        }
        for (place, does) in does {
            for (kind, schedule) in &starters {
                found.extend(cron::cleaners(does.clone(), kind, &place, schedule));
            }
        }
    }
    found
}

/// What each of a unit's commands does, and where that stands.
fn of_unit(files: &mut Files<'_>, unit: &UnitFile) -> Vec<(String, Does)> {
    let folder = unit.last("WorkingDirectory");
    let mut aim = Aim::default();
    let environment = unit.all("Environment").into_iter().flat_map(|setting| setting.value.split_whitespace());
    environment.for_each(|word| aim.set(word.trim_matches(['"', '\''])));
    let read = |Setting { value, place, .. }: Setting| (place, of_command(files, &value, folder, &aim));
    let mut all: Vec<(String, Does)> = unit.commands().into_iter().map(read).collect();
    // they come and go together
    let more = all.iter().any(|(_, does)| does.more);
    all.iter_mut().for_each(|(_, does)| does.more = more);
    all
}

/// Of a template those that are started with the host, else itself; of any other unit itself. Each with whether it is.
fn instances(unit: &str, enabled: &BTreeSet<String>) -> Vec<(String, bool)> {
    let Some((before, after)) = unit.split_once('@').filter(|(_, after)| after.starts_with('.')) else {
        return vec![(unit.to_owned(), enabled.contains(unit))];
    };
    let is_one =
        |name: &&String| name.split_once('@').is_some_and(|(name, rest)| name == before && rest.ends_with(after));
    let all: Vec<_> = enabled.iter().filter(is_one).map(|name| (name.clone(), true)).collect();
    if all.is_empty() { vec![(unit.to_owned(), false)] } else { all }
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
    for (name, unit) in &mut units {
        // in the order of their names; the same name nearer to the administrator goes before
        let mut drop_ins = BTreeMap::new();
        for folder in FOLDERS.iter().rev() {
            let folder = format!("{folder}/{name}.d");
            let named = files.names(&folder).into_iter().filter(|drop_in| drop_in.ends_with(".conf"));
            drop_ins.extend(named.map(|drop_in| (drop_in.clone(), format!("{folder}/{drop_in}"))));
        }
        for file in drop_ins.into_values() {
            unit.read(&files.text(&file).unwrap_or_default(), &file);
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

/// When a timer comes due: one for each calendar expression. `%i` there is the instance of a template.
fn schedules(timer: &UnitFile, name: &str) -> Vec<Schedule> {
    let delay = timer.last("RandomizedDelaySec").and_then(minutes).unwrap_or(0);
    let instance = name.split_once('@').map_or("", |(_, rest)| rest.trim_end_matches(".timer"));
    let calendar = timer.all("OnCalendar").into_iter().map(|setting| {
        let written = setting.value.replace("%i", instance).replace("%I", instance);
        let times = Times::calendar(&written).map(|times| times.delayed(delay));
        Schedule { written, times }
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

/// Is our unit installed, whether it runs or not?
pub fn is_installed(root: &Root) -> bool {
    FOLDERS.iter().any(|folder| root.at(format!("{folder}/{UNIT}")).exists())
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
    #[test]
    fn a_template_is_told_by_those_of_it_that_are_enabled() {
        let (_dir, root) = tree(&[
            ("/etc/systemd/system/docker-prune@.service", SERVICE),
            ("/etc/systemd/system/docker-prune@.timer", "[Timer]\nOnCalendar=%i\n"),
            ("/etc/systemd/system/timers.target.wants/docker-prune@weekly.timer", ""),
            ("/etc/systemd/system/timers.target.wants/other@daily.timer", ""),
            ("/etc/systemd/system/unused@.service", SERVICE),
        ]);
        let found = cleaners(&mut Files::new(&root));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].kind, Kind::Timer { unit: "docker-prune@weekly.timer".to_owned(), enabled: true });
        assert_eq!(found[0].schedule.to_string(), "every Monday at 00:00 (weekly)");
        assert_eq!(found[1].kind, Kind::Service { unit: "unused@.service".to_owned(), enabled: false });
    }

    #[test]
    fn a_unit_that_is_led_to_another_host_is_not_told() {
        let (_dir, root) = tree(&[
            (
                "/etc/systemd/system/there.service",
                "[Service]\nEnvironment=A=b \"DOCKER_HOST=ssh://web2\"\nExecStart=/usr/bin/docker system prune -af\n",
            ),
            ("/etc/systemd/system/here.service", SERVICE),
        ]);
        let found = cleaners(&mut Files::new(&root));
        let places: Vec<_> = found.iter().map(|cleaner| cleaner.place.as_str()).collect();
        assert_eq!(places, ["/etc/systemd/system/here.service:3"]);
    }

    #[test]
    fn a_unit_that_does_more_is_told_as_such() {
        let app = "[Service]\nWorkingDirectory=/opt/app\nExecStartPre=/usr/bin/docker image prune -f\n\
                   ExecStart=/bin/sh -c './serve'\n";
        let (_dir, root) = tree(&[
            ("/etc/systemd/system/app.service", app),
            ("/usr/local/lib/systemd/system/only.service", "[Service]\nExecStart=/bin/sh -c 'cd /opt/app; ./clean'\n"),
            ("/opt/app/clean", "#!/bin/sh\ndocker image prune -f\n"),
        ]);
        let found = cleaners(&mut Files::new(&root));
        let told: Vec<_> = found.iter().map(|cleaner| (cleaner.place.as_str(), cleaner.alone)).collect();
        assert_eq!(
            told,
            [("/etc/systemd/system/app.service:3", false), ("/usr/local/lib/systemd/system/only.service:2", true)]
        );
        assert_eq!(found[1].through.as_deref(), Some("/opt/app/clean:2"));
    }
}
