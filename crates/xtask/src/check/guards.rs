//! The tests that `ARCHITECTURE.md` names as guards of the invariants are there, under these names.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::size::sources;
use crate::command::top;

const FILE: &str = "ARCHITECTURE.md";

/// Looks for each of them.
pub fn check() -> Result<()> {
    let text = fs::read_to_string(top().join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    let named = named(&text);
    ensure!(named.len() >= 8, "{FILE} names {} tests below \"Invariants\"; this check is out of date", named.len());
    let mut tests = BTreeSet::new();
    for root in ["crates", "tests"] {
        for file in sources(root)? {
            tests.extend(tests_in(&fs::read_to_string(&file)?));
        }
    }
    let missing: Vec<&str> = named.iter().filter(|name| !tests.contains(**name)).copied().collect();
    if !missing.is_empty() {
        bail!("{FILE} names tests that are not there: {}", missing.join(", "));
    }
    Ok(())
}

/// Names of tests below the heading "Invariants": `code` of at least four words.
fn named(text: &str) -> Vec<&str> {
    let section = text.split("\n## ").find(|section| section.starts_with("Invariants")).unwrap_or_default();
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
    fn names_are_read_from_the_invariants_alone() {
        let text = "# A\n`not_a_guard_here`\n\n## Invariants\n\n1. `one_two_three_four` and `min_age`, `Engine::pull`\n\n## B\n`nor_one_down_here`\n";
        assert_eq!(named(text), ["one_two_three_four"]);
    }

    #[test]
    fn only_functions_under_the_attribute_are_tests() {
        let source = "fn helper() {}\n#[test]\n#[should_panic]\nfn a_b() {}\n    #[tokio::test(flavor = \"x\")]\n    async fn c_d() {}\nfn e() {}\n";
        assert_eq!(tests_in(source), ["a_b", "c_d"]);
    }
}
