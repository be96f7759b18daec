//! The daemon: does it run, and what does it say of itself?

use layerkeeper_keeper::Status;

use super::finding::{Finding, Level};
use crate::render::amount::{count, relative};

/// What was heard of the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum DaemonSeen {
    /// It answers.
    Up(Box<Status>),
    /// Nobody answers at its socket, or we may not ask.
    Silent {
        /// The socket.
        at: String,
        /// Why.
        cause: String,
    },
}

impl DaemonSeen {
    /// What it says, if anything.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Up(status) => Some(status),
            Self::Silent { .. } => None,
        }
    }
}

/// Judges it; `version` is this program's.
pub fn judge(seen: &DaemonSeen, version: &str) -> Vec<Finding> {
    match seen {
        DaemonSeen::Silent { at, cause } => vec![silent(at, cause)],
        DaemonSeen::Up(status) => up(status, version),
    }
}

fn silent(at: &str, cause: &str) -> Finding {
    if cause.contains("ermission denied") {
        return Finding::new(
            Level::Note,
            "daemon.denied",
            format!("the daemon's socket {at} may not be used by this user"),
        )
        .why("What only the daemon knows is left out here")
        .mend("sudo layerkeeper doctor, or sudo usermod -aG layerkeeper USER");
    }
    Finding::new(Level::Warning, "daemon.down", format!("no daemon answers at {at}: {cause}"))
        .why("Nothing is kept, healed or deployed while it is down")
        .mend("sudo systemctl enable --now layerkeeper; journalctl -u layerkeeper says why it stopped")
}

fn up(status: &Status, version: &str) -> Vec<Finding> {
    let mut found = vec![Finding::ok(
        "daemon.ok",
        format!("layerkeeper {} runs, started {}", status.version, relative(status.started_at, status.now)),
    )];
    if status.version != version {
        let what = format!("the daemon is version {}, this program {version}", status.version);
        let note = Finding::new(Level::Note, "daemon.version", what).why("The old program runs until it is restarted");
        found.push(note.mend("sudo systemctl restart layerkeeper"));
    }
    if !status.engine.up {
        let cause = status.engine.error.as_deref().unwrap_or("it has not answered yet");
        let problem =
            Finding::new(Level::Problem, "daemon.engine", format!("the daemon cannot reach the engine: {cause}"))
                .why("It takes deploys, and does none until the engine answers it");
        found.push(problem.mend(
            "id layerkeeper must show the group of the engine's socket; sudo systemctl restart layerkeeper after a change",
        ));
    }
    if let Some(reason) = &status.prune_blocked {
        let note = Finding::new(Level::Note, "daemon.prune", format!("nothing is removed for now: {reason}"));
        let newest = status.runtime.iter().flat_map(|runtime| &runtime.tags).next();
        let newest = newest.map_or("REPOSITORY:TAG", |tag| &tag.image);
        let mend = format!("layerkeeper deploy {newest} --follow; a tag that is here and has not moved moves nothing");
        found.push(note.why("Old tags stay and use the disk until a deploy has succeeded here").mend(mend));
    }
    for kept in &status.kept {
        let Some(error) = &kept.last_error else { continue };
        let what = format!("the last refresh of {} failed: {error}", kept.image);
        let warning = Finding::new(Level::Warning, "daemon.refresh", what).why("What is here of it grows old");
        found.push(warning.mend(format!("layerkeeper prewarm {} --follow tells more", kept.image)));
    }
    let slowed: Vec<&str> = status.losses.iter().filter(|loss| loss.slowed).map(|loss| loss.image.as_str()).collect();
    if !slowed.is_empty() {
        let what = format!("{} taken away again and again: {}", count(slowed.len(), "image"), slowed.join(", "));
        let warning = Finding::new(Level::Warning, "daemon.losing", what)
            .why("Somebody removes what is kept; it is brought back once an hour only");
        found.push(warning.mend("look at the cleaners below; layerkeeper status tells when and how they went"));
    }
    found
}

#[cfg(test)]
mod tests {
    use layerkeeper_keeper::status::{EngineStatus, KeptStatus, LossStatus};

    use super::*;

    fn status() -> Status {
        let engine = EngineStatus { up: true, ..EngineStatus::default() };
        Status { version: "1.0.0".to_owned(), started_at: 0, now: 3_600_000, engine, ..Status::default() }
    }

    fn ids(status: Status) -> Vec<&'static str> {
        judge(&DaemonSeen::Up(Box::new(status)), "1.0.0").iter().map(|found| found.id).collect()
    }

    #[test]
    fn what_the_daemon_says_of_itself_is_told() {
        assert_eq!(ids(status()), ["daemon.ok"]);
        assert_eq!(ids(Status { version: "0.9.0".into(), ..status() }), ["daemon.ok", "daemon.version"]);
        assert_eq!(ids(Status { engine: EngineStatus::default(), ..status() }), ["daemon.ok", "daemon.engine"]);
        assert_eq!(ids(Status { prune_blocked: Some("x".into()), ..status() }), ["daemon.ok", "daemon.prune"]);
        let kept = KeptStatus { last_error: Some("x".into()), ..KeptStatus::default() };
        let kept = vec![KeptStatus::default(), kept];
        assert_eq!(ids(Status { kept, ..status() }), ["daemon.ok", "daemon.refresh"]);
        let loss = |slowed| LossStatus { image: "a:1".into(), slowed, ..LossStatus::default() };
        assert_eq!(ids(Status { losses: vec![loss(false)], ..status() }), ["daemon.ok"]);
        assert_eq!(ids(Status { losses: vec![loss(true)], ..status() }), ["daemon.ok", "daemon.losing"]);
    }

    #[test]
    fn a_daemon_that_is_down_is_a_warning_and_one_that_may_not_be_asked_a_note() {
        let silent = |cause: &str| {
            let seen = DaemonSeen::Silent { at: "/run/x.sock".to_owned(), cause: cause.to_owned() };
            let found = judge(&seen, "1.0.0").remove(0);
            (found.id, found.level)
        };
        assert_eq!(silent("No such file or directory"), ("daemon.down", Level::Warning));
        assert_eq!(silent("Permission denied (os error 13)"), ("daemon.denied", Level::Note));
    }
}
