//! Our clock against those of the registries.

use layerkeeper_registry::Probe;

use super::finding::{Finding, Level};
use super::registry::RegistrySeen;

/// More is a warning, in milliseconds.
const SKEWED: i64 = 60_000;
/// More is a problem: a signed webhook is taken for five minutes either way.
const WINDOW: i64 = 300_000;

/// Judges the clock by every registry that told the time.
pub fn judge(registries: &[RegistrySeen]) -> Vec<Finding> {
    let told = registries.iter().filter_map(|seen| Some((seen.registry.as_str(), skew(seen.probe.as_ref().ok()?)?)));
    let told: Vec<(&str, i64)> = told.collect();
    if told.is_empty() && !registries.is_empty() {
        let note =
            Finding::new(Level::Note, "clock.unknown", "no registry told the time, so the clock was not compared");
        let note = note.why("A clock that is wrong by more than 5 minutes makes every webhook a 401");
        return vec![
            note.mend("timedatectl shows whether the clock is synchronized; sudo timedatectl set-ntp true where not"),
        ];
    }
    told.into_iter().map(|(registry, skew)| one(registry, skew)).collect()
}

/// By how many milliseconds our clock is surely ahead of the registry's (behind: negative); zero where it may be right. The
/// registry wrote some instant of a whole second while we waited.
fn skew(probe: &Probe) -> Option<i64> {
    let date = probe.date?.0;
    let (earliest, latest) = (probe.asked.0 - (date + 999), probe.answered.0 - date);
    Some(if earliest > 0 { earliest } else { latest.min(0) })
}

fn one(registry: &str, skew: i64) -> Finding {
    let seconds = skew.abs() / 1000;
    let side = if skew > 0 { "ahead of" } else { "behind" };
    let level = match skew.abs() {
        0..=SKEWED => {
            let what = if seconds == 0 {
                format!("our clock agrees with {registry}'s")
            } else {
                format!("our clock is {seconds} s {side} {registry}'s")
            };
            return Finding::ok("clock.ok", what);
        }
        off if off <= WINDOW => Level::Warning,
        _ => Level::Problem,
    };
    Finding::new(level, "clock.skew", format!("our clock is {seconds} s {side} {registry}'s"))
        .why("A webhook whose time stamp is off by more than 5 minutes is a 401, and tokens and certificates are judged by the \
              clock too")
        .mend("sudo timedatectl set-ntp true (if that is not supported: sudo apt-get install systemd-timesyncd); timedatectl \
               shows whether the clock is synchronized")
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::Timestamp;
    use layerkeeper_registry::{Login, Source};

    use super::*;
    use crate::doctor::registry::Access;

    const THERE: i64 = 1_795_489_200_000;

    fn seen(date: Option<i64>, asked: i64, answered: i64) -> RegistrySeen {
        let (date, asked, answered) = (date.map(Timestamp), Timestamp(asked), Timestamp(answered));
        RegistrySeen {
            registry: "r.io".to_owned(),
            source: Ok(Source::NoFile),
            file: None,
            probe: Ok(Probe { date, asked, answered }),
            login: Login::Anonymous,
            expires: None,
            asked: String::new(),
            access: Access::Granted,
        }
    }

    #[test]
    fn the_clock_is_judged_by_what_it_is_surely_off() {
        for (ours, took, id, level, words) in [
            (THERE + 200, 100, "clock.ok", Level::Ok, "agrees with"),
            // a slow answer is no skew
            (THERE - 59_000, 60_000, "clock.ok", Level::Ok, "agrees with"),
            (THERE + 60_000, 0, "clock.ok", Level::Ok, "59 s ahead of"),
            (THERE + 62_000, 0, "clock.skew", Level::Warning, "61 s ahead of"),
            (THERE - 62_000, 500, "clock.skew", Level::Warning, "61 s behind"),
            (THERE - 302_000, 0, "clock.skew", Level::Problem, "302 s behind"),
            (THERE + 302_000, 0, "clock.skew", Level::Problem, "301 s ahead of"),
        ] {
            let found = judge(&[seen(Some(THERE), ours, ours + took)]).remove(0);
            assert_eq!((found.id, found.level), (id, level), "{found:?}");
            assert!(found.what.contains(words), "{found:?}");
        }
    }

    #[test]
    fn a_registry_that_tells_no_time_is_no_judge() {
        assert_eq!(judge(&[seen(None, 0, 0)])[0].id, "clock.unknown");
        assert_eq!(judge(&[seen(None, 0, 0), seen(Some(THERE), THERE, THERE)])[0].id, "clock.ok");
        assert!(judge(&[]).is_empty());
    }
}
