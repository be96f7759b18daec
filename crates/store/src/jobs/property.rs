//! The queue against a simple model of its rules, in all orders.

use layerkeeper_core::job::{Intent, Job, JobId, JobState, Trigger};
use layerkeeper_core::{Digest, Timestamp};
use proptest::prelude::*;

use crate::jobs::{Enqueued, JobFilter, NewJob};
use crate::record::Outcome;
use crate::store::{Options, Store};
use crate::testing::{id, name};

const MAX_QUEUED: u64 = 4;

#[derive(Debug, Clone)]
enum Step {
    Enqueue(Intent, Trigger, Option<i64>),
    Take,
    PutBack(Option<i64>),
    Finish(JobState),
    Crash,
    /// Finish a job that is final already, by its place in the history.
    FinishAgain(usize),
}

#[derive(Debug, Clone)]
struct Known {
    id: JobId,
    intent: Intent,
    state: JobState,
    not_before: Option<i64>,
    attempts: u32,
    superseded_by: Option<JobId>,
}

#[derive(Default)]
struct Model {
    jobs: Vec<Known>,
}

impl Model {
    /// Joined job's or new job's id and what is superseded; none: the queue is full.
    fn enqueue(&mut self, new: &NewJob) -> Option<(bool, JobId, Vec<JobId>)> {
        if let Some(found) = self.joinable(new) {
            let job = &mut self.jobs[found];
            let forward = match (job.not_before, new.not_before) {
                (Some(_), None) => true,
                (Some(due), Some(wanted)) => wanted.0 < due,
                (None, _) => false,
            };
            if job.state == JobState::Queued && job.attempts == 0 && forward {
                job.not_before = new.not_before.map(|at| at.0);
            }
            return Some((true, job.id.clone(), Vec::new()));
        }
        let before = self.jobs.clone();
        let superseded = match &new.intent {
            Intent::Deploy { .. } => self.supersede(&new.intent, self.jobs.len(), &new.id),
            _ => Vec::new(),
        };
        self.jobs.push(Known {
            id: new.id.clone(),
            intent: new.intent.clone(),
            state: JobState::Queued,
            not_before: new.not_before.map(|at| at.0),
            attempts: 0,
            superseded_by: None,
        });
        if self.jobs.iter().filter(|job| job.state == JobState::Queued).count() as u64 > MAX_QUEUED {
            self.jobs = before;
            return None;
        }
        Some((false, new.id.clone(), superseded))
    }

    fn joinable(&self, new: &NewJob) -> Option<usize> {
        let same = |there: &Intent| match &new.intent {
            Intent::Warm { digest: None, .. } => {
                there.kind() == new.intent.kind() && there.image() == new.intent.image()
            }
            wanted => there == wanted,
        };
        let unfinished = |state: JobState, i: &usize| self.jobs[*i].state == state && same(&self.jobs[*i].intent);
        let all = || (0..self.jobs.len()).rev();
        let queued = || all().find(|i| unfinished(JobState::Queued, i));
        let running = || all().find(|i| unfinished(JobState::Running, i));
        let told = matches!(new.trigger, Trigger::Webhook(_) | Trigger::Operator { .. });
        match &new.intent {
            Intent::Deploy { digest, .. } => {
                let newest = all().find(|i| {
                    let job = &self.jobs[*i];
                    !job.state.is_final()
                        && matches!(job.intent, Intent::Deploy { .. })
                        && job.intent.repository() == new.intent.repository()
                });
                let found = queued().or_else(|| digest.and_then(|_| running()));
                newest.filter(|newest| Some(*newest) == found || (digest.is_some() && Some(*newest) == running()))
            }
            Intent::Warm { .. } if told => queued(),
            Intent::Warm { .. } | Intent::Heal { .. } => queued().or_else(running),
            Intent::Prune { .. } => queued(),
        }
    }

    fn supersede(&mut self, newer: &Intent, before: usize, by: &JobId) -> Vec<JobId> {
        let mut gone = Vec::new();
        for job in &mut self.jobs[..before] {
            let same = matches!(job.intent, Intent::Deploy { .. }) && job.intent.repository() == newer.repository();
            if same && job.state == JobState::Queued {
                (job.state, job.not_before) = (JobState::Superseded, None);
                job.superseded_by = Some(by.clone());
                gone.push(job.id.clone());
            }
        }
        gone
    }

    fn take(&mut self, now: i64) -> Option<(JobId, Vec<JobId>)> {
        let due = |job: &Known| job.state == JobState::Queued && job.not_before.is_none_or(|at| at <= now);
        let next = (0..self.jobs.len())
            .filter(|i| due(&self.jobs[*i]))
            .min_by_key(|i| (self.jobs[*i].intent.kind().priority(), *i))?;
        let taken = &mut self.jobs[next];
        (taken.state, taken.not_before) = (JobState::Running, None);
        taken.attempts += 1;
        let (id, intent) = (taken.id.clone(), taken.intent.clone());
        let superseded = match intent {
            Intent::Deploy { .. } => self.supersede(&intent, next, &id),
            _ => Vec::new(),
        };
        Some((id, superseded))
    }

    fn running(&mut self) -> Option<&mut Known> {
        self.jobs.iter_mut().find(|job| job.state == JobState::Running)
    }
}

fn intents() -> impl Strategy<Value = Intent> {
    let app = (0..2u8, 0..3u8).prop_map(|(app, tag)| name(&format!("app{app}:{tag}")));
    let digest = proptest::option::of((0..2u8).prop_map(|n| Digest::of(&[n])));
    let base = (0..2u8).prop_map(|n| name(&format!("base:{n}")));
    prop_oneof![
        4 => (app, digest.clone()).prop_map(|(image, digest)| Intent::Deploy { image, digest, over_limit: false }),
        2 => (base.clone(), digest).prop_map(|(image, digest)| Intent::Warm { image, digest }),
        1 => base.prop_map(|image| Intent::Heal { image }),
        1 => any::<bool>().prop_map(|superseded| Intent::Prune { superseded }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let triggers = prop_oneof![
        Just(Trigger::Webhook("w".to_owned())),
        Just(Trigger::Schedule),
        Just(Trigger::Operator { uid: 7 })
    ];
    let later = || proptest::option::weighted(0.4, 0..60i64);
    let ends = prop_oneof![Just(JobState::Succeeded), Just(JobState::Failed), Just(JobState::Refused)];
    prop_oneof![
        6 => (intents(), triggers, later()).prop_map(|(intent, trigger, at)| Step::Enqueue(intent, trigger, at)),
        3 => Just(Step::Take),
        2 => later().prop_map(Step::PutBack),
        2 => ends.prop_map(Step::Finish),
        1 => Just(Step::Crash),
        1 => any::<usize>().prop_map(Step::FinishAgain),
    ]
}

/// One worker: it takes only when nothing runs.
async fn step(store: &Store, model: &mut Model, step: Step, now: i64) {
    let outcome = Outcome::default();
    let running = model.running().map(|job| job.id.clone());
    match (step, running) {
        (Step::Enqueue(intent, trigger, not_before), _) => {
            let not_before = not_before.map(Timestamp);
            let new = NewJob { id: id(now as u32), intent, trigger, not_before, now: Timestamp(now) };
            let answer = store.enqueue(new.clone()).await.ok().map(|accepted| {
                let joined = matches!(accepted.enqueued, Enqueued::Joined(_));
                (joined, accepted.job().id.clone(), accepted.superseded)
            });
            assert_eq!(answer, model.enqueue(&new), "{new:?}");
        }
        (Step::Take, None) => {
            let taken = store.take(Timestamp(now)).await.unwrap().map(|taken| (taken.job.id, taken.superseded));
            assert_eq!(taken, model.take(now));
        }
        (Step::PutBack(not_before), Some(id)) => {
            store.put_back(&id, not_before.map(Timestamp), &outcome).await.unwrap();
            let job = model.running().unwrap();
            (job.state, job.not_before) = (JobState::Queued, not_before);
        }
        (Step::Finish(state), Some(id)) => {
            store.finish(&id, state, &outcome, Timestamp(now)).await.unwrap();
            model.running().unwrap().state = state;
        }
        (Step::Crash, running) => {
            let back: Vec<JobId> = store.requeue_running().await.unwrap().into_iter().map(|job| job.id).collect();
            assert_eq!(back, running.into_iter().collect::<Vec<_>>());
            if let Some(job) = model.running() {
                (job.state, job.not_before) = (JobState::Queued, None);
            }
        }
        (Step::FinishAgain(n), _) => {
            let done: Vec<_> = model.jobs.iter().filter(|job| job.state.is_final()).collect();
            if let Some(job) = done.get(n % done.len().max(1)) {
                assert!(store.finish(&job.id, JobState::Succeeded, &outcome, Timestamp(now)).await.is_err());
                assert!(store.put_back(&job.id, None, &outcome).await.is_err());
            }
        }
        (Step::Take | Step::PutBack(_) | Step::Finish(_), _) => {}
    }
}

async fn compare(store: &Store, model: &Model) {
    let mut rows = store.jobs(JobFilter { limit: 500, ..JobFilter::default() }).await.unwrap();
    rows.reverse();
    let shown =
        |job: &Job| (job.id.clone(), job.intent.clone(), job.state, job.not_before.map(|at| at.0), job.attempts);
    let found: Vec<_> = rows.iter().map(|row| (shown(&row.job), row.superseded_by.clone())).collect();
    let wanted: Vec<_> = model
        .jobs
        .iter()
        .map(|job| {
            let job = job.clone();
            ((job.id, job.intent, job.state, job.not_before, job.attempts), job.superseded_by)
        })
        .collect();
    assert_eq!(found, wanted);
    let wake =
        model.jobs.iter().filter(|job| job.state == JobState::Queued).map(|job| job.not_before.unwrap_or(0)).min();
    assert_eq!(store.next_wake().await.unwrap().map(|at| at.0), wake);
    assert!(rows.iter().all(|row| row.finished.is_some() == row.job.state.is_final()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_its_rules_say(steps in proptest::collection::vec(steps(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::open_in_memory(Options { max_queued: MAX_QUEUED, ..Options::default() }).unwrap();
            let mut model = Model::default();
            for (now, next) in (1..).zip(steps) {
                step(&store, &mut model, next, now).await;
                compare(&store, &model).await;
            }
            store.close().await;
        });
    }
}
