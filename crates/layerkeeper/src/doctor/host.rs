//! How the engine is set up on this host.

use std::path::PathBuf;

use layerkeeper_engine::docker::Facts;

use super::finding::{Finding, Level};

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSeen {
    /// What the engine says; none where it did not answer.
    pub facts: Option<Facts>,
    /// The program that the engine unpacks with.
    pub unpigz: Unpigz,
}

/// Where the engine finds `unpigz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpigz {
    /// Here.
    Found(PathBuf),
    /// In none of the places where it looks.
    Missing {
        /// These are its own PATH; else the usual places.
        own_path: bool,
        /// Where it was looked for.
        dirs: Vec<PathBuf>,
    },
    /// `MOBY_DISABLE_PIGZ` is set for the engine.
    Off,
    /// The engine is on another host.
    Elsewhere,
}

/// Judges it.
pub fn judge(seen: &HostSeen) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(seen.facts.as_ref().and_then(live_restore));
    found.push(unpigz(&seen.unpigz));
    found
}

fn live_restore(facts: &Facts) -> Option<Finding> {
    match (facts.live_restore?, facts.swarm) {
        (true, _) => Some(Finding::ok("host.live_restore", "live-restore is on: containers outlive the engine")),
        (false, true) => Some(Finding::ok("host.live_restore", "live-restore is off, as a swarm wants it")),
        (false, false) => Some(
            Finding::new(
                Level::Note,
                "host.live_restore",
                "live-restore is off: a restart of the engine stops every container",
            )
            .why("An upgrade of Docker, or a change in its daemon.json, takes the application down")
            .mend("add \"live-restore\": true to /etc/docker/daemon.json, then sudo systemctl reload docker"),
        ),
    }
}

fn unpigz(seen: &Unpigz) -> Finding {
    const WHY: &str = "With it images are unpacked 10 to 25 % faster; the engine finds it without a restart";
    let note = |what: String| Finding::new(Level::Note, "host.unpigz", what).why(WHY);
    match seen {
        Unpigz::Found(path) => Finding::ok("host.unpigz", format!("the engine unpacks with {}", path.display())),
        Unpigz::Missing { own_path, dirs } => {
            let dirs = dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":");
            let whose = if *own_path { "the engine's PATH" } else { "the usual places" };
            note(format!("unpigz is not in {whose} ({dirs})")).mend("sudo apt-get install pigz")
        }
        Unpigz::Off => note("unpigz is switched off for the engine (MOBY_DISABLE_PIGZ)".to_owned())
            .mend("sudo systemctl edit docker, and take MOBY_DISABLE_PIGZ out"),
        Unpigz::Elsewhere => note("the engine is on another host, where unpigz was not looked for".to_owned())
            .mend("there: command -v unpigz || sudo apt-get install pigz"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(facts: Option<Facts>, unpigz: Unpigz) -> Vec<(&'static str, Level)> {
        judge(&HostSeen { facts, unpigz }).iter().map(|found| (found.id, found.level)).collect()
    }

    #[test]
    fn the_engines_setup_is_a_note_at_most() {
        let facts = |live_restore, swarm| Some(Facts { live_restore, swarm });
        let found = || Unpigz::Found("/usr/bin/unpigz".into());
        let (live, unpigz) = ("host.live_restore", "host.unpigz");
        assert_eq!(levels(facts(Some(true), false), found()), [(live, Level::Ok), (unpigz, Level::Ok)]);
        assert_eq!(levels(facts(Some(false), false), found()), [(live, Level::Note), (unpigz, Level::Ok)]);
        assert_eq!(levels(facts(Some(false), true), found()), [(live, Level::Ok), (unpigz, Level::Ok)]);
        assert_eq!(levels(facts(None, false), found()), [(unpigz, Level::Ok)], "an engine that does not say");
        let missing = Unpigz::Missing { own_path: true, dirs: vec!["/usr/bin".into(), "/bin".into()] };
        assert_eq!(levels(None, missing.clone()), [(unpigz, Level::Note)]);
        assert!(
            judge(&HostSeen { facts: None, unpigz: missing })[0].what.ends_with("the engine's PATH (/usr/bin:/bin)")
        );
        assert_eq!(levels(None, Unpigz::Off), [(unpigz, Level::Note)]);
        assert_eq!(levels(None, Unpigz::Elsewhere), [(unpigz, Level::Note)]);
    }
}
