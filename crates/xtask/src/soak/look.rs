//! What is seen of the daemon while it lives: its jobs, its memory and its open files.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::{Ground, Trouble};
use crate::usage::{Memory, open_files};

/// What an idle daemon with a burst behind it may take, in MiB.
const MEMORY: f64 = 24.0;
/// More files than this nobody needs who has one engine, one database and a handful of callers.
const FILES: usize = 64;

/// All that was seen.
pub struct Looks {
    /// Each job's last known state, cause of its failure and kind, by its id.
    jobs: BTreeMap<String, Seen>,
    /// Since the last look.
    meanwhile: Vec<Trouble>,
    happened: BTreeMap<Trouble, u64>,
    most: (f64, usize),
    last: (f64, usize),
}

struct Seen {
    kind: String,
    state: String,
    /// The class of its error.
    failure: Option<String>,
    wasted: u64,
}

impl Looks {
    /// Prints the table's head.
    pub fn begin() -> Self {
        println!(
            "{:>6}  {:>9}  {:>6}  {:>10}  {:>6}  {:>8}  {:>5}  meanwhile",
            "minute", "succeeded", "failed", "superseded", "queued", "resident", "files"
        );
        Self { jobs: BTreeMap::new(), meanwhile: Vec::new(), happened: BTreeMap::new(), most: (0.0, 0), last: (0.0, 0) }
    }

    /// Something went wrong.
    pub fn happened(&mut self, trouble: Trouble) {
        *self.happened.entry(trouble).or_default() += 1;
        self.meanwhile.push(trouble);
    }

    /// Takes down how it is now, and prints a line.
    pub fn look(&mut self, ground: &Ground, now: Duration) -> Result<()> {
        let jobs = ground.server.local().get("/v1/jobs?limit=500")?.json()?;
        for job in jobs.as_array().into_iter().flatten() {
            self.jobs.insert(text(&job["id"]), Seen::of(job));
        }
        let pid = ground.server.pid()?;
        self.last = (Memory::of(pid)?.resident, open_files(pid)?);
        self.most = (self.most.0.max(self.last.0), self.most.1.max(self.last.1));
        let count = |state: &str| self.jobs.values().filter(|job| job.state == state).count();
        let open = count("queued") + count("running");
        let meanwhile: Vec<&str> = self.meanwhile.drain(..).map(Trouble::short).collect();
        println!(
            "{:>6}  {:>9}  {:>6}  {:>10}  {open:>6}  {:>4.1} MiB  {:>5}  {}",
            now.as_secs() / 60,
            count("succeeded"),
            count("failed") + count("refused"),
            count("superseded"),
            self.last.0,
            self.last.1,
            meanwhile.join(", ")
        );
        Ok(())
    }

    /// The state of a job when it was last seen.
    pub fn state_of(&self, id: &str) -> Option<&str> {
        self.jobs.get(id).map(|job| job.state.as_str())
    }

    /// What grew.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.last.0 > MEMORY {
            wrong.push(format!("{:.1} MiB are resident at the end, more than {MEMORY}", self.last.0));
        }
        if self.last.1 > FILES {
            wrong.push(format!("{} files are open at the end, more than {FILES}", self.last.1));
        }
        wrong
    }

    /// Jobs by their end, failures by cause, what went wrong how often, and what the daemon took.
    pub fn summary(&self, ground: &Ground) -> Result<()> {
        let mut ends: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut failures: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for job in self.jobs.values() {
            *ends.entry((&job.kind, &job.state)).or_default() += 1;
            if let Some(class) = &job.failure {
                *failures.entry((&job.kind, class)).or_default() += 1;
            }
        }
        println!("\nJobs by kind and end:");
        ends.iter().for_each(|((kind, state), times)| println!("{times:>6}  {kind} {state}"));
        println!("\nFailures by cause:");
        failures.iter().for_each(|((kind, class), times)| println!("{times:>6}  {kind}: {class}"));
        println!("\nWhat went wrong, and how often:");
        self.happened.iter().for_each(|(trouble, times)| println!("{times:>6}  {}", trouble.short()));
        let wasted: u64 = self.jobs.values().map(|job| job.wasted).sum();
        let memory = Memory::of(ground.server.pid()?)?;
        println!(
            "\n{} of layers moved in attempts that failed. Resident: {:.1} MiB at the end, {:.1} at the most that was seen \
             ({:.1} its own at the end); open files: {} and {}.",
            layerkeeper_core::Bytes(wasted),
            self.last.0,
            self.most.0,
            memory.anonymous,
            self.last.1,
            self.most.1
        );
        Ok(())
    }
}

impl Seen {
    fn of(job: &Value) -> Self {
        let failure = job["outcome"]["error"]["class"].as_str().map(str::to_owned);
        let wasted = job["outcome"]["pull"]["wasted_bytes"].as_u64().unwrap_or_default();
        let state = text(&job["state"]);
        Self {
            kind: text(&job["kind"]),
            failure: failure.filter(|_| state == "failed" || state == "refused"),
            wasted,
            state,
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
