//! One attempt at a pull through the engine: its stream folded, followed, and kept in the record while it runs, so that
//! a crash loses at most the last two seconds' knowledge of what moved.

use std::time::Duration;

use futures_util::StreamExt;
use layerkeeper_core::progress::PullProgress;
use layerkeeper_core::reuse::{Attempt, Estimate};
use layerkeeper_core::{ImageName, Reference};
use layerkeeper_engine::EngineError;
use layerkeeper_store::record::{AttemptRecord, EstimateRecord};
use tokio::time::{Instant, timeout_at};

use crate::context::InFlight;
use crate::job_error::JobError;
use crate::worker::run::Run;

const TELL_EVERY: Duration = Duration::from_millis(200);
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// A pull that ended, well or not.
pub(super) struct Pulled {
    pub progress: PullProgress,
    pub attempt: Attempt,
    /// When the first layer byte came, and the last, since the pull began; none where none came.
    pub bytes_came: Option<(Duration, Duration)>,
    pub error: Option<JobError>,
}

/// Pulls `reference` once.
pub(super) async fn pull(
    run: &mut Run<'_>,
    name: &ImageName,
    reference: &Reference,
    expected: Option<&Estimate>,
) -> Result<Pulled, JobError> {
    let expected = expected.map(EstimateRecord::from);
    let login = run.ctx.registry.login(name.repository.registry()).await?;
    run.changes();
    let begun = Instant::now();
    let mut progress = PullProgress::default();
    let (moved_before, attempts_before) = (run.outcome.moved_bytes, run.outcome.attempts.len());
    let in_flight = |moved| InFlight { image: name.clone(), moved, moved_before, attempts_before, begun };
    // from here on bytes move, whatever becomes of the daemon
    save_so_far(run, name, (&progress, &expected), begun).await;
    let patience = patience(run, name);
    let mut bytes_came: Option<(Duration, Duration)> = None;
    let error = match run.ctx.engine.pull(reference, login.as_ref()).await {
        Err(error) => Some(error.into()),
        Ok(mut stream) => {
            let mut due = Due::new(begun);
            loop {
                match timeout_at(due.first(patience), stream.next()).await {
                    Ok(Some(Ok(event))) => {
                        let before = progress.moved();
                        due.heard(progress.apply(&event));
                        if progress.moved() > before {
                            let now = begun.elapsed();
                            bytes_came = Some((bytes_came.map_or(now, |(first, _)| first), now));
                        }
                        run.in_flight(Some(in_flight(progress.moved().0)));
                    }
                    Ok(Some(Err(error))) => break Some(error.into()),
                    Ok(None) if progress.done.is_some() => break None,
                    Ok(None) => break Some(EngineError::Unfinished.into()),
                    Err(_) if due.alive.elapsed() >= patience => break Some(stalled(run, patience).await),
                    Err(_) => {}
                }
                if due.tell.take_if(|at| *at <= Instant::now()).is_some() {
                    run.pulling(name, &progress);
                    due.told = Instant::now();
                }
                if due.save.take_if(|at| *at <= Instant::now()).is_some() {
                    save_so_far(run, name, (&progress, &expected), begun).await;
                    due.saved = Instant::now();
                }
            }
        }
    };
    run.pulling(name, &progress);
    run.in_flight(None);
    // where nobody told the engine that the pull is over, the next one may go on where it was
    let cut = matches!(error, Some(JobError::Stalled(_) | JobError::Engine(EngineError::BrokenOff(_))));
    let attempt = Attempt {
        moved: progress.moved(),
        duration: begun.elapsed(),
        failure: error.as_ref().map(ToString::to_string),
        cut,
    };
    Ok(Pulled { progress, attempt, bytes_came, error })
}

/// When what the engine told is to be passed on. By the clock: a pull that falls silent must not leave its last words
/// untold.
struct Due {
    /// When bytes last moved.
    alive: Instant,
    told: Instant,
    saved: Instant,
    tell: Option<Instant>,
    save: Option<Instant>,
}

impl Due {
    fn new(begun: Instant) -> Self {
        Self { alive: Instant::now(), told: begun, saved: begun, tell: None, save: None }
    }

    fn heard(&mut self, moved: bool) {
        if moved {
            self.alive = Instant::now();
        }
        self.tell.get_or_insert(self.told + TELL_EVERY);
        self.save.get_or_insert(self.saved + SAVE_EVERY);
    }

    fn first(&self, patience: Duration) -> Instant {
        let stall = self.alive + patience;
        [self.tell, self.save].into_iter().flatten().fold(stall, Instant::min)
    }
}

/// How long a pull may move nothing: twice as long after each attempt at this image that failed. A slow pull that moves is
/// left alone.
fn patience(run: &Run<'_>, name: &ImageName) -> Duration {
    let image = name.to_string();
    let failed = run.outcome.attempts.iter().filter(|attempt| attempt.image == image).count();
    run.ctx.settings().stall_timeout.saturating_mul(1 << failed.min(5))
}

/// Nothing was downloaded and nothing extracted for so long. An engine that answers is stuck with this pull; one that does
/// not is away.
async fn stalled(run: &Run<'_>, patience: Duration) -> JobError {
    match run.ctx.engine.ping().await {
        Ok(()) => JobError::Stalled(patience),
        Err(error) => error.into(),
    }
}

/// Stores the record as it must read if the daemon ends now; in memory it stays as it is. A store that cannot take it now
/// is no reason to throw the pull away.
async fn save_so_far(
    run: &Run<'_>,
    name: &ImageName,
    (progress, expected): (&PullProgress, &Option<EstimateRecord>),
    begun: Instant,
) {
    let mut so_far = run.outcome.clone();
    so_far.moved_bytes += progress.moved().0;
    so_far.attempts.push(AttemptRecord { expected: expected.clone(), ..in_flight(name, progress, begun) });
    if let Err(error) = run.ctx.store.save_outcome(&run.job.id, &so_far).await {
        tracing::warn!(job = %run.job.id, image = %name, %error, "could not store how far the pull is; goes on");
    }
}

/// What the record says of an attempt while it runs, and hence after a crash.
fn in_flight(name: &ImageName, progress: &PullProgress, begun: Instant) -> AttemptRecord {
    AttemptRecord {
        image: name.to_string(),
        moved_bytes: progress.moved().0,
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        failure: Some("the daemon ended in mid-pull".to_owned()),
        cut: true,
        expected: None,
    }
}
