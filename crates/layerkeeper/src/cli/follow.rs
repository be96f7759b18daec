//! Follows a job to its end, over restarts of the daemon and on to the job that took its place.

use std::future::Future;
use std::time::Duration;

use layerkeeper_core::JobState;
use layerkeeper_keeper::Progress;

use super::exit::Exit;
use super::progress::Watcher;
use super::remote::exit_of;
use super::trouble::Trouble;

/// A restart drains a running pull first (`limits.stop_timeout`), so a daemon may be away for a while.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Where jobs are asked for: the control socket, or a server's public listener.
pub trait Source {
    /// A job as this source shows it.
    type Job: Followed;
    /// What a running job does, until it ends or the connection does.
    type Events: Events;

    /// The job.
    fn job(&self, id: &str) -> impl Future<Output = Result<Self::Job, Trouble>>;

    /// Its progress.
    fn events(&self, id: &str) -> impl Future<Output = Result<Self::Events, Trouble>>;
}

/// A job's states as they come.
pub trait Events {
    /// The next one; none where the connection ended.
    fn next(&mut self) -> impl Future<Output = Result<Option<Progress>, Trouble>>;
}

/// What following needs to know of a job.
pub trait Followed {
    /// One of the six words.
    fn state(&self) -> &str;
    /// The job that took its place.
    fn superseded_by(&self) -> Option<&str>;
}

/// A job at its end.
#[derive(Debug)]
pub struct Ended<J> {
    /// The last one: the job itself, or the one that took its place.
    pub job: J,
    /// How the command ends.
    pub exit: Exit,
}

/// Follows a job to its end. A connection that breaks is made again, with growing waits, until nobody has answered for
/// a quarter of an hour.
///
/// # Errors
/// No such job, or nobody answers any more.
pub async fn follow<S: Source>(source: &S, id: &str, watcher: &mut dyn Watcher) -> Result<Ended<S::Job>, Trouble> {
    let mut id = id.to_owned();
    let mut superseded = false;
    loop {
        let job = to_the_end(source, &id, watcher).await?;
        if let Some(newer) = job.superseded_by().filter(|newer| *newer != id) {
            watcher.note(&format!("a newer deploy took its place: going on with job {newer}"));
            superseded = true;
            id = newer.to_owned();
            continue;
        }
        let exit = exit_of(job.state());
        return Ok(Ended { job, exit: if superseded { Exit::Superseded } else { exit } });
    }
}

/// The job, once its state is final.
async fn to_the_end<S: Source>(source: &S, id: &str, watcher: &mut dyn Watcher) -> Result<S::Job, Trouble> {
    let mut outage = Outage::default();
    loop {
        match watch(source, id, watcher, &mut outage).await {
            Ok(Some(job)) => return Ok(job),
            Ok(None) => outage.wait(None, watcher).await?,
            Err(trouble) if trouble.is_transient() => outage.wait(Some(trouble), watcher).await?,
            Err(trouble) => return Err(trouble),
        }
    }
}

/// Watches one connection; none where it ended before the job did.
async fn watch<S: Source>(
    source: &S,
    id: &str,
    watcher: &mut dyn Watcher,
    outage: &mut Outage,
) -> Result<Option<S::Job>, Trouble> {
    match source.events(id).await {
        Ok(mut events) => {
            while let Some(progress) = events.next().await? {
                outage.over();
                watcher.see(&progress);
                if progress.is_final() {
                    break;
                }
            }
        }
        // too many follow already, or a proxy does not let events through: the job can still be asked for
        Err(Trouble::Passing { .. }) => {}
        Err(trouble) => return Err(trouble),
    }
    // the stream may have ended with the connection: only the job itself says whether it is over
    let job = source.job(id).await?;
    outage.answered();
    let is_final = job.state().parse().map_or(true, JobState::is_final);
    Ok(is_final.then_some(job))
}

/// How long nobody has answered, and how long to wait before the next look.
#[derive(Debug, Default)]
struct Outage {
    silent: Duration,
    told: bool,
    next: Option<Duration>,
}

impl Outage {
    /// The job's progress comes.
    fn over(&mut self) {
        *self = Self::default();
    }

    /// Somebody is there, but there is no progress to be had: looks stay apart.
    fn answered(&mut self) {
        self.silent = Duration::ZERO;
        self.told = false;
    }

    async fn wait(&mut self, trouble: Option<Trouble>, watcher: &mut dyn Watcher) -> Result<(), Trouble> {
        let wait = self.next.unwrap_or(FIRST_WAIT);
        if let Some(trouble) = trouble {
            if self.silent >= PATIENCE {
                return Err(trouble);
            }
            if !self.told {
                watcher.note(&format!("{trouble}; waiting for it to come back"));
            }
            self.told = true;
            self.silent += wait;
        }
        tokio::time::sleep(wait).await;
        self.next = Some((wait * 2).min(LONGEST_WAIT));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
