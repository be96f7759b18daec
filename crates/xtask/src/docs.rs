//! The reference pages below `docs/` and the commented configuration, generated from the code.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{built, cargo, run, top};

/// Each file, and the page's name for the program that prints it.
const PAGES: [(&str, &str); 4] = [
    ("docs/cli.md", "cli"),
    ("docs/configuration.md", "configuration"),
    ("docs/metrics.md", "metrics"),
    ("config/layerkeeper.toml", "default-file"),
];

/// Writes them.
pub fn write() -> Result<()> {
    for (file, text) in generate()? {
        let path = top().join(&file);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, text).with_context(|| format!("cannot write {file}"))?;
        println!("wrote {file}");
    }
    Ok(())
}

/// Says which are stale.
pub fn check() -> Result<()> {
    let stale: Vec<String> = generate()?
        .into_iter()
        .filter(|(file, text)| fs::read_to_string(top().join(file)).ok().as_ref() != Some(text))
        .map(|(file, _)| file)
        .collect();
    if !stale.is_empty() {
        bail!("stale: {}; run `cargo xtask docs`", stale.join(", "));
    }
    Ok(())
}

/// The pages come from a small program of the product's own crate, which xtask itself does not link.
fn generate() -> Result<Vec<(String, String)>> {
    run(&mut cargo(&["build", "--quiet", "--package", "layerkeeper", "--example", "reference"]))?;
    PAGES
        .iter()
        .map(|(file, page)| {
            let program = built().join("debug/examples/reference");
            let output = Command::new(program).arg(page).output().context("cannot run the reference program")?;
            if !output.status.success() {
                bail!("{page}: {}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(((*file).to_owned(), String::from_utf8(output.stdout)?))
        })
        .collect()
}
