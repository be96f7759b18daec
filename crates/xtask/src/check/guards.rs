//! The tests that documents name as guards of what they promise are there, under these names.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::size::sources;
use crate::command::top;

/// A document, the one heading below which it names tests (none: all of it), and how many it names at least: far fewer,
/// and this check no longer reads it right.
const PAGES: [(&str, Option<&str>, usize); 2] =
    [("ARCHITECTURE.md", Some("Invariants"), 20), ("docs/security.md", None, 60)];

/// Looks for each of them.
pub fn check() -> Result<()> {
    let mut tests = BTreeSet::new();
    for root in ["crates", "tests"] {
        for file in sources(root)? {
            tests.extend(tests_in(&fs::read_to_string(&file)?));
        }
    }
    let mut missing = Vec::new();
    for (page, heading, least) in PAGES {
        let text = fs::read_to_string(top().join(page)).with_context(|| format!("cannot read {page}"))?;
        let named = named(&text, heading);
        ensure!(named.len() >= least, "{page} names {} tests; this check is out of date", named.len());
        missing.extend(named.iter().filter(|name| !tests.contains(**name)).map(|name| format!("{page}: {name}")));
    }
    if !missing.is_empty() {
        bail!("documents name tests that are not there:\n{}", missing.join("\n"));
    }
    Ok(())
}

/// Names of tests in a document, or below one of its headings: `code` of at least four words.
fn named<'t>(text: &'t str, heading: Option<&str>) -> BTreeSet<&'t str> {
    let section = match heading {
        Some(heading) => text.split("\n## ").find(|section| section.starts_with(heading)).unwrap_or_default(),
        None => text,
    };
    let is_name = |code: &&str| {
        code.matches('_').count() >= 3
            && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    section.split('`').skip(1).step_by(2).filter(is_name).collect()
}

/// Functions under `#[test]`, `#[tokio::test]` and the like.
fn tests_in(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with("//")) {
            found.push(rest.split(['(', '<']).next().unwrap_or_default().to_owned());
            is_test = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_one_section_or_from_all() {
        let text = "# A\n`not_a_guard_here`\n\n## Invariants\n\n1. `one_two_three_four` and `min_age`, `Engine::pull`\n\n## B\n`nor_one_down_here`\n";
        assert_eq!(Vec::from_iter(named(text, Some("Invariants"))), ["one_two_three_four"]);
        assert_eq!(named(text, None).len(), 3);
    }

    #[test]
    fn only_functions_under_the_attribute_are_tests() {
        let source = "fn helper() {}\n#[test]\n#[should_panic]\nfn a_b() {}\n    #[tokio::test(flavor = \"x\")]\n    async fn c_d() {}\nfn e() {}\n";
        assert_eq!(tests_in(source), ["a_b", "c_d"]);
    }
}
