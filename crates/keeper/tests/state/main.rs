//! A deploy server to which anything may happen, in any order: after every step the invariants of the design hold, judged
//! from outside by what the engine was asked, what the registry served and what the test itself did.
//!
//! `LAYERKEEPER_STATE_STEPS` steps (100,000 unless it says so) in sequences of 100, numbered from `LAYERKEEPER_STATE_SEED`
//! on. One that fails is made as short as it can be, and printed with a line per step; its number as the seed, and one
//! step, run it again.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod builds;
mod calm;
mod happen;
mod jobs;
mod ledger;
mod operation;
mod outside;
mod pace;
mod pulled;
mod removal;
#[path = "../shared/settings.rs"]
mod settings;
mod shorten;
mod trouble;
mod witness;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use layerkeeper_core::StoreKind;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use trouble::Step;
use world::World;

const STEPS: usize = 100;

/// Without any of these nothing was shown.
const MUST_HAPPEN: [&str; 12] = [
    "pull",
    "failed pull",
    "report",
    "removed tag",
    "removed row",
    "removed under pressure",
    "heal",
    "succeeded",
    "failed",
    "refused",
    "superseded",
    "died at a point",
];

/// How often what happened.
type Tally = BTreeMap<&'static str, u64>;

#[test]
fn the_invariants_hold_after_every_step_whatever_happens() {
    let begun = Instant::now();
    let (steps, first) = (from_env("LAYERKEEPER_STATE_STEPS", 100_000), from_env("LAYERKEEPER_STATE_SEED", 1));
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    let (next, failed, total) = (AtomicU64::new(first), AtomicBool::new(false), Mutex::new(Tally::new()));
    let done = || total.lock().unwrap().get("step").copied().unwrap_or_default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::SeqCst) && done() < steps {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if let Err(story) = one_life(seed, &total) {
                        failed.store(true, Ordering::SeqCst);
                        panic!("sequence {seed}: {story}");
                    }
                }
            });
        }
    });
    let done = done();
    let total = total.into_inner().unwrap();
    println!("{total:?}, {:.0} steps/s", done as f64 / begun.elapsed().as_secs_f64());
    if done >= 20_000 {
        let never: Vec<_> = MUST_HAPPEN.iter().filter(|what| !total.contains_key(**what)).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

/// One sequence; where it fails, made as short as it can be.
fn one_life(seed: u64, total: &Mutex<Tally>) -> Result<(), String> {
    let config = Config {
        cases: 1,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: 120_000,
        max_shrink_iters: u32::MAX,
        ..Config::default()
    };
    let ran = TestRunner::new(config).run(&trouble::sequence(STEPS), |(kind, story)| {
        for (what, times) in live_through(&story, kind).map_err(TestCaseError::fail)? {
            *total.lock().unwrap().entry(what).or_default() += times;
        }
        Ok(())
    });
    ran.map_err(|error| error.to_string())
}

/// Runs a sequence; the whole story where an invariant broke.
fn live_through(steps: &[Step], kind: StoreKind) -> Result<Tally, String> {
    pace::stand_still(async {
        let mut world = World::new(kind).await;
        let wrong = |world: &World| !world.ledger.lock().unwrap().wrong.is_empty();
        for step in steps {
            world.step(step).await;
            if wrong(&world) {
                break;
            }
        }
        if !wrong(&world) {
            world.calm().await;
        }
        let record = if wrong(&world) { world.record().await } else { String::new() };
        let ledger = world.ledger.lock().unwrap();
        match &*ledger.wrong {
            [] => Ok(ledger.tally.clone()),
            wrong => Err(format!("{}\n\n{}\n\n{record}", wrong.join("\n"), world.log.join("\n"))),
        }
    })
}

fn from_env(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect(name))
}
