//! What is wrong with a configuration, all of it at once: file, line, key, what is wrong and what would be right.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// The key, as `table.key`; empty where there is none.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In this line of the file, from 1.
    Line(usize),
    /// In the file as a whole, or in a default of it.
    File,
    /// In the process's environment.
    Environment,
}

/// What is wrong with a value, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Everything found, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Wrong {
    /// Something wrong, and what would be right.
    pub fn new(wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self { wrong: wrong.into(), right: right.into() }
    }

    /// The same, at its place.
    pub fn at(self, place: Place, key: impl Into<String>) -> Problem {
        Problem { place, key: key.into(), wrong: self.wrong, right: self.right }
    }
}

impl ConfigError {
    /// Everything wrong with this file.
    pub fn new(file: impl Into<PathBuf>, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        Self { file: file.into(), problems }
    }
}

impl fmt::Display for ConfigError {
    /// A line per problem: `FILE:LINE: KEY: what is wrong; what would be right`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match problem.place {
                Place::Line(line) => write!(f, "{file}:{line}: ")?,
                Place::File => write!(f, "{file}: ")?,
                Place::Environment => f.write_str("environment: ")?,
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            write!(f, "{}; {}", problem.wrong, problem.right)?;
        }
        Ok(())
    }
}
