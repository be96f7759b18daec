//! `layerkeeper check-config`

use std::path::Path;

use serde::Serialize;

use super::exit::Exit;
use super::output::Output;
use super::trouble::Trouble;
use crate::config::{Config, Environment};
use crate::run;

/// What a good configuration comes to.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    kept: usize,
    runtime: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// Checks the file and the files that it names.
pub fn check_config(file: &Path, output: &mut Output) -> Result<Exit, Trouble> {
    let environment = Environment::of_process();
    let config = Config::read(file, &environment)?;
    let mut notes = Vec::new();
    if config.listen.webhook.is_some() && config.webhook.secret_file.is_none() {
        // systemd hands it to the daemon, not to whoever checks
        notes.push(
            "the webhook's secret is not checked: webhook.secret_file is empty, and systemd's credential \
             webhook-secret is not here"
                .to_owned(),
        );
        run::check_certificate(&config)?;
    } else {
        run::check(file, &environment)?;
    }
    let policy = &config.settings.policy;
    let kept = policy.keep.len() + config.settings.series.len();
    let checked = Checked { file: file.display().to_string(), kept, runtime: policy.runtime.len(), notes };
    output.facts(&checked, |checked, _| {
        let notes: String = checked.notes.iter().map(|note| format!("note: {note}\n")).collect();
        format!(
            "{}: good, {} to keep, {} to deploy to\n{notes}",
            checked.file,
            crate::render::amount::count(checked.kept, "image"),
            crate::render::amount::count_irregular(checked.runtime, "repository", "repositories"),
        )
    })?;
    Ok(Exit::Done)
}
