//! Only the worker pulls, names and removes, and makes a container to read an image by: nothing else in the product calls
//! those methods of an engine.

use std::fs;

use anyhow::{Result, bail};

use super::size::sources;
use crate::command::top;

const CALLS: [&str; 5] = ["engine.pull(", "engine.tag(", "engine.remove(", "engine.open(", "engine.close("];
const WORKER: &str = "crates/keeper/src/worker";
/// Whoever holds an engine.
const PRODUCT: [&str; 3] = ["crates/keeper/src", "crates/http/src", "crates/layerkeeper/src"];

/// Reads every file of the product.
pub fn check() -> Result<()> {
    let mut found = Vec::new();
    let mut in_worker = 0;
    for folder in PRODUCT {
        for file in sources(folder)? {
            let shown = file.strip_prefix(top()).unwrap_or(&file).display().to_string();
            let calls = calls(&fs::read_to_string(&file)?);
            if shown.starts_with(WORKER) {
                in_worker += calls.len();
            } else {
                found.extend(
                    calls.into_iter().map(|(line, call)| format!("{shown}:{line}: {call}) outside of the worker")),
                );
            }
        }
    }
    if in_worker < CALLS.len() {
        found.push(format!("{WORKER} holds {in_worker} such calls; this check is out of date"));
    }
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    Ok(())
}

/// Calls with their lines; rustfmt may have put the method on a line of its own.
fn calls(source: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let mut before = "";
    for (index, line) in source.lines().map(str::trim).enumerate() {
        let joined = if line.starts_with('.') { format!("{before}{line}") } else { line.to_owned() };
        found.extend(CALLS.iter().filter(|call| joined.contains(**call)).map(|call| (index + 1, *call)));
        before = line;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_on_one_line_and_on_two() {
        let source = "ctx.engine.pull(&x)\nfoo()\nself.0.engine\n    .remove(&y)\nmap.remove(&z)\n";
        assert_eq!(calls(source), [(1, "engine.pull("), (4, "engine.remove(")]);
    }
}
