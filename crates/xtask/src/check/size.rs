//! No file over 400 lines, no function over 80, `//!` at the top of each, and none of the names that say nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::top;

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 80;
const EMPTY_NAMES: [&str; 5] = ["utils.rs", "helpers.rs", "manager.rs", "common.rs", "mod.rs"];

/// Looks at every Rust file of the workspace.
pub fn check() -> Result<()> {
    let mut found = Vec::new();
    for root in ["crates", "tests", "fuzz"] {
        for file in sources(root)? {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let shown = file.strip_prefix(top()).unwrap_or(&file).display().to_string();
            found.extend(findings(&shown, &text));
        }
    }
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    Ok(())
}

/// Every Rust file below a folder of the checkout.
pub fn sources(folder: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(&top().join(folder), &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn findings(shown: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > FILE_LINES {
        found.push(format!("{shown}: {} lines; split it, {FILE_LINES} are the most", lines.len()));
    }
    if !lines.first().is_some_and(|line| line.starts_with("//!")) {
        found.push(format!("{shown}: does not open with //! and what it is"));
    }
    if EMPTY_NAMES.iter().any(|name| shown.ends_with(&format!("/{name}"))) {
        found.push(format!("{shown}: a name that says nothing"));
    }
    found.extend(
        long_functions(&lines).map(|(line, length)| {
            format!("{shown}:{line}: a function of {length} lines; {FUNCTION_LINES} are the most")
        }),
    );
    found
}

/// Functions by rustfmt's layout: from the line with `fn` to the closing brace at the same depth.
fn long_functions<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = (usize, usize)> + 'a {
    lines.iter().enumerate().filter_map(|(start, line)| {
        let code = line.trim_start();
        let depth = line.len() - code.len();
        let words = [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "pub(super) fn ",
            "async fn ",
            "pub async fn ",
            "pub(super) async fn ",
            "pub(crate) async fn ",
        ];
        words.iter().any(|word| code.starts_with(word)).then_some(())?;
        // a trait's method without a body has no end of its own
        let opens =
            lines[start..].iter().find(|line| line.ends_with('{') || line.ends_with(';') || line.ends_with('}'))?;
        opens.ends_with('{').then_some(())?;
        let close = format!("{}}}", " ".repeat(depth));
        let length = lines[start..].iter().position(|line| **line == close)? + 1;
        (length > FUNCTION_LINES).then_some((start + 1, length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_long_functions_and_empty_names_are_found() {
        let long = format!("//! x\n{}", "// y\n".repeat(FILE_LINES));
        assert_eq!(findings("crates/a/src/b.rs", &long).len(), 1);
        let function = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(FUNCTION_LINES));
        assert_eq!(findings("crates/a/src/b.rs", &function).len(), 1);
        assert_eq!(findings("crates/a/src/utils.rs", "//! x\n").len(), 1);
        assert_eq!(findings("crates/a/src/b.rs", "fn f() {}\n").len(), 1);
        assert!(findings("crates/a/src/b.rs", "//! x\nfn f() {\n}\n").is_empty());
    }
}
