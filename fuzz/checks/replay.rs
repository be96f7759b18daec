//! Runs a check over everything that is kept for it, without cargo-fuzz.

use std::fs;
use std::path::{Path, PathBuf};

/// Every seed and every input of the corpus. The input at fault stands last in the test's output.
pub fn every_kept_input_of(target: &str, check: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for kind in ["seeds", "corpus"] {
        let files = files(&fuzz.join(kind).join(target));
        // a corpus comes with the first run of the fuzzer
        assert!(!files.is_empty() || kind == "corpus", "nothing is kept in fuzz/{kind}/{target}");
        for file in files {
            eprintln!("{}", file.display());
            check(&fs::read(&file).expect("a kept input can be read"));
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a kept input").path()).collect();
    files.sort();
    files
}
