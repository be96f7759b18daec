//! One attempt at a pull through the engine: its stream folded, followed, and kept in the record while it runs, so that
//! a crash loses at most the last two seconds' knowledge of what moved. Where the engine pulls from the relay, the relay
//! tells what came.

mod left;
mod pace;
mod unpacking;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use layerkeeper_core::progress::{PullEvent, PullProgress};
use layerkeeper_core::reuse::{Attempt, Estimate};
use layerkeeper_core::{Bytes, Digest, ImageName, Reference};
use layerkeeper_engine::{EngineError, Login, PullStream};
use layerkeeper_relay::{Relay, Snapshot};
use layerkeeper_store::record::{AttemptRecord, EstimateRecord};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::context::InFlight;
use crate::follow::Progress;
use crate::job_error::JobError;
use crate::worker::run::Run;
use crate::worker::transfer::{MEASURED, keep_pace};
use left::left;
use pace::Pace;
use unpacking::Unpacking;

const TELL_EVERY: Duration = Duration::from_millis(200);
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// Where nothing moves this is told, too: the rate is not what it was.
const TELL_SILENCE_EVERY: Duration = Duration::from_secs(2);

/// A pull that ended, well or not.
pub(super) struct Pulled {
    pub progress: PullProgress,
    pub attempt: Attempt,
    /// When the first layer byte came, and the last, since the pull began; none where none came.
    pub bytes_came: Option<(Duration, Duration)>,
    /// Compressed bytes that the engine unpacked in a second; none where there was too little to tell.
    pub unpacks: Option<f64>,
    pub error: Option<JobError>,
}

impl Pulled {
    /// What came stays where it is, and the next attempt goes on from there.
    pub fn fails(&mut self, error: JobError) {
        (self.attempt.failure, self.attempt.cut) = (Some(error.to_string()), true);
        self.error = Some(error);
    }
}

/// The relay that the engine pulls from.
pub(super) struct Relayed<'r> {
    pub relay: &'r Relay,
    /// What counts: the config does not.
    pub layers: HashSet<Digest>,
}

impl Relayed<'_> {
    /// Layer bytes that came over the wire.
    fn moved(&self) -> Bytes {
        self.relay.look(|snapshot| {
            let layers = snapshot.blobs.iter().filter(|(digest, _)| self.layers.contains(digest));
            layers.map(|(_, blob)| blob.came()).sum()
        })
    }
}

/// What the loop hears next.
enum Heard {
    Event(Option<Result<PullEvent, EngineError>>),
    Relay,
    Silence,
}

/// Pulls `reference` once.
pub(super) async fn pull(
    run: &mut Run<'_>,
    name: &ImageName,
    reference: &Reference,
    login: Option<&Login>,
    expected: Option<&Estimate>,
    relayed: Option<&Relayed<'_>>,
) -> Result<Pulled, JobError> {
    let expected = expected.map(EstimateRecord::from);
    run.changes();
    let mut hand = Hand { name, expected, relayed, ..Hand::new(run, name) };
    // from here on bytes move, whatever becomes of the daemon
    hand.save(run).await;
    let error = match run.ctx.engine.pull(reference, login).await {
        Err(error) => Some(error.into()),
        Ok(stream) => hand.follow(run, stream).await,
    };
    hand.tell(run);
    run.in_flight(None);
    // where nobody told the engine that the pull is over, the next one may go on where it was
    let cut = matches!(error, Some(JobError::Stalled(_) | JobError::Engine(EngineError::BrokenOff(_))));
    let attempt = Attempt {
        moved: hand.moved(),
        duration: hand.begun.elapsed(),
        failure: error.as_ref().map(ToString::to_string),
        cut,
    };
    let (progress, bytes_came, unpacks) = (hand.progress, hand.bytes_came, hand.unpacking.rate());
    Ok(Pulled { progress, attempt, bytes_came, unpacks, error })
}

/// A pull in hand.
struct Hand<'h> {
    name: &'h ImageName,
    expected: Option<EstimateRecord>,
    relayed: Option<&'h Relayed<'h>>,
    progress: PullProgress,
    unpacking: Unpacking,
    bytes_came: Option<(Duration, Duration)>,
    pace: Pace,
    moved_before: u64,
    attempts_before: usize,
    begun: Instant,
}

impl<'h> Hand<'h> {
    fn new(run: &Run<'_>, name: &'h ImageName) -> Self {
        Self {
            name,
            expected: None,
            relayed: None,
            progress: PullProgress::default(),
            unpacking: Unpacking::default(),
            bytes_came: None,
            pace: Pace::default(),
            moved_before: run.outcome.moved_bytes,
            attempts_before: run.outcome.attempts.len(),
            begun: Instant::now(),
        }
    }

    /// Hears the engine out; gives why the pull failed, if it did.
    async fn follow(&mut self, run: &mut Run<'_>, mut stream: PullStream) -> Option<JobError> {
        let patience = patience(run, self.name);
        let mut due = Due::new(self.begun);
        let mut watched = self.relayed.map(|relayed| relayed.relay.watch());
        loop {
            let before = self.moved();
            let heard = tokio::select! {
                event = stream.next() => Heard::Event(event),
                () = changed(&mut watched) => Heard::Relay,
                () = sleep_until(due.first(patience)) => Heard::Silence,
            };
            match heard {
                Heard::Event(Some(Ok(event))) => {
                    let moved = self.progress.apply(&event);
                    self.unpacking.hear(&event, &self.progress);
                    due.heard(moved);
                }
                Heard::Event(Some(Err(error))) => return Some(error.into()),
                Heard::Event(None) if self.progress.done.is_some() => return None,
                Heard::Event(None) => return Some(EngineError::Unfinished.into()),
                Heard::Relay => {
                    if watched.as_ref().is_some_and(|watched| watched.borrow().failure.is_some()) {
                        return Some(EngineError::Other("the relay cannot go on".to_owned()).into());
                    }
                    // the relay bounds by itself how long it waits for a cache
                    let filling = watched.as_ref().is_some_and(|watched| watched.borrow().filling);
                    due.heard(filling || self.moved() > before);
                }
                Heard::Silence if due.alive.elapsed() >= patience => return Some(stalled(run, patience).await),
                Heard::Silence => {}
            }
            let moved = self.moved();
            if moved > before {
                let now = self.begun.elapsed();
                self.bytes_came = Some((self.bytes_came.map_or(now, |(first, _)| first), now));
            }
            run.in_flight(Some(self.in_flight(moved)));
            if due.tells(Instant::now()) {
                self.tell(run);
            }
            if due.save.take_if(|at| *at <= Instant::now()).is_some() {
                self.save(run).await;
                if self.relayed.is_some() {
                    keep_pace(run).await;
                }
                due.saved = Instant::now();
            }
        }
    }

    /// Layer bytes that came here so far.
    fn moved(&self) -> Bytes {
        match self.relayed {
            Some(relayed) => relayed.moved(),
            None => self.progress.moved(),
        }
    }

    fn in_flight(&self, moved: Bytes) -> InFlight {
        InFlight {
            image: self.name.clone(),
            moved: moved.0,
            moved_before: self.moved_before,
            attempts_before: self.attempts_before,
            begun: self.begun,
        }
    }

    /// Tells the followers how far it is.
    fn tell(&mut self, run: &Run<'_>) {
        let snapshot = self.relayed.map(|relayed| relayed.relay.snapshot());
        let moved = self.moved().0;
        self.pace.look(Instant::now(), moved);
        let left = self.expected.as_ref().map(|expected| left(expected, &self.progress, snapshot.as_ref()));
        let progress = Progress::pulling(self.name.to_string(), &self.progress, snapshot.as_ref());
        run.pulling(progress.at_pace(self.pace.rate(), left));
    }

    /// Stores the record as it must read if the daemon ends now; in memory it stays as it is. A store that cannot take it
    /// now is no reason to throw the pull away.
    async fn save(&self, run: &Run<'_>) {
        let mut so_far = run.outcome.clone();
        let moved = self.moved().0;
        so_far.moved_bytes += moved;
        so_far.attempts.push(AttemptRecord {
            image: self.name.to_string(),
            moved_bytes: moved,
            duration_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            failure: Some("the daemon ended in mid-pull".to_owned()),
            cut: true,
            expected: self.expected.clone(),
            transfer: None,
        });
        if let Err(error) = run.ctx.store.save_outcome(&run.job.id, &so_far).await {
            tracing::warn!(job = %run.job.id, image = %self.name, %error, "could not store how far the pull is; goes on");
        }
    }
}

/// The relay has news; never, where there is none.
async fn changed(watched: &mut Option<watch::Receiver<Snapshot>>) {
    let Some(receiver) = watched else { return std::future::pending().await };
    if receiver.changed().await.is_err() {
        // the relay is over, and has said its last word
        *watched = None;
    }
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

    /// Is it time to tell how far the pull is? Then it was told now.
    fn tells(&mut self, now: Instant) -> bool {
        let due = self.tell.is_some_and(|at| at <= now) || self.told + TELL_SILENCE_EVERY <= now;
        if due {
            (self.tell, self.told) = (None, now);
        }
        due
    }

    fn first(&self, patience: Duration) -> Instant {
        let silence = self.told + TELL_SILENCE_EVERY;
        let stall = self.alive + patience;
        [self.tell, self.save].into_iter().flatten().fold(stall.min(silence), Instant::min)
    }
}

/// How long a pull may move nothing: twice as long after each attempt at this image that failed. A slow pull that moves is
/// left alone.
fn patience(run: &Run<'_>, name: &ImageName) -> Duration {
    let image = name.to_string();
    let pulls = run.outcome.attempts.iter().filter(|attempt| attempt.failure.as_deref() != Some(MEASURED));
    let failed = pulls.filter(|attempt| attempt.image == image).count();
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
