//! What the doctor found, one thing at a time, and all of it together.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing need be done.
    Note,
    /// It will hurt some day.
    Warning,
    /// It hurts now, or at the next deploy.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What kind of finding it is, `AREA.NAME`; stable, for scripts.
    pub id: &'static str,
    /// What is so, with the numbers.
    pub what: String,
    /// Why that matters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The command that mends it, or what to do where no command does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

/// Something that is not as it should be, before it is said why that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it is told only with why it matters and what mends it"]
pub struct Unexplained(Finding);

/// The same, before it is said what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it is told only with what mends it"]
pub struct Unmended(Finding);

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
    /// The worst level.
    pub verdict: Level,
    /// How many problems.
    pub problems: usize,
    /// How many warnings.
    pub warnings: usize,
    /// How many notes.
    pub notes: usize,
    /// In the order of the areas.
    pub findings: Vec<Finding>,
}

impl Level {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(id: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, id, what: what.into(), why: String::new(), mend: String::new() }
    }

    /// Something that is not: no finding yet, before it is said why that matters and what mends it.
    #[allow(clippy::new_ret_no_self, reason = "a finding begins here, and is one only with all that belongs to it")]
    pub fn new(level: Level, id: &'static str, what: impl Into<String>) -> Unexplained {
        Unexplained(Self { level, ..Self::ok(id, what) })
    }

    /// The area that it belongs to: what stands before the dot of its id.
    pub fn area(&self) -> &'static str {
        self.id.split('.').next().unwrap_or_default()
    }
}

impl Unexplained {
    /// Why it matters.
    pub fn why(self, why: impl Into<String>) -> Unmended {
        let why = why.into();
        debug_assert!(!why.is_empty(), "{:?} matters to nobody", self.0);
        Unmended(Finding { why, ..self.0 })
    }
}

impl Unmended {
    /// What mends it.
    pub fn mend(self, mend: impl Into<String>) -> Finding {
        let mend = mend.into();
        debug_assert!(!mend.is_empty(), "nothing mends {:?}", self.0);
        Finding { mend, ..self.0 }
    }
}

impl Diagnosis {
    /// Counts.
    pub fn of(findings: Vec<Finding>, at: i64) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        Self {
            at,
            verdict: findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok),
            problems: count(Level::Problem),
            warnings: count(Level::Warning),
            notes: count(Level::Note),
            findings,
        }
    }

    /// Nothing worse than a note?
    pub fn is_good(&self) -> bool {
        self.verdict <= Level::Note
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_is_the_verdict_and_a_note_is_still_good() {
        let new = |level, id| Finding::new(level, id, "x").why("y").mend("z");
        let note = new(Level::Note, "host.unpigz");
        let all = vec![Finding::ok("engine.ok", "x"), note.clone()];
        assert!(Diagnosis::of(all, 0).is_good());
        let bad = Diagnosis::of(vec![new(Level::Warning, "disk.inodes"), note], 0);
        assert_eq!((bad.verdict, bad.warnings, bad.notes, bad.is_good()), (Level::Warning, 1, 1, false));
        assert_eq!(bad.findings[0].area(), "disk");
        assert!(Diagnosis::of(Vec::new(), 0).is_good());
    }
}
