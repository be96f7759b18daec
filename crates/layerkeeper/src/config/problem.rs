//! What is wrong with a configuration, all of it at once: file, line, key, what is wrong and what would be right.

use std::fmt;
use std::path::PathBuf;

use crate::render::table::plain;

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
    /// A line per problem: `FILE:LINE: KEY: what is wrong; what would be right`. What a broken file holds can neither break
    /// a line nor steer the terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let place = match problem.place {
                Place::Line(line) => format!("{file}:{line}: "),
                Place::File => format!("{file}: "),
                Place::Environment => "environment: ".to_owned(),
            };
            let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", problem.key) };
            f.write_str(&plain(&format!("{place}{key}{}; {}", problem.wrong, problem.right)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_without_control_characters_whatever_the_file_holds() {
        let one = Wrong::new("\"a\nb\" is no size", "write\ra number").at(Place::Line(3), "min\u{1b}[31m");
        let two = Wrong::new("x", "y").at(Place::File, "");
        let error = ConfigError::new("a.toml", vec![one, two]);
        assert_eq!(error.to_string(), "a.toml:3: min [31m: \"a b\" is no size; write a number\na.toml: x; y");
    }
}
