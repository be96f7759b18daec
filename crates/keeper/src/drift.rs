//! Does the wall clock lie? Between two looks, wall clock and boot time must have gone on alike.

use std::time::Duration;

use layerkeeper_core::Timestamp;

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
