//! How a command ends.

use std::process::ExitCode;

use layerkeeper_core::JobState;

/// What the exit code says. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: wrong usage or a bad configuration.
    Usage,
    /// 3: no daemon answers.
    Unreachable,
    /// 4: the policy forbids it.
    Refused,
    /// 5: a newer deploy took its place.
    Superseded,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// How a job's end is told; none while it has not come to one.
    pub fn of_state(state: JobState) -> Option<Self> {
        match state {
            JobState::Queued | JobState::Running => None,
            JobState::Succeeded => Some(Self::Done),
            JobState::Failed => Some(Self::Failed),
            JobState::Refused => Some(Self::Refused),
            JobState::Superseded => Some(Self::Superseded),
        }
    }

    /// Of several jobs, the end that matters most: a failure over a refusal over a supersession.
    pub fn worst(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Done => 0,
            Self::Superseded => 1,
            Self::Refused => 2,
            Self::Failed => 3,
            Self::Unreachable => 4,
            Self::Usage => 5,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_that_scripts_know() {
        let all = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Unreachable, Exit::Refused, Exit::Superseded];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn one_failure_among_many_jobs_shows() {
        assert_eq!(Exit::Done.worst(Exit::Failed).worst(Exit::Superseded), Exit::Failed);
        assert_eq!(Exit::of_state(JobState::Running), None);
    }
}
