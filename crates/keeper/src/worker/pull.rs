//! One attempt at a pull through the engine: its stream folded, followed, and kept in the record while it runs, so that
//! a crash loses at most the last two seconds' knowledge of what moved.

use std::time::Duration;

use futures_util::StreamExt;
use layerkeeper_core::progress::PullProgress;
use layerkeeper_core::reuse::Attempt;
use layerkeeper_core::{ImageName, Reference};
use layerkeeper_engine::EngineError;
use layerkeeper_store::record::AttemptRecord;
use tokio::time::Instant;

use crate::context::InFlight;
use crate::job_error::JobError;
use crate::worker::run::Run;

const TELL_EVERY: Duration = Duration::from_millis(200);
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// A pull that ended, well or not.
pub(super) struct Pulled {
    pub progress: PullProgress,
    pub attempt: Attempt,
    pub error: Option<EngineError>,
}

/// Pulls `reference` once. `own`: it is the job's own image, whose attempts the record keeps.
pub(super) async fn pull(
    run: &mut Run<'_>,
    name: &ImageName,
    reference: &Reference,
    own: bool,
) -> Result<Pulled, JobError> {
    let login = run.ctx.registry.login(name.repository.registry()).await?;
    run.changes();
    let begun = Instant::now();
    let mut progress = PullProgress::default();
    let (moved_before, attempts_before) = (run.outcome.moved_bytes, run.outcome.attempts.len());
    let before = InFlight { moved: 0, moved_before, attempts_before, own, begun };
    let error = match run.ctx.engine.pull(reference, login.as_ref()).await {
        Err(error) => Some(error),
        Ok(mut stream) => {
            let mut told = begun;
            let mut saved = begun;
            loop {
                match stream.next().await {
                    Some(Ok(event)) => {
                        progress.apply(&event);
                        run.in_flight(Some(InFlight { moved: progress.moved().0, ..before }));
                        if told.elapsed() >= TELL_EVERY {
                            told = Instant::now();
                            run.pulling(name, &progress);
                        }
                        if saved.elapsed() >= SAVE_EVERY {
                            saved = Instant::now();
                            save_so_far(run, &progress, begun, own).await?;
                        }
                    }
                    Some(Err(error)) => break Some(error),
                    None if progress.done.is_some() => break None,
                    None => break Some(EngineError::Unfinished),
                }
            }
        }
    };
    run.pulling(name, &progress);
    run.in_flight(None);
    let attempt = Attempt {
        moved: progress.moved(),
        duration: begun.elapsed(),
        failure: error.as_ref().map(ToString::to_string),
        cut: false,
    };
    Ok(Pulled { progress, attempt, error })
}

/// Stores the record as it must read if the daemon ends now; in memory it stays as it is.
async fn save_so_far(run: &mut Run<'_>, progress: &PullProgress, begun: Instant, own: bool) -> Result<(), JobError> {
    let mut so_far = run.outcome.clone();
    so_far.moved_bytes += progress.moved().0;
    if own {
        so_far.attempts.push(in_flight(progress, begun));
    }
    Ok(run.ctx.store.save_outcome(&run.job.id, &so_far).await?)
}

/// What the record says of an attempt while it runs, and hence after a crash.
fn in_flight(progress: &PullProgress, begun: Instant) -> AttemptRecord {
    AttemptRecord {
        moved_bytes: progress.moved().0,
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        failure: Some("the daemon ended in mid-pull".to_owned()),
        cut: true,
    }
}
