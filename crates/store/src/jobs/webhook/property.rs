//! Any clock, any sender: no request is ever carried out twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::retention::Retention;
use crate::store::Options;
use crate::testing::deploy;

#[derive(Debug, Clone)]
enum Step {
    /// Our clock jumps by so many minutes.
    Clock(i64),
    /// A new id, sent so many seconds from the server's time.
    Send(i64),
    /// A retry of an earlier id, signed anew.
    Retry(prop::sample::Index, i64),
    /// Somebody sends again what was overheard.
    Replay(prop::sample::Index),
    /// What is old goes.
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let week = 7 * 24 * 60_i64;
    let minutes = prop_oneof![-10..10i64, -2 * week..2 * week, week - 10..week + 10, -week - 10..10 - week];
    let skew = || -300..=300i64;
    prop_oneof![
        2 => minutes.prop_map(Step::Clock),
        1 => skew().prop_map(Step::Send),
        1 => (any::<prop::sample::Index>(), skew()).prop_map(|(which, skew)| Step::Retry(which, skew)),
        3 => any::<prop::sample::Index>().prop_map(Step::Replay),
        1 => Just(Step::Sweep),
    ]
}

/// A request as it can be overheard: its id and its time.
type Overheard = (String, Timestamp);

struct World {
    store: Store,
    now: Timestamp,
    latest: Timestamp,
    jobs: u32,
    heard: Vec<Overheard>,
    taken: BTreeSet<Overheard>,
}

impl World {
    async fn server_time(&self) -> Timestamp {
        self.store.newest_webhook_time().map_or(self.now, |newest| newest.max(self.now))
    }

    /// Posts it where the listener would believe it; true where a job began that had begun before.
    async fn post(&mut self, id: &str, timestamp: Timestamp) -> bool {
        let server = self.server_time().await;
        let tolerance = i64::try_from(WEBHOOK_TOLERANCE.as_millis()).unwrap();
        if (server.0 - timestamp.0).abs() > tolerance {
            return false;
        }
        self.jobs += 1;
        let job = NewJob { now: self.now, ..deploy(self.jobs, &format!("app{}:1", self.jobs), None) };
        let webhook = WebhookIdRecord { id: id.to_owned(), body_sha256: [1; 32], timestamp };
        let accepted = self.store.accept_webhook(webhook, job).await.unwrap();
        let request = (id.to_owned(), timestamp);
        self.heard.push(request.clone());
        let known = !self.taken.insert(request);
        known && matches!(accepted, WebhookAccepted::Accepted(_))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn no_request_is_carried_out_twice_whatever_the_clock_does(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Timestamp(1_800_000_000_000);
            let options = Options { max_queued: u64::MAX, ..Options::default() };
            let store = Store::open_in_memory(options).unwrap();
            let (heard, taken) = (Vec::new(), BTreeSet::new());
            let mut world = World { store, now: start, latest: start, jobs: 0, heard, taken };
            for step in steps {
                let twice = match step {
                    Step::Clock(minutes) => {
                        world.now = Timestamp(world.now.0 + minutes * 60_000);
                        world.latest = world.latest.max(world.now);
                        false
                    }
                    Step::Send(skew) => {
                        let timestamp = Timestamp(world.server_time().await.0 + skew * 1000);
                        world.post(&format!("w{}", world.jobs), timestamp).await
                    }
                    Step::Retry(which, skew) if !world.heard.is_empty() => {
                        let id = which.get(&world.heard).0.clone();
                        let timestamp = Timestamp(world.server_time().await.0 + skew * 1000);
                        world.post(&id, timestamp).await
                    }
                    Step::Replay(which) if !world.heard.is_empty() => {
                        let (id, timestamp) = which.get(&world.heard).clone();
                        world.post(&id, timestamp).await
                    }
                    Step::Sweep => {
                        world.store.sweep(world.now, &Retention::default()).await.unwrap();
                        false
                    }
                    Step::Retry(..) | Step::Replay(_) => false,
                };
                prop_assert!(!twice, "{:?}", world.heard.last());
                let newest = world.store.newest_webhook_time();
                prop_assert!(newest.is_none_or(|newest| newest <= world.latest), "no sender leads our time");
            }
            Ok(())
        })?;
    }
}
