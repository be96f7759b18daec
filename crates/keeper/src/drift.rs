//! Does the wall clock lie? Between two looks, wall clock and boot time must have gone on alike.

use std::time::Duration;

use layerkeeper_core::Timestamp;
use layerkeeper_store::ClockRecord;

/// More than this between two looks is a jump.
const TOLERANCE: Duration = Duration::from_secs(300);

/// What the two clocks showed at the last look, and since when ages are in doubt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drift {
    last: Option<(Timestamp, Duration)>,
    /// Boot time at which the last jump was seen, and how large it was.
    jump: Option<(Duration, Duration)>,
}

impl Drift {
    /// Goes on with what was seen before a restart. After another boot a wall clock that went back is a jump, and a doubt
    /// that was still open begins anew: boot times of two boots cannot be compared.
    pub fn restored(record: Option<ClockRecord>, boot_id: &str, wall: Timestamp, boot: Duration) -> Self {
        let Some(record) = record else { return Self::default() };
        if record.boot_id == boot_id {
            return Self { last: Some((record.wall, record.boot)), jump: record.jump };
        }
        let back = record.wall - wall;
        let by = if back > TOLERANCE { Some(back) } else { record.jump.map(|(_, by)| by) };
        Self { last: None, jump: by.map(|by| (boot, by)) }
    }

    /// As it is to be remembered.
    pub fn record(&self, boot_id: &str) -> Option<ClockRecord> {
        let (wall, boot) = self.last?;
        Some(ClockRecord { boot_id: boot_id.to_owned(), wall, boot, jump: self.jump })
    }

    /// Compares the clocks with what they showed before.
    pub fn look(&mut self, wall: Timestamp, boot: Duration) {
        if let Some((wall_before, boot_before)) = self.last {
            let expected = wall_before.plus(boot.saturating_sub(boot_before));
            let off = (wall - expected).max(expected - wall);
            if off > TOLERANCE {
                tracing::warn!(jump_s = off.as_secs(), "the wall clock jumped; nothing is removed by age for a while");
                self.jump = Some((boot, off));
            }
        }
        self.last = Some((wall, boot));
    }

    /// Why ages cannot be trusted now: a jump was seen less than `min_age` of boot time ago.
    pub fn doubt(&self, boot: Duration, min_age: Duration) -> Option<String> {
        let (at, off) = self.jump?;
        (boot.saturating_sub(at) < min_age).then(|| format!("the wall clock jumped by {} s", off.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn clocks_that_go_on_alike_raise_no_doubt() {
        let mut drift = Drift::default();
        drift.look(Timestamp(0), MINUTE);
        drift.look(Timestamp(60_000), MINUTE * 2);
        drift.look(Timestamp(360_000), MINUTE * 3);
        assert_eq!(drift.doubt(MINUTE * 3, DAY), None);
    }

    #[test]
    fn a_jump_while_the_daemon_was_down_is_seen_and_a_doubt_outlives_a_restart() {
        let record = |jump| Some(ClockRecord { boot_id: "a".to_owned(), wall: Timestamp(0), boot: MINUTE, jump });
        let mut same = Drift::restored(record(None), "a", Timestamp(86_400_000), MINUTE * 2);
        same.look(Timestamp(86_400_000), MINUTE * 2);
        assert!(same.doubt(MINUTE * 2, DAY).is_some(), "a day went by in a minute");
        let open = Drift::restored(record(Some((MINUTE, DAY))), "a", Timestamp(60_000), MINUTE * 2);
        assert!(open.doubt(MINUTE * 2, DAY).is_some());
        assert_eq!(same.record("a").unwrap().jump, same.jump);
    }

    #[test]
    fn after_another_boot_a_clock_that_went_back_is_doubted_and_one_that_went_on_is_not() {
        let wall = Timestamp(10 * 86_400_000);
        let record = |jump| Some(ClockRecord { boot_id: "a".to_owned(), wall, boot: DAY, jump });
        let back = Drift::restored(record(None), "b", wall.minus(DAY), MINUTE);
        assert!(back.doubt(MINUTE, DAY).is_some());
        let on = Drift::restored(record(None), "b", wall.plus(DAY), MINUTE);
        assert_eq!(on.doubt(MINUTE, DAY), None);
        let open = Drift::restored(record(Some((DAY, DAY))), "b", wall.plus(DAY), MINUTE);
        assert!(open.doubt(MINUTE, DAY).is_some());
    }

    #[test]
    fn a_jump_either_way_is_doubted_until_min_age_of_boot_time_has_passed() {
        for jumped in [Timestamp(86_400_000), Timestamp(-86_400_000)] {
            let mut drift = Drift::default();
            drift.look(Timestamp(0), MINUTE);
            drift.look(jumped, MINUTE * 2);
            drift.look(jumped.plus(MINUTE), MINUTE * 3);
            assert!(drift.doubt(MINUTE * 3, DAY).is_some(), "{jumped}");
            assert!(drift.doubt(MINUTE + DAY, DAY).is_some());
            assert_eq!(drift.doubt(MINUTE * 2 + DAY, DAY), None);
        }
    }
}
