//! Scripts of what a daemon says, and what the follower makes of them.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;

#[derive(Debug)]
struct Job {
    state: &'static str,
    superseded_by: Option<&'static str>,
}

impl Followed for Job {
    fn state(&self) -> &str {
        self.state
    }

    fn superseded_by(&self) -> Option<&str> {
        self.superseded_by
    }
}

fn away() -> Trouble {
    Trouble::Unreachable { at: "/run/x.sock".to_owned(), cause: "connection refused".to_owned() }
}

/// One answer to a request for events: nobody there, or states and then the end of the stream.
type Connection = Option<Vec<JobState>>;

/// A daemon that plays its connections one after the other and then answers for jobs.
struct Script {
    connections: Mutex<VecDeque<Connection>>,
    jobs: Mutex<VecDeque<Job>>,
}

impl Script {
    fn new(connections: Vec<Connection>, jobs: Vec<Job>) -> Self {
        Self { connections: Mutex::new(connections.into()), jobs: Mutex::new(jobs.into()) }
    }
}

/// The states of one connection, still to come.
struct States(std::vec::IntoIter<JobState>);

impl Events for States {
    async fn next(&mut self) -> Result<Option<Progress>, Trouble> {
        Ok(self.0.next().map(Progress::of_state))
    }
}

impl Source for Script {
    type Job = Job;
    type Events = States;

    async fn job(&self, _: &str) -> Result<Job, Trouble> {
        self.jobs.lock().unwrap().pop_front().ok_or_else(|| Trouble::Failed("no such job".to_owned()))
    }

    async fn events(&self, _: &str) -> Result<Self::Events, Trouble> {
        let next = self.connections.lock().unwrap().pop_front().flatten();
        Ok(States(next.ok_or_else(away)?.into_iter()))
    }
}

#[derive(Default)]
struct Seen {
    states: Vec<String>,
    notes: Vec<String>,
}

impl Watcher for Seen {
    fn see(&mut self, progress: &Progress) {
        self.states.push(progress.state.clone());
    }

    fn note(&mut self, sentence: &str) {
        self.notes.push(sentence.to_owned());
    }

    fn leave(&mut self) {}
}

const SUCCEEDED: Job = Job { state: "succeeded", superseded_by: None };
const RUNNING: Job = Job { state: "running", superseded_by: None };

#[tokio::test(start_paused = true)]
async fn a_job_is_followed_to_its_end() {
    let script =
        Script::new(vec![Some(vec![JobState::Queued, JobState::Running, JobState::Succeeded])], vec![SUCCEEDED]);
    let mut seen = Seen::default();
    let ended = follow(&script, "a", &mut seen).await.unwrap();
    assert_eq!(ended.exit, Exit::Done);
    assert_eq!(seen.states, ["queued", "running", "succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_is_waited_out() {
    let connections =
        vec![Some(vec![JobState::Running]), None, None, Some(vec![JobState::Running, JobState::Succeeded])];
    let script = Script::new(connections, vec![RUNNING, SUCCEEDED]);
    let mut seen = Seen::default();
    assert_eq!(follow(&script, "a", &mut seen).await.unwrap().exit, Exit::Done);
    assert_eq!(seen.states, ["running", "running", "succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_comes_back_is_given_up() {
    let script = Script::new(vec![Some(vec![JobState::Running])], vec![RUNNING]);
    let mut seen = Seen::default();
    let started = tokio::time::Instant::now();
    let trouble = follow(&script, "a", &mut seen).await.unwrap_err();
    assert_eq!(trouble.exit(), Exit::Unreachable);
    assert!(started.elapsed() >= PATIENCE, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_job_that_took_its_place_is_followed_and_exits_with_5() {
    let script = Script::new(
        vec![Some(vec![JobState::Superseded]), Some(vec![JobState::Running, JobState::Succeeded])],
        vec![Job { state: "superseded", superseded_by: Some("b") }, SUCCEEDED],
    );
    let mut seen = Seen::default();
    let ended = follow(&script, "a", &mut seen).await.unwrap();
    assert_eq!((ended.exit, ended.job.state), (Exit::Superseded, "succeeded"));
    assert_eq!(seen.notes, ["a newer deploy took its place: going on with job b"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_and_an_unknown_job_are_told_apart() {
    let refused = Script::new(vec![Some(vec![JobState::Refused])], vec![Job { state: "refused", superseded_by: None }]);
    assert_eq!(follow(&refused, "a", &mut Seen::default()).await.unwrap().exit, Exit::Refused);
    let unknown = Script::new(vec![Some(Vec::new())], Vec::new());
    assert_eq!(follow(&unknown, "a", &mut Seen::default()).await.unwrap_err().exit(), Exit::Failed);
}

/// A daemon whose seats for followers are all taken: it answers for the job, goes away for ten minutes, and again.
#[derive(Default)]
struct Crowded(Mutex<u32>);

impl Source for Crowded {
    type Job = Job;
    type Events = States;

    async fn job(&self, _: &str) -> Result<Job, Trouble> {
        let mut asked = self.0.lock().unwrap();
        *asked += 1;
        match *asked {
            // at ten seconds each this is longer than anybody's patience
            ..=200 | 261 => Ok(RUNNING),
            201..=260 | 262..=321 => Err(away()),
            _ => Ok(SUCCEEDED),
        }
    }

    async fn events(&self, _: &str) -> Result<Self::Events, Trouble> {
        Err(Trouble::Passing { cause: "too many follow this job".to_owned(), retry_after: None })
    }
}

#[tokio::test(start_paused = true)]
async fn patience_begins_anew_with_every_answer() {
    let mut seen = Seen::default();
    let started = tokio::time::Instant::now();
    assert_eq!(follow(&Crowded::default(), "a", &mut seen).await.unwrap().exit, Exit::Done);
    assert!(started.elapsed() > PATIENCE * 3, "looks are {LONGEST_WAIT:?} apart: {:?}", started.elapsed());
    assert_eq!(seen.notes.len(), 2, "each outage is told, once: {:?}", seen.notes);
}
