//! A job as the webhook's sender may see it: sizes and outcome, without instructions and names of the host.

use layerkeeper_http::wire::{PublicJob, PublicPull};
use layerkeeper_store::record::{AttemptRecord, ErrorRecord, EstimateRecord, LayerRecordJson, Outcome, PullRecord};

use super::amount::{count, size};
use super::table::plain;
use super::{Width, report};

/// One job to its last layer.
pub fn job(job: &PublicJob, width: Width) -> String {
    let image = job.image.as_deref().unwrap_or("job");
    let mut text = format!("{}: {}\n", plain(image), plain(&job.state));
    if let Some(newer) = &job.superseded_by {
        text.push_str(&format!("superseded by job {}\n", plain(newer)));
    }
    let outcome = report::outcome(&outcome(job), width);
    if !outcome.is_empty() {
        text.push('\n');
        text.push_str(&outcome);
    }
    if let Some(prune) = job.report.as_ref().and_then(|report| report.prune.as_ref()) {
        let removed = count(prune.removed, "name");
        text.push_str(&format!("Prune: {removed} removed, {} kept, {} freed.\n", prune.kept, size(prune.freed_bytes)));
    }
    text
}

/// The same facts in the words of a whole report, so that both read alike.
fn outcome(job: &PublicJob) -> Outcome {
    let error = job.error.as_ref().map(|error| ErrorRecord {
        class: error.class.clone(),
        message: error.message.clone(),
        detail: String::new(),
    });
    let Some(report) = &job.report else { return Outcome { error, ..Outcome::default() } };
    let warnings = match report.warnings {
        0 => Vec::new(),
        number => vec![format!("{}; `layerkeeper history` on the server tells", count(number, "warning"))],
    };
    Outcome {
        kept: report.kept.iter().map(pull).collect(),
        pull: report.pull.as_ref().map(pull),
        digest: report.digest.clone(),
        warnings,
        error,
        moved_bytes: report.moved_bytes,
        budget_bytes: report.budget_bytes,
        ..Outcome::default()
    }
}

fn pull(public: &PublicPull) -> PullRecord {
    let whole = public.reused_bytes + public.downloaded_bytes;
    // the sender learns how many attempts there were, not what each was
    let attempt = AttemptRecord::default();
    PullRecord {
        image: public.image.clone(),
        digest: public.digest.clone(),
        reused_bytes: public.reused_bytes,
        downloaded_bytes: public.downloaded_bytes,
        overhead_bytes: public.overhead_bytes,
        wasted_bytes: public.wasted_bytes,
        reuse_ratio: public.reuse_ratio,
        certainty: public.certainty.clone(),
        doubts: Vec::new(),
        layers: public
            .layers
            .iter()
            .map(|layer| LayerRecordJson {
                digest: layer.digest.clone(),
                diff_id: None,
                size: layer.size,
                source: layer.source.clone(),
                downloaded_bytes: layer.downloaded_bytes,
                created_by: None,
            })
            .collect(),
        estimate: public.estimated_fetch_bytes.map(|(least, most)| EstimateRecord {
            total_bytes: whole,
            here_bytes: whole.saturating_sub(most),
            fetch_bytes_least: least,
            fetch_bytes_most: most,
            ..EstimateRecord::default()
        }),
        estimate_error_bytes: public.estimate_error_bytes,
        attempts: vec![attempt; public.attempts],
        duration_ms: public.duration_ms,
        phases: public.phases,
        transfer: None,
    }
}
