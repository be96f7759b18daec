//! How many connections are worth having: more while the total rises, fewer again when it does not.

/// Watches the total rate and says how many connections there should be. Pure: whoever holds it tells it the time in ticks.
#[derive(Debug, Clone)]
pub(crate) struct Climb {
    most: usize,
    target: usize,
    /// The last number of connections that was worth it, and the bytes per second that it gave.
    proven: Option<(usize, f64)>,
    /// Ticks until the next measurement counts: new connections take a moment to come up.
    settling: u32,
    /// The ticks that were measured since the last change, and what they gave together.
    measured: (u32, f64),
    /// Ticks until more are tried once more.
    rest: u32,
    /// Bytes per second by number of connections, as last measured.
    seen: Vec<(usize, f64)>,
}

/// So much more must come for more connections to stay.
const WORTH: f64 = 1.12;

/// Ticks that a change needs before it is measured.
const SETTLE: u32 = 1;

/// Ticks that are taken together: one alone says little on a busy machine.
const MEASURE: u32 = 2;

/// Ticks without another try after one that gained nothing.
const REST: u32 = 20;

impl Climb {
    /// Begins with `start` connections; there are never more than `most`.
    pub fn new(start: usize, most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            target: start.clamp(1, most),
            proven: None,
            settling: SETTLE,
            measured: (0, 0.0),
            rest: 0,
            seen: Vec::new(),
        }
    }

    /// There are never more than `most` from now on.
    pub fn bound(&mut self, most: usize) {
        self.most = most.max(1);
        if self.target > self.most {
            self.aim(self.most);
        }
    }

    /// How many connections there should be now.
    pub fn target(&self) -> usize {
        self.target
    }

    /// What this many connections gave in the last tick. `busy` says that all of them had work during all of it: only then
    /// does the rate say anything.
    pub fn tick(&mut self, bytes_per_second: f64, busy: bool) {
        if !busy {
            self.settling = SETTLE;
            self.measured = (0, 0.0);
            return;
        }
        if self.settling > 0 {
            self.settling -= 1;
            return;
        }
        self.measured = (self.measured.0 + 1, self.measured.1 + bytes_per_second);
        if self.measured.0 < MEASURE {
            return;
        }
        let bytes_per_second = self.measured.1 / f64::from(self.measured.0);
        self.measured = (0, 0.0);
        self.remember(bytes_per_second);
        if self.rest > 0 {
            self.rest = self.rest.saturating_sub(MEASURE);
            self.proven = Some((self.target, bytes_per_second));
            return;
        }
        match self.proven {
            Some((fewer, before)) if self.target > fewer && bytes_per_second < before * WORTH => {
                self.aim(fewer);
                self.rest = REST;
            }
            _ => {
                self.proven = Some((self.target, bytes_per_second));
                self.aim((self.target * 2).min(self.most));
            }
        }
    }

    /// Bytes per second by number of connections, as last measured, fewest first.
    pub fn seen(&self) -> &[(usize, f64)] {
        &self.seen
    }

    fn aim(&mut self, target: usize) {
        if target != self.target {
            self.target = target;
            self.settling = SETTLE;
            self.measured = (0, 0.0);
        }
    }

    fn remember(&mut self, rate: f64) {
        match self.seen.binary_search_by_key(&self.target, |(connections, _)| *connections) {
            Ok(at) => self.seen[at].1 = rate,
            Err(at) => self.seen.insert(at, (self.target, rate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a link that gives `each` per connection and `all` in all; gives the connections after each tick.
    fn run(climb: &mut Climb, ticks: usize, each: f64, all: f64) -> Vec<usize> {
        let tick = |climb: &mut Climb| {
            climb.tick((climb.target() as f64 * each).min(all), true);
            climb.target()
        };
        (0..ticks).map(|_| tick(climb)).collect()
    }

    #[test]
    fn it_rises_while_the_total_does() {
        let mut climb = Climb::new(1, 16);
        assert_eq!(run(&mut climb, 12, 4e6, 1e9), [1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 16]);
        assert_eq!(run(&mut climb, 50, 4e6, 1e9).last(), Some(&16));
        assert_eq!(climb.seen().first(), Some(&(1, 4e6)));
        assert_eq!(climb.seen().last(), Some(&(16, 64e6)));
    }

    #[test]
    fn what_gains_nothing_is_given_back_and_tried_again_after_a_rest() {
        let mut climb = Climb::new(1, 16);
        let targets = run(&mut climb, 12, 4e6, 8e6);
        assert_eq!(targets, [1, 1, 2, 2, 2, 4, 4, 4, 2, 2, 2, 2], "four give no more than two");
        // the link has become wider meanwhile
        assert_eq!(run(&mut climb, 60, 4e6, 1e9).last(), Some(&16));
    }

    #[test]
    fn a_tick_without_work_for_all_says_nothing() {
        let mut climb = Climb::new(2, 16);
        (0..20).for_each(|_| climb.tick(1.0, false));
        assert_eq!((climb.target(), climb.seen().len()), (2, 0));
    }

    #[test]
    fn it_never_asks_for_more_than_it_may() {
        let mut climb = Climb::new(40, 3);
        assert_eq!(climb.target(), 3);
        assert!(run(&mut climb, 50, 1e6, 1e9).iter().all(|target| *target <= 3));
    }

    #[test]
    fn a_bound_that_moves_is_kept_and_what_it_leaves_is_measured() {
        let mut climb = Climb::new(16, 16);
        climb.bound(6);
        assert_eq!(climb.target(), 6);
        assert!(run(&mut climb, 50, 1e6, 1e9).iter().all(|target| *target == 6));
        assert_eq!(climb.seen(), [(6, 6e6)]);
        climb.bound(12);
        assert_eq!(run(&mut climb, 50, 1e6, 1e9).last(), Some(&12));
    }
}
