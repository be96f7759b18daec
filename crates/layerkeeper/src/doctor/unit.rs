//! The systemd unit as it is in force, against the one that is shipped.

use std::collections::BTreeMap;

use super::cleaners::unit_file::UnitFile;
use super::finding::{Finding, Level};

/// The unit's name.
pub const UNIT: &str = "layerkeeper.service";

/// What is shipped.
const SHIPPED: &str = include_str!("../../../../systemd/layerkeeper.service");

/// What keeps the daemon in its sandbox; each is either on, or named as shipped.
const SANDBOX: [&str; 20] = [
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "PrivateMounts",
    "DevicePolicy",
    "ProtectProc",
    "ProcSubset",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "NoNewPrivileges",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RemoveIPC",
    "LockPersonality",
    "MemoryDenyWriteExecute",
];

/// What else is asked for.
const OTHERS: [&str; 8] = [
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "User",
    "SupplementaryGroups",
    "FragmentPath",
    "DropInPaths",
];

/// What systemd says of the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitSeen {
    /// Its properties, as `systemctl show` prints them.
    Shown(BTreeMap<String, String>),
    /// There is no systemd to ask, or it gave no answer.
    Unknown(String),
}

/// The properties to ask for.
pub fn properties() -> String {
    [&SANDBOX[..], &OTHERS[..]].concat().join(",")
}

/// Reads what `systemctl show` prints.
pub fn read(text: &str) -> UnitSeen {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    UnitSeen::Shown(pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect())
}

/// Judges it.
pub fn judge(seen: &UnitSeen) -> Vec<Finding> {
    let shown = match seen {
        UnitSeen::Shown(shown) => shown,
        UnitSeen::Unknown(cause) => {
            let note = Finding::new(Level::Note, "unit.unknown", format!("systemd tells nothing of {UNIT}: {cause}"));
            let mend = format!(
                "sudo systemctl show {UNIT} says more where systemd runs; elsewhere start the daemon by what restarts it when \
                 it ends, as a user of its own"
            );
            return vec![note.why("Whatever runs the daemon here has to restart and confine it").mend(mend)];
        }
    };
    let value = |key: &str| shown.get(key).map_or("", String::as_str);
    if value("LoadState") != "loaded" {
        let what = format!("systemd has no {UNIT} ({})", value("LoadState"));
        let note =
            Finding::new(Level::Note, "unit.absent", what).why("The daemon is not started at boot, nor confined");
        return vec![note.mend("sudo ./deploy/install.sh, from the release")];
    }
    let mut found: Vec<Finding> =
        [state(shown), reload(shown), user(shown), group(shown), sandbox(shown)].into_iter().flatten().collect();
    if found.is_empty() {
        let user = value("User");
        found.push(Finding::ok("unit.ok", format!("{UNIT} is enabled, runs as {user}, and its sandbox is as shipped")));
    }
    found
}

type Shown = BTreeMap<String, String>;

fn state(shown: &Shown) -> Option<Finding> {
    let state = shown.get("UnitFileState").filter(|state| matches!(state.as_str(), "disabled" | "masked"))?;
    let found = Finding::new(Level::Warning, "unit.disabled", format!("{UNIT} is {state}"));
    Some(found.why("It does not start with the host").mend(format!("sudo systemctl enable --now {UNIT}")))
}

fn reload(shown: &Shown) -> Option<Finding> {
    shown.get("NeedDaemonReload").filter(|value| *value == "yes")?;
    let found = Finding::new(Level::Note, "unit.changed", format!("{UNIT} has changed on disk since systemd read it"));
    let found = found.why("What its files say is not what is in force");
    Some(found.mend(format!("sudo systemctl daemon-reload && sudo systemctl restart {UNIT}")))
}

fn user(shown: &Shown) -> Option<Finding> {
    shown.get("User").filter(|user| matches!(user.as_str(), "" | "root" | "0"))?;
    let found = Finding::new(Level::Warning, "unit.root", format!("{UNIT} runs as root"));
    let found =
        found.why("A bug in what reads strangers' requests would have the whole host, not only Docker's socket");
    Some(found.mend(put_right(shown, &[("User", "layerkeeper".to_owned())])))
}

fn group(shown: &Shown) -> Option<Finding> {
    let groups = shown.get("SupplementaryGroups")?;
    let root = shown.get("User").is_none_or(|user| matches!(user.as_str(), "" | "root" | "0"));
    if root || groups.split_whitespace().any(|group| group == "docker") {
        return None;
    }
    let found =
        Finding::new(Level::Note, "unit.group", format!("{UNIT} is not in the group docker (but in \"{groups}\")"));
    let found = found.why("Without the group of the engine's socket the daemon cannot reach the engine");
    Some(
        found
            .mend("ls -l /run/docker.sock shows the group; sudo systemctl edit layerkeeper, SupplementaryGroups=GROUP"),
    )
}

fn sandbox(shown: &Shown) -> Option<Finding> {
    let mut shipped = UnitFile::default();
    shipped.read(SHIPPED, "");
    let mut weaker = Vec::new();
    let mut wanted = Vec::new();
    for key in SANDBOX {
        let Some((ours, got)) = shipped.last(key).zip(shown.get(key)) else { continue };
        if is_weaker(ours, got) {
            weaker.push(format!("{key}={got} (shipped: {ours})"));
            wanted.push((key, ours.to_owned()));
        }
    }
    if weaker.is_empty() {
        return None;
    }
    let drop_ins = shown.get("DropInPaths").filter(|paths| !paths.is_empty());
    let by = drop_ins.map(|paths| format!(", by {paths}")).unwrap_or_default();
    let found = Finding::new(
        Level::Warning,
        "unit.sandbox",
        format!("{UNIT} is less confined than shipped{by}: {}", weaker.join(", ")),
    );
    let found = found.why("The sandbox is there for bugs in the code that reads what strangers send");
    Some(found.mend(put_right(shown, &wanted)))
}

/// A newer systemd may know stricter words than those that are shipped.
fn is_weaker(wanted: &str, got: &str) -> bool {
    match (wanted, got) {
        ("yes", "no" | "") => true,
        ("yes", _) => false,
        // such as ProtectSystem=strict
        (wanted, got) => wanted != got,
    }
}

/// By hand: `systemctl revert` would take every drop-in away, those that the daemon needs too.
fn put_right(shown: &Shown, wanted: &[(&str, String)]) -> String {
    let listed = |lines: Vec<String>| lines.join(", ");
    let keys = wanted.iter().map(|(key, _)| format!("{key}=")).collect();
    let ours = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let path = |key: &str| shown.get(key).map_or("", String::as_str);
    let unit = path("FragmentPath");
    let change = match path("DropInPaths") {
        "" => format!("write {} into {}", listed(ours), if unit.is_empty() { UNIT } else { unit }),
        drop_ins if !drop_ins.contains(' ') => format!("take {} out of {drop_ins}", listed(keys)),
        drop_ins => {
            let any = wanted.iter().map(|(key, _)| *key).collect::<Vec<_>>().join("|");
            format!("take {} out of where `grep -nE '^({any})=' {unit} {drop_ins}` finds it last", listed(keys))
        }
    };
    format!("{change}, then sudo systemctl daemon-reload && sudo systemctl restart layerkeeper")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd shows the shipped unit.
    fn shipped() -> Shown {
        let mut unit = UnitFile::default();
        unit.read(SHIPPED, "");
        let mut shown: Shown =
            SANDBOX.iter().map(|key| ((*key).to_owned(), unit.last(key).unwrap_or_default().to_owned())).collect();
        for (key, value) in [
            ("LoadState", "loaded"),
            ("UnitFileState", "enabled"),
            ("NeedDaemonReload", "no"),
            ("User", "layerkeeper"),
            ("SupplementaryGroups", "docker"),
        ] {
            shown.insert(key.to_owned(), value.to_owned());
        }
        shown
    }

    fn ids(changes: &[(&str, &str)]) -> Vec<(&'static str, Level)> {
        let mut shown = shipped();
        shown.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        judge(&UnitSeen::Shown(shown)).iter().map(|found| (found.id, found.level)).collect()
    }

    #[test]
    fn every_property_that_is_compared_is_shipped() {
        assert!(
            SANDBOX.iter().all(|key| shipped().get(*key).is_some_and(|value| !value.is_empty())),
            "{:?}",
            shipped()
        );
        assert_eq!(ids(&[]), [("unit.ok", Level::Ok)]);
    }

    #[test]
    fn what_is_less_confined_than_shipped_is_a_warning() {
        assert_eq!(ids(&[("ProtectSystem", "full")]), [("unit.sandbox", Level::Warning)]);
        assert_eq!(ids(&[("NoNewPrivileges", "no")]), [("unit.sandbox", Level::Warning)]);
        assert_eq!(ids(&[("ProtectControlGroups", "strict")]), [("unit.ok", Level::Ok)], "stricter is fine");
        let mut shown = shipped();
        shown.remove("ProtectClock");
        assert_eq!(judge(&UnitSeen::Shown(shown))[0].id, "unit.ok", "an old systemd does not know it");
        let mut shown = shipped();
        shown.insert("MemoryDenyWriteExecute".to_owned(), "no".to_owned());
        shown.insert("DropInPaths".to_owned(), "/etc/x.conf".to_owned());
        let what = &judge(&UnitSeen::Shown(shown))[0].what;
        assert!(what.ends_with("than shipped, by /etc/x.conf: MemoryDenyWriteExecute=no (shipped: yes)"), "{what}");
    }

    #[test]
    fn what_is_to_be_changed_is_named_and_nothing_else_goes() {
        let mend = |drop_ins: &str| {
            let mut shown = shipped();
            for (key, value) in [
                ("ProtectSystem", "full"),
                ("NoNewPrivileges", "no"),
                ("FragmentPath", "/usr/local/lib/systemd/system/layerkeeper.service"),
                ("DropInPaths", drop_ins),
            ] {
                shown.insert(key.to_owned(), value.to_owned());
            }
            judge(&UnitSeen::Shown(shown))[0].mend.clone()
        };
        let then = "then sudo systemctl daemon-reload && sudo systemctl restart layerkeeper";
        assert_eq!(mend("/etc/x.conf"), format!("take ProtectSystem=, NoNewPrivileges= out of /etc/x.conf, {then}"));
        let unit = "/usr/local/lib/systemd/system/layerkeeper.service";
        assert_eq!(mend(""), format!("write ProtectSystem=strict, NoNewPrivileges=yes into {unit}, {then}"));
        let two = mend("/etc/x.conf /etc/y.conf");
        assert!(
            two.contains(&format!("`grep -nE '^(ProtectSystem|NoNewPrivileges)=' {unit} /etc/x.conf /etc/y.conf`"))
        );
        for mend in [mend(""), mend("/etc/x.conf"), two] {
            assert!(!mend.contains("revert"), "{mend}");
        }
    }

    #[test]
    fn the_rest_of_the_unit_is_judged_too() {
        assert_eq!(ids(&[("LoadState", "not-found")]), [("unit.absent", Level::Note)]);
        assert_eq!(ids(&[("UnitFileState", "disabled")]), [("unit.disabled", Level::Warning)]);
        assert_eq!(ids(&[("NeedDaemonReload", "yes")]), [("unit.changed", Level::Note)]);
        assert_eq!(ids(&[("User", "")]), [("unit.root", Level::Warning)]);
        assert_eq!(ids(&[("SupplementaryGroups", "podman")]), [("unit.group", Level::Note)]);
        assert_eq!(judge(&UnitSeen::Unknown("x".to_owned()))[0].level, Level::Note);
        let UnitSeen::Shown(read) = read("User=a\nEmpty=\nno pair\n") else { panic!() };
        assert_eq!((read.len(), read["User"].as_str()), (2, "a"));
    }
}
