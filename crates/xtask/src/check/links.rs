//! Every relative link in a tracked Markdown file leads to a file that is there, and to a heading of it where it names one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::top;

/// Looks at every Markdown file that git knows.
pub fn check() -> Result<()> {
    let files = tracked()?;
    ensure!(!files.is_empty(), "git lists no Markdown files; this check is out of date");
    let mut texts = BTreeMap::new();
    for file in &files {
        // deleted and not yet committed
        if let Ok(text) = fs::read_to_string(top().join(file)) {
            texts.insert(file.clone(), text);
        }
    }
    let found = findings(&texts, |path| top().join(path).exists());
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    Ok(())
}

fn tracked() -> Result<Vec<PathBuf>> {
    let output = Command::new("git").args(["ls-files", "-z", "*.md"]).current_dir(top()).output();
    let output = output.context("cannot run git ls-files")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let names = String::from_utf8(output.stdout).context("a file name that is not UTF-8")?;
    Ok(names.split_terminator('\0').map(PathBuf::from).collect())
}

/// Links that lead nowhere. `texts` by path from the top; `exists` says whether a path from the top is there.
fn findings(texts: &BTreeMap<PathBuf, String>, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in texts {
        for (line, link) in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let shown = file.display();
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => Some(file.clone()),
                path => resolve(file, path),
            };
            let Some(target) = target.filter(|target| texts.contains_key(target) || exists(target)) else {
                found.push(format!("{shown}:{line}: {link} leads nowhere"));
                continue;
            };
            if let Some(text) = texts.get(&target).filter(|_| !anchor.is_empty())
                && !headings(text).iter().any(|heading| heading == anchor)
            {
                found.push(format!("{shown}:{line}: {} has no heading #{anchor}", target.display()));
            }
        }
    }
    found
}

/// The path from the top that a link in `file` means; none where it leads out of the checkout.
fn resolve(file: &Path, link: &str) -> Option<PathBuf> {
    let mut resolved = file.parent().map(Path::to_path_buf).unwrap_or_default();
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir if resolved.pop() => {}
            _ => return None,
        }
    }
    Some(resolved)
}

/// `[text](target)`, with the line it stands on; code is left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // outside of `code`: every other piece
        let prose: String = line.split('`').step_by(2).collect();
        for piece in prose.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or_default();
            // [text](target "title")
            let target = target.split_whitespace().next().unwrap_or_default();
            found.push((number, target.to_owned()));
        }
    }
    found
}

/// Headings as GitHub makes anchors of them: lower case, spaces as hyphens, no punctuation.
fn headings(text: &str) -> Vec<String> {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| line.trim_start_matches('#').trim().to_lowercase().chars().filter_map(kept).collect())
        .collect()
}

/// The numbered lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((index + 1, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[(&str, &str)]) -> Vec<String> {
        let texts = texts.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        findings(&texts, |path| path == Path::new("deploy/install.sh"))
    }

    #[test]
    fn links_that_lead_nowhere_are_found_with_their_line() {
        let readme = "# A\n\n[a](docs/a.md), [b](docs/b.md \"title\") and [up](../x.md)\n";
        let found = found(&[("README.md", readme), ("docs/a.md", "[home](../README.md) [i](../deploy/install.sh)")]);
        assert_eq!(found, ["README.md:3: docs/b.md leads nowhere", "README.md:3: ../x.md leads nowhere"]);
    }

    #[test]
    fn a_heading_that_is_not_there_is_found() {
        let text = "# One: two `three`\n[here](#one-two-three) [not](#four)\n";
        let found = found(&[("a.md", text), ("b.md", "[a](a.md#one-two-three) [a](a.md#two)")]);
        assert_eq!(found, ["a.md:2: a.md has no heading #four", "b.md:1: a.md has no heading #two"]);
    }

    #[test]
    fn code_and_other_sites_are_no_links() {
        let text = "`[a](b.md)`\n```\n[a](b.md)\n# c\n```\n[web](https://example.org/x.md)\n";
        assert!(found(&[("a.md", text)]).is_empty());
    }
}
