//! What becomes of jobs: each comes to one end, and none is lost.

use layerkeeper_core::{Image, Inventory, JobId, JobState};
use layerkeeper_store::{JobFilter, JobRow};

use super::trouble::Step;
use super::witness::now;
use super::world::World;

impl World {
    /// Reads what has become of the jobs that were open, and which have come.
    pub async fn read_jobs(&mut self) {
        let counts = self.store.job_counts().await.unwrap();
        let known = self.ledger.lock().unwrap().jobs.len() as u64;
        let come = counts.iter().map(|(_, n)| n).sum::<u64>().saturating_sub(known);
        if come > 0 {
            let newest = JobFilter { limit: come as usize + 4, ..JobFilter::default() };
            let rows = self.store.jobs(newest).await.unwrap();
            let mut ledger = self.ledger.lock().unwrap();
            rows.iter().for_each(|row| ledger.knows(row.job.seq, &row.job.id, &row.job.intent));
        }
        let queued: Vec<JobId> = self.store.queued().await.unwrap().into_iter().map(|job| job.id).collect();
        let open: Vec<JobId> = self.ledger.lock().unwrap().open().map(|job| job.id.clone()).collect();
        for id in open.iter().filter(|id| !queued.contains(id)) {
            match self.store.job(id).await.unwrap() {
                Some(row) => self.takes_down(&row).await,
                None => self.ledger.lock().unwrap().wrong(format!("job {id} is lost")),
            }
        }
    }

    async fn takes_down(&self, row: &JobRow) {
        let heir = match &row.superseded_by {
            Some(heir) => self.store.job(heir).await.unwrap(),
            None => None,
        };
        let mut ledger = self.ledger.lock().unwrap();
        let seq = row.job.seq;
        ledger.jobs.get_mut(&seq).unwrap().state = row.job.state;
        if (row.job.state == JobState::Superseded) != heir.as_ref().is_some_and(|heir| heir.job.seq > seq) {
            ledger.wrong(format!("job {seq} is {} and its heir is {heir:?}", row.job.state));
        }
        if row.job.state.is_final() {
            ledger.ended(row, &format!("FAKE/{}", self.kind), &self.shop);
        }
    }

    /// What the keeper itself says of the last jobs and of the names that are here, for whoever looks for the fault.
    pub async fn record(&self) -> String {
        let rows = self.store.jobs(JobFilter { limit: 8, ..JobFilter::default() }).await.unwrap();
        let rows = rows
            .iter()
            .map(|row| format!("job {} {} {}: {:?}\n", row.job.seq, row.job.intent, row.job.state, row.outcome));
        let names = self.store.name_history(&format!("FAKE/{}", self.kind)).await.unwrap();
        rows.chain(names.iter().map(|(name, history)| format!("{name}: {history:?}\n"))).collect()
    }

    /// At the end of all: every job has come to its end, and to no other since.
    pub async fn all_have_ended(&mut self) {
        let jobs: Vec<_> = self.ledger.lock().unwrap().jobs.values().cloned().collect();
        for seen in jobs {
            let row = self.store.job(&seen.id).await.unwrap();
            let mut ledger = self.ledger.lock().unwrap();
            match row {
                None => ledger.wrong(format!("{} is lost", seen.intent)),
                Some(row) if !row.job.state.is_final() => {
                    ledger.wrong(format!("{} does not end: {:?}", seen.intent, row.outcome.error));
                }
                Some(row) if row.job.state != seen.state => {
                    ledger.wrong(format!("{} was {} and is {}", seen.intent, seen.state, row.job.state));
                }
                Some(_) => {}
            }
        }
    }

    /// What happened in this step, and how it looks now.
    pub fn line(&self, step: &Step, said: &str) -> String {
        let here = match now(&self.fake) {
            Some(inventory) => inventory.images.iter().map(|image| shown(image, &inventory)).collect::<String>(),
            None => "the engine is away".to_owned(),
        };
        let ledger = self.ledger.lock().unwrap();
        let open: Vec<String> = ledger.open().map(|job| format!("{} {}", job.intent, job.state)).collect();
        let pull = ledger.pulls.last().filter(|pull| pull.end.is_none());
        let pull = pull.map(|pull| format!(", pulling {}", pull.reference));
        let (n, gate) = (ledger.step, ledger.gate);
        let line = format!("{n:3} {step:?} -> {said} | {here} | {gate:?}, open {open:?}{}", pull.unwrap_or_default());
        line.replace("ghcr.io/acme/", "").split("sha256:").map(short).collect()
    }
}

/// `[name name @digest held]`
fn shown(image: &Image, inventory: &Inventory) -> String {
    let names = image.names.iter().map(ToString::to_string);
    let rows = image.digests.iter().map(|(_, digest)| format!("@{digest}"));
    let held = inventory.holders(image).next().map(|_| "held".to_owned());
    format!("[{}]", names.chain(rows).chain(held).collect::<Vec<_>>().join(" "))
}

/// A line's part behind `sha256:`, with as much of the digest as tells it from others.
fn short(part: &str) -> &str {
    let digest = part.len() >= 64 && part.as_bytes()[..64].iter().all(u8::is_ascii_hexdigit);
    if digest { &part[56..] } else { part }
}
