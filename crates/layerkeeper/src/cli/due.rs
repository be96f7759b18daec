//! Who on this host was due when something was lost: said beside the loss, for the daemon sees no host's files.

use std::cell::OnceCell;
use std::path::Path;

use chrono::{Local, TimeDelta, TimeZone};
use layerkeeper_http::wire::ChangeView;
use layerkeeper_store::record::{EstimateRecord, Outcome};

use crate::doctor::cleaners::{Cleaner, scheduled_at};
use crate::doctor::{self, Root};

/// How a loss is told that was a removal by the daemon.
const OURS: &str = "layerkeeper removed it";

/// What `doctor` finds scheduled on this host. Its files are read once something was lost.
pub struct Due<Z> {
    root: Root,
    zone: Z,
    cleaners: OnceCell<Vec<Cleaner>>,
}

impl Due<Local> {
    /// Of the host whose files are there.
    pub fn on(root: &Path) -> Self {
        Self { root: Root::new(root), zone: Local, cleaners: OnceCell::new() }
    }
}

impl<Z: TimeZone> Due<Z> {
    /// Beside every cause of an estimate that tells of a loss.
    pub fn beside_estimate(&self, record: &mut EstimateRecord) {
        for cause in record.layers.iter_mut().flat_map(|layer| &mut layer.causes) {
            // only names are ever lost
            cause.why.extend(cause.at.and_then(|seen| self.others_at(seen, &cause.why)).map(|due| format!("; {due}")));
        }
    }

    /// Beside every cause in what a job left behind.
    pub fn beside_outcome(&self, outcome: &mut Outcome) {
        let pulls = outcome.kept.iter_mut().chain(&mut outcome.pull).filter_map(|pull| pull.estimate.as_mut());
        pulls.chain(&mut outcome.estimate).for_each(|record| self.beside_estimate(record));
    }

    /// Beside how a name went.
    pub fn beside_change(&self, change: &mut ChangeView) {
        let told = change.reason.as_deref().unwrap_or_default();
        if let Some(due) = self.others_at(change.at, told).filter(|_| change.image_id.is_none()) {
            change.reason = Some(if told.is_empty() { due } else { format!("{told}; {due}") });
        }
    }

    /// Who may have done what was seen then; nobody where the daemon did it. A loss is seen up to a minute after it happened.
    fn others_at(&self, seen: i64, told: &str) -> Option<String> {
        if told.contains(OURS) {
            return None;
        }
        let seen = self.zone.timestamp_millis_opt(seen).single()?.naive_local();
        let cleaners = self.cleaners.get_or_init(|| doctor::scheduled(&self.root));
        let minutes = [seen, seen - TimeDelta::minutes(1)];
        let mut due: Vec<&Cleaner> = minutes.iter().flat_map(|minute| scheduled_at(cleaners, *minute)).collect();
        due.dedup();
        due.retain(|cleaner| cleaner.act.takes_tagged());
        let runs = |cleaner: &&Cleaner| format!("{cleaner} runs `{}` ({})", cleaner.command, cleaner.schedule);
        let runs: Vec<String> = due.iter().map(runs).collect();
        (!runs.is_empty()).then(|| format!("at that minute {}", runs.join(", and ")))
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use layerkeeper_store::record::{CauseRecord, LayerEstimateRecord, PullRecord};

    use super::*;
    use crate::doctor::cleaners::tests::cron;

    const RUNS: &str =
        "at that minute /etc/cron.d/cleanup:3 runs `docker system prune -af` (every day at 03:00 (0 3 * * *))";

    fn due() -> Due<Utc> {
        // but for one, these take nothing that has a name, or nothing of the engine's
        let commands = ["docker image prune -f", "docker system prune -af", "podman system prune -af"];
        let cleaners: Vec<Cleaner> = commands.iter().map(|command| cron("0 3 * * *", command)).collect();
        Due { root: Root::new("/no/such/root"), zone: Utc, cleaners: OnceCell::from(cleaners) }
    }

    fn at(text: &str) -> i64 {
        super::super::history::instant(text).unwrap()
    }

    fn lost(seen: &str, why: &str) -> EstimateRecord {
        let cause = CauseRecord { cause: "lost".into(), why: why.into(), at: Some(at(seen)), advice: None };
        let layer = LayerEstimateRecord {
            digest: String::new(),
            diff_id: String::new(),
            size: 1,
            presence: "to fetch".into(),
            created_by: None,
            causes: vec![cause],
        };
        EstimateRecord { layers: vec![layer], ..EstimateRecord::default() }
    }

    fn why(record: &EstimateRecord) -> &str {
        &record.layers[0].causes[0].why
    }

    #[test]
    fn who_was_due_when_a_layer_was_lost_is_said_beside_it() {
        let said = |seen: &str, why: &str| {
            let mut record = lost(seen, why);
            due().beside_estimate(&mut record);
            self::why(&record).to_owned()
        };
        let (told, here) = (format!("it was here; {RUNS}"), "it was here");
        assert_eq!(said("2026-11-27T03:00:40Z", here), told);
        assert_eq!(said("2026-11-27T03:01:10Z", here), told, "it was seen a minute later");
        assert_eq!(said("2026-11-27T03:02:00Z", here), here);
        let ours = "it was here: layerkeeper removed it (older than the newest 3)";
        assert_eq!(said("2026-11-27T03:00:40Z", ours), ours);
    }

    #[test]
    fn all_that_a_job_has_to_tell_of_losses_is_looked_through() {
        let lost = || Some(lost("2026-11-27T03:00:40Z", "it was here"));
        let pull = || PullRecord { estimate: lost(), ..PullRecord::default() };
        let mut outcome = Outcome { kept: vec![pull()], pull: Some(pull()), estimate: lost(), ..Outcome::default() };
        due().beside_outcome(&mut outcome);
        let pulled = outcome.kept.iter().chain(&outcome.pull).filter_map(|pull| pull.estimate.as_ref());
        let told: Vec<&str> = pulled.chain(&outcome.estimate).map(why).collect();
        assert_eq!(told, [&format!("it was here; {RUNS}"); 3]);
    }

    #[test]
    fn a_name_that_went_has_who_was_due_beside_its_reason_and_one_that_came_has_not() {
        let said = |image: Option<&str>, reason: Option<&str>| {
            let mut change = ChangeView {
                at: at("2026-11-27T03:00:40Z"),
                name: "ghcr.io/acme/app:1".into(),
                image_id: image.map(Into::into),
                digest: None,
                layers: Vec::new(),
                job: None,
                reason: reason.map(Into::into),
            };
            due().beside_change(&mut change);
            change.reason
        };
        assert_eq!(said(None, None).unwrap(), RUNS);
        assert_eq!(said(None, Some("prune: x")).unwrap(), format!("prune: x; {RUNS}"));
        assert_eq!(said(None, Some("layerkeeper removed it (x)")).unwrap(), "layerkeeper removed it (x)");
        assert_eq!(said(Some("sha256:a"), None), None);
    }
}
