//! A job's progress as server-sent events, from its present state to its final one.
//!
//! Format: WHATWG HTML, "Server-sent events": `event: progress`, one line of `data:` with a `Progress` as JSON. A
//! comment every 15 seconds keeps proxies from closing the connection.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use layerkeeper_core::JobId;
use layerkeeper_keeper::{Keeper, Progress};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::problem::{Audience, Kind, Problem};

/// How often a silent connection is given a comment, and the job is looked at anew.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A pull reports more often than anybody can read.
const GAP: Duration = Duration::from_millis(100);

/// Seats for those who follow jobs.
#[derive(Debug)]
pub struct Followers {
    per_job: usize,
    in_all: usize,
    taken: Mutex<HashMap<JobId, usize>>,
}

/// A taken seat; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    id: JobId,
    followers: Arc<Followers>,
}

impl Followers {
    /// So many seats per job, and in all.
    pub fn new(per_job: usize, in_all: usize) -> Arc<Self> {
        Arc::new(Self { per_job, in_all, taken: Mutex::default() })
    }

    /// A seat, where one is free.
    pub fn sit(self: &Arc<Self>, id: &JobId) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.get(id).copied().unwrap_or(0);
        if here >= self.per_job || taken.values().sum::<usize>() >= self.in_all {
            return None;
        }
        taken.insert(id.clone(), here + 1);
        Some(Seat { id: id.clone(), followers: Arc::clone(self) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.followers.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = taken.get_mut(&self.id) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&self.id);
            }
        }
    }
}

/// Answers with the events of a job, until its final state or `shutdown`.
pub async fn follow(
    keeper: &Keeper,
    id: &str,
    followers: &Arc<Followers>,
    shutdown: CancellationToken,
    audience: Audience,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(Kind::NotFound, "there is no job with this id");
    let id: JobId = id.parse().map_err(|_| unknown())?;
    // looked up before a seat is taken, so that made-up ids take none
    let refused = |refusal| Problem::of_refusal(&refusal, audience);
    keeper.job(&id).await.map_err(refused)?.ok_or_else(unknown)?;
    let seat = followers.sit(&id).ok_or_else(|| {
        Problem::new(Kind::TooFast, "too many follow this job, or all jobs; ask again").retry_after(10)
    })?;
    let receiver = keeper.follow(&id).await.map_err(refused)?.ok_or_else(unknown)?;
    let stage = Stage::First;
    let following = Following { keeper: keeper.clone(), id, receiver, shutdown, audience, stage, _seat: seat };
    let body = Body::from_stream(stream::unfold(following, Following::next));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx would hold events back otherwise
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, body).into_response())
}

struct Following {
    keeper: Keeper,
    id: JobId,
    receiver: watch::Receiver<Progress>,
    shutdown: CancellationToken,
    audience: Audience,
    stage: Stage,
    _seat: Seat,
}

#[derive(PartialEq)]
enum Stage {
    First,
    Next,
    Over,
}

impl Following {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.stage == Stage::Over {
            return None;
        }
        if self.stage == Stage::Next {
            let shutdown = self.shutdown.clone();
            let told = tokio::select! {
                told = self.changed() => told,
                () = shutdown.cancelled() => return None,
            };
            if !told {
                match self.ended_untold().await {
                    Some(last) => return Some((Ok(event(&last)), Self { stage: Stage::Over, ..self })),
                    None => return Some((Ok(Bytes::from_static(b": still here\n\n")), self)),
                }
            }
        }
        let mut progress = self.receiver.borrow_and_update().clone();
        if self.audience == Audience::Public {
            // mirrors are this network's own matter
            progress.layers.iter_mut().for_each(|layer| layer.from.clear());
        }
        self.stage = if progress.is_final() { Stage::Over } else { Stage::Next };
        Some((Ok(event(&progress)), self))
    }

    /// Waits for news; false when there was none for a while, or when nobody is left to tell any.
    async fn changed(&mut self) -> bool {
        pause(&self.receiver).await;
        match tokio::time::timeout(KEEP_ALIVE, self.receiver.changed()).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => {
                // the teller is gone: look at the job, but not in a tight loop
                tokio::time::sleep(Duration::from_secs(1)).await;
                false
            }
            Err(_) => false,
        }
    }

    /// The final state, where the job has come to one that nobody told.
    async fn ended_untold(&self) -> Option<Progress> {
        let row = self.keeper.job(&self.id).await.ok()??;
        let superseded_by = row.superseded_by.map(|id| id.to_string());
        row.job.state.is_final().then(|| Progress { superseded_by, ..Progress::of_state(row.job.state) })
    }
}

/// Keeps events apart, but never holds back the last one.
async fn pause(receiver: &watch::Receiver<Progress>) {
    // a receiver of its own: what it sees must stay news for the other
    let mut ahead = receiver.clone();
    // whatever comes of it, the other one looks for itself
    let _ = tokio::time::timeout(GAP, ahead.wait_for(Progress::is_final)).await;
}

fn event(progress: &Progress) -> Bytes {
    let data = serde_json::to_string(progress).unwrap_or_default();
    Bytes::from(format!("event: progress\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::JobState;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_are_kept_apart_but_the_last_is_told_at_once_and_none_is_lost() {
        let (sender, receiver) = watch::channel(Progress::of_state(JobState::Queued));
        let begun = Instant::now();
        sender.send_replace(Progress::of_state(JobState::Running));
        pause(&receiver).await;
        assert_eq!(begun.elapsed(), GAP);
        assert!(receiver.has_changed().unwrap(), "it is still news");
        let begun = Instant::now();
        sender.send_replace(Progress::of_state(JobState::Succeeded));
        pause(&receiver).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(receiver.has_changed().unwrap());
    }

    #[test]
    fn seats_are_counted_per_job_and_in_all_and_come_back() {
        let followers = Followers::new(2, 3);
        let (a, b) = (JobId::from_bits([1; 16]), JobId::from_bits([2; 16]));
        let first = followers.sit(&a).unwrap();
        let _second = followers.sit(&a).unwrap();
        assert!(followers.sit(&a).is_none(), "two per job");
        let third = followers.sit(&b).unwrap();
        assert!(followers.sit(&b).is_none(), "three in all");
        drop(first);
        let _fourth = followers.sit(&b).unwrap();
        drop(third);
        assert!(followers.sit(&a).is_some());
    }
}
